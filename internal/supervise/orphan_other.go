//go:build unix && !linux

package supervise

// Inherits says that orphans never become children of this process: there are no containers here.
func Inherits() bool { return false }

// Bury has nothing to do.
func (p *Process) Bury(...*Guardian) {}
