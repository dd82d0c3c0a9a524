package hbtest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Program is a process that a test started and that collects what it says, on both outputs.
type Program struct {
	Cmd  *exec.Cmd
	Over chan struct{} // closed when it has ended and was waited for

	t    testing.TB
	mu   sync.Mutex
	logs bytes.Buffer
}

// Start starts a command line against the endpoints of an etcd. It is killed at the end of the test.
func Start(t testing.TB, endpoints []string, line ...string) *Program {
	t.Helper()
	p := &Program{t: t, Cmd: exec.Command(line[0], line[1:]...), Over: make(chan struct{})}
	p.Cmd.Env = append(os.Environ(), "HBCTL_ENDPOINTS="+strings.Join(endpoints, ","))
	p.Cmd.Stdout, p.Cmd.Stderr = (*logs)(p), (*logs)(p)
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.Over)
		_ = p.Cmd.Wait() // its code is looked at later
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(line, " "), p.Said())
		}
	})
	return p
}

// logs collects what a program says.
type logs Program

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logs.Write(b)
}

// Said gives what the program has said so far.
func (p *Program) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.String()
}

// Signal sends a signal to the program, which must be running.
func (p *Program) Signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// Kill ends the program, if it has not ended by itself, and waits for it.
func (p *Program) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Over
}

// Ends waits for the end of the program and gives its exit code.
func (p *Program) Ends(limit time.Duration) int {
	p.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.Over:
	case <-timer.C:
		p.t.Fatalf("did not end within %v", limit)
	}
	return p.Cmd.ProcessState.ExitCode()
}
