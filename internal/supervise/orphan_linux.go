package supervise

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Inherits says whether orphans become children of this process, as of the first one in a container. It has to bury them
// then, or the dead fill the table of processes.
func Inherits() bool { return os.Getpid() == 1 }

// Bury reaps the orphans that this process has inherited and that have ended, and leaves the child and its guardian, and
// other guardians, to those who wait for them. No process may be started meanwhile.
func (p *Process) Bury(others ...*Guardian) {
	own := []int{p.PID()}
	for _, g := range append(others, p.guarding()) {
		if g != nil {
			own = append(own, g.pid())
		}
	}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is a good one
	for _, path := range stats {
		if s, there := readStat(path); there && s.dead && s.parent == os.Getpid() && !slices.Contains(own, s.pid) {
			_, _ = syscall.Wait4(s.pid, nil, syscall.WNOHANG, nil) // fails if somebody else was faster
		}
	}
}
