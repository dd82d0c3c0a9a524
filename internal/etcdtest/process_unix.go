//go:build unix && !linux

package etcdtest

import "syscall"

// dieWithParent does nothing where the kernel offers nothing: a test that runs into its
// timeout leaves its processes behind.
func dieWithParent() *syscall.SysProcAttr { return nil }

// stopped takes it on trust that SIGSTOP acts at once.
func stopped(int) bool { return true }
