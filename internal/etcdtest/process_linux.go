package etcdtest

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
)

// dieWithParent ends a process with the one that started it, also when that is killed:
// a test that runs into its timeout has no cleanup. To the kernel the parent is a
// thread; Go ends one only when a goroutine ends that has locked itself to it.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// stopped tells whether a process is stopped by a signal. One that can't be asked counts
// as stopped.
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The state follows the command's name, which is in parentheses and may hold any.
	_, state, found := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	return !found || bytes.HasPrefix(state, []byte("T"))
}
