package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes puts the child into a group, one of its own if it is 0, and has the kernel kill it when this process
// dies: a service that nobody answers for any more must not go on in secret.
func childAttributes(group int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: group, Pdeathsig: syscall.SIGKILL}
}

// startUnstoppable starts a command that no stop from the terminal may catch, this program again: it begins with those signals
// blocked, and none can be in the way of its exec (see fork).
func startUnstoppable(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var stops, before unix.Sigset_t
	for _, sig := range []syscall.Signal{syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU} {
		stops.Val[0] |= 1 << (sig - 1)
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &stops, &before); err != nil {
		return err
	}
	err := cmd.Start()
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) // fails only for a mask that is none
	return err
}

// selfPath gives the file of this program, also when it was replaced meanwhile, as by an upgrade.
func selfPath() (string, error) { return "/proc/self/exe", nil }

// setShortName sets what ps and pkill call this process.
func setShortName(name string) {
	_ = os.WriteFile("/proc/self/comm", []byte(name), 0) // or it has the name of the link that it was started by
}

// awaitEnd waits for the child's end without reaping it, and says whether it has seen the end. It tells when the child is
// stopped.
func awaitEnd(pid int, stopped func()) bool {
	const cldStopped = 5 // waitid(2), CLD_STOPPED
	for {
		var what unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &what, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return false
		case what.Code != cldStopped:
			return true
		default:
			stopped()
			// Take note, or it would be told again and again.
			_ = unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOHANG, nil)
		}
	}
}

// groupIsVisible says that onlyZombies can tell.
const groupIsVisible = true

// onlyZombies says whether all processes of a group but one, if it is in there, are dead and only wait for their parent to
// notice, which may take it long and is nothing to wait for.
func onlyZombies(pgid, but int) bool {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		return false // no /proc
	}
	for _, path := range stats {
		if s, there := readStat(path); there && s.pid != but && s.group == pgid && !s.dead {
			return false
		}
	}
	return true
}

// stat is what the kernel tells of a process.
type stat struct {
	pid, parent, group int
	dead               bool // and only waits for its parent to notice
	stopped            bool
}

// readStat reads a process's stat file; it may be gone.
func readStat(path string) (s stat, there bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return stat{}, false
	}
	// "pid (name) state ppid pgrp ...", and the name may hold anything.
	var state string
	if _, err := fmt.Sscanf(string(text), "%d", &s.pid); err != nil {
		return stat{}, false
	}
	if _, err := fmt.Sscanf(string(text[bytes.LastIndexByte(text, ')')+1:]), " %s %d %d", &state, &s.parent, &s.group); err != nil {
		return stat{}, false
	}
	s.dead, s.stopped = state == "Z" || state == "X", state == "T"
	return s, true
}

// resumeForked lets the children of a process that runs this program go on if they were stopped before they ran theirs.
func resumeForked(parent int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return
	}
	for _, path := range stats {
		if s, there := readStat(path); there && s.stopped && s.parent == parent && runsThisProgram(s.pid) {
			_ = syscall.Kill(s.pid, syscall.SIGCONT) // fails if it is gone
		}
	}
}

func runsThisProgram(pid int) bool {
	ours, err := os.Stat("/proc/self/exe")
	if err != nil {
		return false
	}
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && os.SameFile(ours, theirs)
}
