package supervise

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// The codes that shells give for a command that can't be started.
const (
	CodeNotExecutable = 126
	CodeNotFound      = 127
)

// StartError says that the command could not be started.
type StartError struct {
	Code int // CodeNotExecutable or CodeNotFound
	Err  error
}

func (e *StartError) Error() string { return e.Err.Error() }

func (e *StartError) Unwrap() error { return e.Err }

// Command says what to run. Files given as Stdin, Stdout and Stderr are the child's own: nothing is copied in between.
type Command struct {
	Args   []string // the program and its arguments
	Env    []string // nil: that of this process
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Guardian, if there is one, leads the group that the command is started into. Else the command has a group of its own.
	Guardian *Guardian
}

// outputDelay is how long output of the child is copied after its end, if its output is no file.
const outputDelay = 2 * time.Second

// Find returns the path of the program, or a StartError.
func Find(program string) (string, error) {
	path, err := exec.LookPath(program)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, exec.ErrDot):
		return "", &StartError{Code: CodeNotFound, Err: fmt.Errorf("%s is in the current folder; write ./%s", program, program)}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return "", &StartError{Code: CodeNotFound, Err: fmt.Errorf("%s: command not found", program)}
	}
	return "", &StartError{Code: CodeNotExecutable, Err: fmt.Errorf("%s can't be executed: %w", program, cause(err))}
}

// cause drops what wraps an error with the name of the program, which the message around it has already.
func cause(err error) error {
	if execErr := new(exec.Error); errors.As(err, &execErr) {
		return execErr.Err
	}
	if pathErr := new(fs.PathError); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// Process is a running child. Its methods may be called by any goroutine.
type Process struct {
	cmd     *exec.Cmd
	group   int // the number of the process group
	done    chan struct{}
	stopped chan struct{}

	mu       sync.Mutex
	ended    bool // the child has ended: its group may only be swept from now on
	passed   map[syscall.Signal]bool
	result   Result
	guardian *Guardian // nil: none
}

// Start starts the command. It returns a StartError if it can't be started. The guardian must be ready.
func Start(c Command) (*Process, error) {
	path, err := Find(c.Args[0])
	if err != nil {
		return nil, err
	}
	p := &Process{
		done: make(chan struct{}), stopped: make(chan struct{}, 1), passed: make(map[syscall.Signal]bool), guardian: c.Guardian,
	}
	if c.Guardian != nil {
		p.group = c.Guardian.pid()
	}
	p.cmd = &exec.Cmd{
		Path: path, Args: c.Args, Env: c.Env, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
		SysProcAttr: childAttributes(p.group), WaitDelay: outputDelay,
	}
	started := make(chan error)
	go p.supervise(started)
	if err := <-started; err != nil {
		return nil, startError(c.Args[0], err)
	}
	return p, nil
}

func startError(program string, err error) error {
	err = cause(err)
	if errors.Is(err, fs.ErrNotExist) {
		return &StartError{Code: CodeNotFound, Err: fmt.Errorf("%s: its interpreter is not found", program)}
	}
	return &StartError{Code: CodeNotExecutable, Err: fmt.Errorf("%s can't be executed: %w", program, err)}
}

// supervise starts the child and waits for it. It keeps its thread to itself: the kernel takes the end of the thread that
// started a child for the death of its parent.
func (p *Process) supervise(started chan<- error) {
	runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
	err := fork(p.cmd, p.guardian)
	if err == nil && p.group == 0 {
		p.group = p.cmd.Process.Pid
	}
	started <- err
	if err != nil {
		return
	}
	defer close(p.done)
	// While the child is not reaped, the number of its group can't be anybody else's.
	seen := awaitEnd(p.cmd.Process.Pid, p.tellStopped)
	if seen {
		p.childEnded()
	}
	err = p.cmd.Wait()
	if !seen {
		p.childEnded()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result = p.newResult(err)
}

// childEnded asks what is left of the group to stop; Sweep sees to it.
func (p *Process) childEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.killGroup(syscall.SIGTERM)
	p.killGroup(syscall.SIGCONT)
}

func (p *Process) tellStopped() {
	select {
	case p.stopped <- struct{}{}:
	default: // told already
	}
}

// Stopped tells, where the system does, that the child was stopped by a signal, as it is when it reads from the terminal.
func (p *Process) Stopped() <-chan struct{} { return p.stopped }

// PID gives the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Group gives the number of the child's process group.
func (p *Process) Group() int { return p.group }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Result tells how the child ended. It is meant for after Done.
func (p *Process) Result() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.result
}

// Pass passes a signal on to the child and remembers it: an end by it will be one that was asked for. What a terminal
// would send to everything in the foreground (interrupt, quit, stop) goes to the whole group, all others to the child alone, as
// if it ran without supervision. It does nothing once the child has ended.
func (p *Process) Pass(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.passed[sig] = true
	p.send(sig)
}

// Stop sends a signal to the child for a reason of our own: an end by it was not asked for by whoever sent us signals.
func (p *Process) Stop(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.send(sig)
	}
}

func (p *Process) send(sig syscall.Signal) {
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGTSTP, syscall.SIGCONT:
		p.killGroup(sig)
	default:
		_ = p.cmd.Process.Signal(sig) // fails only if the child is gone, and then there is nobody to signal
	}
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP:
		p.killGroup(syscall.SIGCONT) // what is stopped can't act on a signal
	}
}

func (p *Process) killGroup(sig syscall.Signal) {
	_ = syscall.Kill(-p.group, sig)
}
