//go:build unix && !linux

package supervise

import (
	"os"
	"os/exec"
	"syscall"
)

// childAttributes puts the child into a group, one of its own if it is 0.
func childAttributes(group int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: group}
}

func selfPath() (string, error) { return os.Executable() }

func setShortName(string) {}

// awaitEnd has nothing to wait with here.
func awaitEnd(int, func()) bool { return false }

// groupIsVisible is false: who is in a group can't be seen here, only whether there is anybody.
const groupIsVisible = false

func onlyZombies(_, _ int) bool { return false }

// startUnstoppable has nothing to do here: it is Linux that lets the forking thread wait for the exec.
func startUnstoppable(cmd *exec.Cmd) error { return cmd.Start() }

// resumeForked does not see here whom it has to resume.
func resumeForked(int) {}
