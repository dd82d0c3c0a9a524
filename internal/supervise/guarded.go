package supervise

// guarding gives the guardian that guards the process's group, or nil.
func (p *Process) guarding() *Guardian {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.guardian
}

// Unguarded is closed when the guardian has ended, which happens only if somebody killed it. It is nil if there is none.
func (p *Process) Unguarded() <-chan struct{} {
	if g := p.guarding(); g != nil {
		return g.ended
	}
	return nil
}

// Reguard gives the group another guardian in place of one that was killed. When it fails there is none any more. It is
// meant for the goroutine that also calls Sweep.
func (p *Process) Reguard() error {
	p.release()
	g, err := startGuardian(p.group) // the group is there for as long as the child is
	if err != nil {
		return err
	}
	if err := g.Ready(); err != nil {
		g.Release()
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guardian = g
	return nil
}

// release ends the guardian, if there is one.
func (p *Process) release() {
	p.mu.Lock()
	g := p.guardian
	p.guardian = nil
	p.mu.Unlock()
	if g != nil {
		g.Release()
	}
}
