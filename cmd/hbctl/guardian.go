package main

import "github.com/hbctl/hbctl/internal/supervise"

// startGuardian starts what is there for the case that we are killed while something of ours runs: nil if it can't be, which is
// told and is no reason not to run. Whose says what it is for.
func (p *program) startGuardian(whose string) *supervise.Guardian {
	guardian, err := supervise.StartGuardian()
	if err != nil {
		p.unguarded(whose, err)
		return nil
	}
	return guardian
}

// readied waits until a guardian can be relied on; nil if there is none, or it can't be.
func (p *program) readied(guardian *supervise.Guardian, whose string) *supervise.Guardian {
	if guardian == nil {
		return nil
	}
	if err := guardian.Ready(); err != nil {
		guardian.Release()
		p.unguarded(whose, err)
		return nil
	}
	return guardian
}

func (p *program) unguarded(whose string, err error) {
	p.log.Warn().Str("why", inWords(err)).Msg("no guardian: if hbctl is killed, what the " + whose + " has started may live on")
}
