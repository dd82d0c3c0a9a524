package devserver

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fewestFiles is what etcd wants to be able to open. With less it writes a line of its own and ends the whole process.
const fewestFiles = 151

// enoughFiles refuses a process that may open too few files for an etcd.
func enoughFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= fewestFiles {
		return nil //nolint:nilerr // where the limit is not known, etcd will tell
	}
	return fmt.Errorf("this process may open no more than %d files, and an etcd needs %d; raise it, as by ulimit -n 1024", limit.Cur, fewestFiles)
}
