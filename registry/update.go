package registry

import (
	"context"
	"fmt"
	"time"
)

// update applies a change of zone, labels or endpoints.
func (r *Registry) update(g *Registration, change func(*Instance), committed chan<- error) {
	if g.ending != nil || g.released {
		committed <- ErrClosed
		return
	}
	in := g.in.instance(g.name).withDefaults() // a copy, so that the change can't touch what is in use
	if in.Labels == nil {
		in.Labels = make(map[string]string) // a change that sets one must not bring the process down
	}
	change(&in)
	was := g.in.instance(g.name)
	if in.Name != was.Name || in.TTL != was.TTL {
		committed <- fmt.Errorf("%w: name and TTL of a registration can't be changed; register anew", ErrInvalid)
		return
	}
	was.Zone, was.Labels, was.Endpoints = in.Zone, in.Labels, in.Endpoints
	was = was.withDefaults()
	if err := was.Validate(); err != nil {
		committed <- err
		return
	}
	old, text := g.in, g.oldRecord()
	g.in = planOf(was)
	if _, err := EncodeRecord(g.compose(time.Time{}, was.TTL)); err != nil {
		g.in = old
		committed <- err
		return
	}
	g.recordOld = text // what is in etcd can't be told from the instance any more
	g.dirty = true
	g.waiting = append(g.waiting, committed)
	r.step(g)
}

// answerUpdates tells everybody who waits for a record to be written.
func (r *Registry) answerUpdates(g *Registration, err error) {
	for _, waiter := range g.waiting {
		waiter <- err
	}
	g.waiting = nil
}

// reportAll makes every published instance write its record, and waits until all have.
func (r *Registry) reportAll(ctx context.Context) error {
	all := make(chan struct{})
	r.mail.post(func() {
		open := 1
		answered := func() {
			if open--; open == 0 {
				close(all)
			}
		}
		for _, g := range r.regs {
			if g.incarnation != 0 && g.ending == nil && g.gate() == nil {
				open++
				g.report = true
				g.reported = append(g.reported, answered)
				r.step(g)
			}
		}
		answered()
	})
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answerReports says that a report is written, or that it is pointless now.
func (r *Registry) answerReports(g *Registration) {
	for _, done := range g.reported {
		done()
	}
	g.reported = nil
	if g.incarnation == 0 || g.ending != nil {
		g.report = false
	}
}
