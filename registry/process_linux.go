package registry

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// procStat reads start time and death of a process: ok is false when it can't be told. A zombie is dead: it holds nothing
// and runs nothing any more.
func procStat(pid int) (start string, dead, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, fs.ErrNotExist) {
		// /proc may hide processes of others (hidepid), so absence must be confirmed.
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return "", true, true
		}
		return "", false, false
	}
	if err != nil {
		return "", errors.Is(err, syscall.ESRCH), errors.Is(err, syscall.ESRCH)
	}
	// The name of the program, in parentheses, may hold anything; the fields begin after the last one (proc_pid_stat(5)).
	_, rest, found := cutLast(string(b), ") ")
	fields := strings.Fields(rest)
	const state, startTime = 0, 19 // fields 3 and 22 of the file
	if !found || len(fields) <= startTime {
		return "", false, false
	}
	return fields[startTime], fields[state] == "Z" || fields[state] == "X", true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
