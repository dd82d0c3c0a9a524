package main

import (
	"bufio"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// failing is a writer that can't be written to.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) {
	return 0, &fs.PathError{Op: "write", Path: "/dev/stdout", Err: f.err}
}

// runOn runs the program with a stdout of the test's.
func runOn(t *testing.T, stdout any, env map[string]string, args ...string) (int, string) {
	t.Helper()
	var stderr printed
	sys := system{
		args: append([]string{"hbctl"}, args...), stdin: strings.NewReader(""), stderr: &stderr,
		getenv: func(name string) string { return env[name] },
	}
	switch w := stdout.(type) {
	case *os.File:
		sys.stdout, sys.stderr = w, w
	case failing:
		sys.stdout = w
	}
	return run(t.Context(), sys), stderr.String()
}

func TestStdoutThatFails(t *testing.T) {
	t.Parallel()
	w := down(t)
	for _, format := range listFormats {
		args := append([]string{"list", "-o", format}, w.flags...)
		if code, said := runOn(t, failing{syscall.EPIPE}, nil, args...); code != exitOK || said != "" {
			t.Errorf("%s: a broken pipe ends with %d and %q", format, code, said)
		}
		if code, said := runOn(t, failing{syscall.ENOSPC}, nil, args...); code != exitFailed || !strings.Contains(said, "no space left") {
			t.Errorf("%s: a full disk ends with %d and %q", format, code, said)
		}
	}
	for _, args := range [][]string{{"help"}, {"help", "list"}, {"version"}, {"version", "-o", "json"}} {
		if code, said := runOn(t, failing{syscall.EPIPE}, nil, args...); code != exitOK || said != "" {
			t.Errorf("%q: a broken pipe ends with %d and %q", args, code, said)
		}
	}
	args := append([]string{"watch"}, w.flags...)
	if code, said := runOn(t, failing{syscall.EPIPE}, nil, args...); code != exitOK || said != "" {
		t.Errorf("watch: a broken pipe ends with %d and %q", code, said)
	}
}

// A reader that has seen enough makes a target that failed no success.
func TestBrokenPipeHidesNoFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("web/n1", "")
	for _, line := range []string{"show web/n1 web/none", "disable --reason x web/n1 web/none", "forget web/n1 web/none"} {
		args := append(strings.Fields(line), w.flags...)
		if code, said := runOn(t, failing{syscall.EPIPE}, nil, args...); code != exitNot || !strings.HasPrefix(said, "hbctl: web/none: there is no such instance") || strings.Count(said, "\n") != 1 {
			t.Errorf("%s: ended with %d and %q", line, code, said)
		}
	}
}

// A watch writes only when something happens; it must notice that nobody reads without writing.
func TestWatchEndsWithItsReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	go func() {
		_, _ = bufio.NewReader(r).ReadString('\n') // synced
		r.Close()
	}()
	if code, said := runOn(t, stdout, nil, append([]string{"watch"}, w.flags...)...); code != exitOK || said != "" {
		t.Errorf("ended with %d and %q", code, said)
	}
}
