package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// stopSelf stops this process, and returns when it goes on. The signal is sent to the calling thread, so that it has been
// acted upon when the call returns. It is SIGSTOP, for the runtime keeps its handler of SIGTSTP once there was one.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
}

// resumable says whether somebody could let us go on: a shell that we are a job of, in our session and in another process
// group. Where there is none the kernel lets SIGTSTP do nothing, and so do we.
func resumable() bool {
	session, err := unix.Getsid(0)
	if err != nil {
		return false
	}
	for pid := os.Getppid(); pid > 1; pid = parentOf(pid) {
		if of, err := unix.Getsid(pid); err != nil || of != session {
			return false
		}
		if group, err := unix.Getpgid(pid); err == nil && group != unix.Getpgrp() {
			return true
		}
	}
	return false
}

// parentOf gives 0 if it is not known.
func parentOf(pid int) (parent int) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// "pid (name) state ppid ...", and the name may hold anything.
	if _, err := fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %s %d", new(string), &parent); err != nil {
		return 0
	}
	return parent
}
