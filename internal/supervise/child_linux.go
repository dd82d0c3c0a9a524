package supervise

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes puts the child into a group, one of its own if it is 0, and has the kernel kill it when this process
// dies: a service that nobody answers for any more must not go on in secret.
func childAttributes(group int) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: group, Pdeathsig: syscall.SIGKILL}
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
		if but != 0 && path == "/proc/"+strconv.Itoa(but)+"/stat" {
			continue
		}
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it is gone
		}
		// "pid (name) state ppid pgrp ...", and the name may hold anything.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 3 || string(fields[2]) != strconv.Itoa(pgid) {
			continue
		}
		if state := fields[0][0]; state != 'Z' && state != 'X' {
			return false
		}
	}
	return true
}
