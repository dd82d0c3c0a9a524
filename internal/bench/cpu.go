package bench

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ownCPU gives the CPU time that this process has taken, in seconds.
func ownCPU() float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return (time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())).Seconds()
}

// clockTick is what /proc counts in; Linux gives all programs 100 to the second.
const clockTick = 100

// processCPU gives the CPU time that a process has taken, in seconds, where the system tells.
func processCPU(pid int) (seconds float64, known bool) {
	if pid == 0 {
		return 0, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	return statCPU(stat)
}

// statCPU reads the times out of a stat file: "pid (name) state ...", and the name may hold anything. They are the 14th and
// 15th field.
func statCPU(stat []byte) (seconds float64, known bool) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, false
	}
	var user, system int64
	if _, err := fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system); err != nil {
		return 0, false
	}
	return float64(user+system) / clockTick, true
}

// A meter says how much CPU was taken since it was started.
type meter struct {
	pid    int
	start  time.Time
	own    float64
	server float64
}

func (r *runner) startMeter() meter {
	m := meter{pid: r.cfg.PID, own: ownCPU(), start: time.Now()}
	m.server, _ = processCPU(m.pid)
	return m
}

// read gives the time since the start, and the CPU of this process and of etcd in percent of a core; NaN is not known.
func (m meter) read() (took time.Duration, own, server float64) {
	took = time.Since(m.start)
	own = 100 * (ownCPU() - m.own) / took.Seconds()
	now, known := processCPU(m.pid)
	server = 100 * (now - m.server) / took.Seconds()
	if !known {
		server = unknown
	}
	return took, own, server
}
