package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/hbctl/hbctl/internal/supervise"
	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

// The exit codes that scripts depend on.
const (
	exitOK          = 0
	exitFailed      = 1   // failed; conflict, replaced and evicted too
	exitUsage       = 2   // wrong usage
	exitNot         = 3   // not found, condition not met, or timed out
	exitUnreachable = 4   // etcd can't be reached, so nothing is known
	exitDenied      = 5   // permission denied
	exitRun         = 125 // "run" failed by itself, so that no code of its child is meant
)

// exitError is an error with the code that the program ends with. Without an error it ends without a word.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError is an error in what the user wrote.
type usageError struct {
	command string // whose help explains it; may be empty
	text    string
}

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

func usageIn(command, format string, args ...any) error {
	return &usageError{command: command, text: fmt.Sprintf(format, args...)}
}

// invalid makes a usage error of a library's refusal of what the user gave.
func invalid(err error) error {
	text := err.Error()
	for _, word := range []string{registry.ErrInvalid.Error(), lease.ErrInvalid.Error()} {
		text = strings.TrimPrefix(text, word+": ")
	}
	return usagef("%s", text)
}

// finish says on stderr why the program ends, and gives the exit code.
func (p *program) finish(err error) int {
	code := exitCode(err)
	if code == exitOK {
		return code
	}
	p.sayWhy(err)
	usage := new(usageError)
	if p.line.command == "run" || (errors.As(err, &usage) && usage.command == "run") {
		return runExit(err, code)
	}
	return code
}

// sayWhy writes the last line: one line, whatever is in it.
func (p *program) sayWhy(err error) {
	text := inWords(err)
	if text == "" || errors.As(err, new(stopped)) {
		return
	}
	if usage := new(usageError); errors.As(err, &usage) && usage.command != "" {
		text += fmt.Sprintf("; see 'hbctl help %s'", usage.command)
	}
	if p.plain {
		fmt.Fprintf(p.stderr, "hbctl: %s\n", text)
		return
	}
	p.log.Error().Msg(text)
}

// exitCode tells the code by the error.
func exitCode(err error) int {
	var exit *exitError
	var child *childEnd
	var sig stopped
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE): // a reader that has seen enough is no failure
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &child):
		return child.code
	case errors.As(err, &sig):
		return 128 + int(sig.signal)
	case errors.As(err, new(*unreachableError)):
		return exitUnreachable
	case errors.As(err, new(*usageError)), errors.Is(err, registry.ErrInvalid), errors.Is(err, lease.ErrInvalid):
		return exitUsage
	case errors.Is(err, context.DeadlineExceeded):
		return exitNot
	}
	return exitFailed
}

// runExit keeps the codes of the child apart from those of hbctl itself.
func runExit(err error, code int) int {
	var sig stopped
	if errors.As(err, &sig) || errors.As(err, new(*childEnd)) || errors.As(err, new(*supervise.StartError)) {
		return code
	}
	return exitRun
}

// oneLine joins the lines of a text and makes it safe to show.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return printable(strings.Join(lines, "; "))
}
