package registry

import (
	"context"
	"fmt"
)

// scope is the registrations that end with one context. A process gives most of its registrations the same one, and to wait for
// it once for each would be a tenth of all that a registration takes. It is owned by the registry's loop.
type scope struct {
	ctx     context.Context
	members []*Registration // each knows its place
	stop    func() bool
}

// enter makes the registration end with the context.
func (r *Registry) enter(ctx context.Context, g *Registration) {
	done := ctx.Done()
	switch {
	case done == nil:
		return // it never ends
	case ctx.Err() != nil:
		// Contexts that ended before anybody asked for their channel all share one, but not why they ended.
		r.mail.post(func() { r.endWith(ctx, g) })
		return
	}
	s := r.scopes[done]
	if s == nil {
		s = &scope{ctx: ctx}
		s.stop = context.AfterFunc(ctx, func() { r.mail.post(func() { r.endScope(s) }) })
		r.scopes[done] = s
	}
	g.scope, g.place = s, len(s.members)
	s.members = append(s.members, g)
}

// endWith takes over that the registration's context has ended.
func (r *Registry) endWith(ctx context.Context, g *Registration) {
	r.end(g, Ended{Cause: CauseLeft}, fmt.Errorf("%w: %w", ErrClosed, context.Cause(ctx)))
}

// leaveScope makes the registration outlive the context.
func (r *Registry) leaveScope(g *Registration) {
	s := g.scope
	if s == nil {
		return
	}
	g.scope = nil
	last := len(s.members) - 1
	s.members[g.place] = s.members[last]
	s.members[g.place].place = g.place
	s.members[last] = nil
	s.members = s.members[:last]
	if last == 0 {
		s.stop()
		delete(r.scopes, s.ctx.Done())
	}
}

// endScope takes over that the context has ended.
func (r *Registry) endScope(s *scope) {
	for len(s.members) > 0 {
		g := s.members[len(s.members)-1]
		r.endWith(s.ctx, g) // it leaves the scope
		r.leaveScope(g)
	}
}
