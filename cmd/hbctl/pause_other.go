//go:build unix && !linux

package main

import (
	"os"
	"syscall"
)

// stopSelf stops this process, and returns when it goes on.
func stopSelf() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }

// resumable says whether somebody could let us go on: a shell that we are a job of.
func resumable() bool {
	group, err := syscall.Getpgid(os.Getppid())
	return os.Getppid() > 1 && err == nil && group != syscall.Getpgrp()
}
