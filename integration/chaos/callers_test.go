//go:build linux

package chaos

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// callers finds out which member a connection comes from. Not all that members send each other says so (renewals that a
// follower passes on to the leader do not), but the kernel knows.
type callers struct {
	pids [memberCount]atomic.Int64
}

// of gives the member that is at the other end of a connection on loopback, or -1.
func (c *callers) of(conn net.Conn) int {
	if c == nil {
		return -1
	}
	from, ok := conn.RemoteAddr().(*net.TCPAddr)
	to, okay := conn.LocalAddr().(*net.TCPAddr)
	if !ok || !okay {
		return -1
	}
	socket := socketOf(from.Port, to.Port)
	for i := range c.pids {
		if socket != "" && holds(c.pids[i].Load(), socket) {
			return i
		}
	}
	return -1
}

// socketOf gives the socket from one port of this machine to another, as it is called under /proc.
func socketOf(from, to int) string {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	local, remote := fmt.Sprintf(":%04X", from), fmt.Sprintf(":%04X", to)
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && strings.HasSuffix(fields[1], local) && strings.HasSuffix(fields[2], remote) {
			return "socket:[" + fields[9] + "]"
		}
	}
	return ""
}

// holds tells whether a process has the socket open.
func holds(pid int64, socket string) bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || pid == 0 {
		return false
	}
	for _, f := range files {
		if name, err := os.Readlink(f); err == nil && name == socket {
			return true
		}
	}
	return false
}
