package etcdtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// DelaySync makes every fsync of the node take longer, from now until the returned function is called, which ends those that
// are under way too. The node must run with fsync. It fails where there is no strace, or it may not trace.
func (n *Node) DelaySync(by time.Duration) (undo func(), err error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, err
	}
	pid := n.PID()
	var complaint bytes.Buffer
	cmd := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-p", fmt.Sprint(pid),
		"-e", "trace=fsync,fdatasync", "-e", fmt.Sprintf("inject=fsync,fdatasync:delay_enter=%d", by.Microseconds()))
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	over := make(chan struct{})
	go func() { defer close(over); _ = cmd.Wait() }()
	undo = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-over
	})
	for deadline := time.Now().Add(10 * time.Second); !traced(pid); {
		select {
		case <-over:
			return nil, fmt.Errorf("strace can't trace here: %s", &complaint)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			undo()
			return nil, fmt.Errorf("strace has not taken hold of all threads of process %d", pid)
		}
	}
	return undo, nil
}

// traced tells whether every thread of a process is traced.
func traced(pid int) bool {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(names) == 0 {
		return false
	}
	for _, name := range names {
		status, err := os.ReadFile(name)
		if err == nil && bytes.Contains(status, []byte("TracerPid:\t0\n")) {
			return false
		}
	}
	return true
}
