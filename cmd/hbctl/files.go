package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fewestFiles is what any command gets along with: connections to some endpoints, the pipes to a command, and to its
// guardian. With less, some things would work and others would fail half-way; with a handful, Go itself ends in a stack trace.
const fewestFiles = 32

// enoughFiles refuses to work in a process that may open too few files.
func enoughFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= fewestFiles {
		return nil //nolint:nilerr // where the limit is not known, what fails will tell
	}
	return fmt.Errorf("this process may open no more than %d files, and needs %d; raise it, as by ulimit -n 1024", limit.Cur, fewestFiles)
}
