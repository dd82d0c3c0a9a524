//go:build unix && !linux

package supervise

import "syscall"

// childAttributes puts the child into a group of its own.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// awaitEnd has nothing to wait with here.
func awaitEnd(int) bool { return false }

func onlyZombies(int) bool { return false }
