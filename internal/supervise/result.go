package supervise

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
)

// Result tells how a child ended.
type Result struct {
	Code   int            // its exit code; 128 + signal if a signal ended it, as shells have it
	Signal syscall.Signal // 0: it ended by itself
	Asked  bool           // it ended with 0, or by a signal that was passed on to it
	err    error          // it could not be waited for
}

// String says it in words, as "exit status 3" or "signal: segmentation fault".
func (r Result) String() string {
	switch {
	case r.err != nil:
		return r.err.Error()
	case r.Signal != 0:
		return "signal: " + r.Signal.String()
	}
	return fmt.Sprintf("exit status %d", r.Code)
}

// newResult needs the lock.
func (p *Process) newResult(err error) Result {
	state := p.cmd.ProcessState
	if state == nil {
		return Result{Code: CodeNotExecutable, err: fmt.Errorf("waiting for the command: %w", err)}
	}
	if err != nil && !errors.As(err, new(*exec.ExitError)) && !errors.Is(err, exec.ErrWaitDelay) && state.Success() {
		return Result{Asked: true} // copying its output failed, which is not its fault
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		sig := status.Signal()
		return Result{Code: 128 + int(sig), Signal: sig, Asked: p.passed[sig]}
	}
	code := state.ExitCode()
	// Shells and programs with their own handlers say "ended by that signal" with a code.
	asked := code == 0 || (code > 128 && p.passed[syscall.Signal(code-128)])
	return Result{Code: code, Asked: asked}
}
