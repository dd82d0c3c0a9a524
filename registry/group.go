package registry

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hbctl/hbctl/lease"
)

// maxGroup is how many alive keys one lease carries. A lease with many keys is revoked in one revision, so a death is one event,
// but etcd holds up all writes meanwhile: 2.6 ms for 1,000 keys, 237 ms for 50,000 (measured on etcd 3.7.3).
const maxGroup = 1000

const (
	// revokeTimeout bounds the revoke of a lease that carries nothing any more. If it fails the lease runs out by itself.
	revokeTimeout = 2 * time.Second
	// returnSpread spreads over time the processes that come back after the loss of their leases.
	returnSpread = 200 * time.Millisecond
)

// group is the registrations that share one lease. A lease without alive keys is revoked, so that leases outstanding are
// live processes.
type group struct {
	ttl        time.Duration
	lease      *lease.Lease // nil while it is being granted
	members    map[*Registration]struct{}
	cancel     context.CancelFunc         // ends the granting
	fence      int64                      // of the lease, whose trust is to be restored
	told       int64                      // fences of the lease that members were told of
	unverified map[*Registration]struct{} // whose keys are still to be read back for that
}

// acquire gives the registration a place on a lease, and says whether the lease is there. If it is still being granted, its members
// are stepped when it is.
func (r *Registry) acquire(g *Registration) (there bool) {
	if g.group != nil {
		return false
	}
	ttl := g.in.ttl
	for _, grp := range r.groups[ttl] {
		if len(grp.members) < maxGroup {
			r.attach(g, grp)
			return grp.lease != nil
		}
	}
	grp := &group{ttl: ttl, members: make(map[*Registration]struct{})}
	if !r.cfg.LeasePerInstance {
		r.groups[ttl] = append(r.groups[ttl], grp)
	}
	r.attach(g, grp)
	ctx, cancel := context.WithCancel(r.ctx)
	grp.cancel = cancel
	r.running.Go(func() {
		l, err := r.renewer.Grant(ctx, ttl)
		cancel()
		if r.mail.do(func() { r.granted(grp, l, err) }) {
			r.queue.help(r.ctx) // as nothing else is to be done here: a process that has just one need not wake others for it
		}
	})
	return false
}

func (r *Registry) attach(g *Registration, grp *group) {
	g.group = grp
	grp.members[g] = struct{}{}
}

// granted takes over a new lease, or etcd's refusal of it.
func (r *Registry) granted(grp *group, l *lease.Lease, err error) {
	if err != nil {
		r.forget(grp)
		for g := range grp.members {
			g.group = nil
			if r.ctx.Err() == nil {
				r.abort(g, err)
				r.step(g)
			}
		}
		return
	}
	grp.lease = l
	r.leases[l] = grp
	if len(grp.members) == 0 {
		r.drop(grp)
		return
	}
	for g := range grp.members {
		r.step(g)
	}
}

// detach takes the registration off its lease, and revokes a lease that carries nothing any more.
func (r *Registry) detach(g *Registration) {
	grp := g.group
	if grp == nil {
		return
	}
	g.group = nil
	delete(grp.members, g)
	r.restoreWithout(grp, g)
	if len(grp.members) > 0 {
		return
	}
	if grp.lease == nil {
		r.forget(grp)
		grp.cancel()
		return
	}
	r.drop(grp)
}

// drop revokes a lease that carries nothing any more.
func (r *Registry) drop(grp *group) {
	r.forget(grp)
	r.revoking++
	r.running.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, revokeTimeout)
		defer cancel()
		_ = r.renewer.Revoke(ctx, grp.lease) // if it fails the lease runs out by itself
		r.mail.post(func() {
			r.revoking--
			r.checkEmpty()
		})
	})
}

// forget takes the group out of the books.
func (r *Registry) forget(grp *group) {
	groups := r.groups[grp.ttl]
	for i, other := range groups {
		if other == grp {
			r.groups[grp.ttl] = append(groups[:i:i], groups[i+1:]...)
		}
	}
	if len(r.groups[grp.ttl]) == 0 {
		delete(r.groups, grp.ttl)
	}
	delete(r.leases, grp.lease)
}

// groupGone takes over etcd's word that the lease is gone, and its keys with it: all come back under a new one.
func (r *Registry) groupGone(grp *group) {
	if grp.lease == nil || r.leases[grp.lease] != grp {
		return
	}
	r.forget(grp)
	r.renewer.Drop(grp.lease)
	// One moment for all of the lease, so that they come back in few transactions; it is other processes that they could
	// be in the way of.
	back := time.Now().Add(rand.N(returnSpread)) //nolint:gosec // spreads load, guards nothing
	for g := range grp.members {
		g.group, g.unsure, g.loose = nil, false, false
		// A lease may be gone because the whole store is another one, restored from a backup with a lower revision: then
		// nothing that was seen before tells anything, and the keys are watched anew once they are there.
		g.aliveAsOf, g.recordSeen, g.adminAsOf = 0, 0, 0
		r.watch.remove(g)
		r.lost(g, lease.ErrGone)
		g.holdUntil = back
		r.step(g)
	}
	grp.members = nil
}

// onLease takes over what happened to a lease.
func (r *Registry) onLease(e lease.Event) {
	if e.Lease == nil {
		r.onStream(e)
		return
	}
	grp := r.leases[e.Lease]
	if grp == nil {
		return
	}
	switch e.Kind {
	case lease.LeaseGone:
		r.groupGone(grp)
	case lease.Fenced:
		r.tellFence(grp, e.Fence)
	case lease.Quarantined:
		r.tell(grp, Event{Kind: Quarantined, Err: e.Err})
	case lease.Answered:
		r.readBack(grp, e.Fence)
	case lease.Stalled, lease.Reopening, lease.GrantFailed:
	}
}

// onStream takes over what concerns all leases.
func (r *Registry) onStream(e lease.Event) {
	switch e.Kind {
	case lease.Stalled:
		r.emit(Event{Kind: Stalled, By: e.By})
	case lease.GrantFailed:
		for _, g := range r.regs {
			if g.incarnation == 0 && g.group != nil && g.group.lease == nil {
				g.explain(e.Err)
			}
		}
		r.emit(Event{Kind: Retrying, Err: e.Err})
	case lease.Reopening:
		r.broken.note(e.Err)
	case lease.Fenced, lease.Answered, lease.LeaseGone, lease.Quarantined:
	}
}

// broken is what last went wrong with the renewals. It is kept for whoever is fenced by it: an expired certificate, or an endpoint
// at which nobody listens, shows nowhere else.
type broken struct {
	err error
	at  time.Time
}

func (b *broken) note(err error) {
	if status.Code(err) != codes.Canceled { // given up by ourselves: the reason came before
		b.err, b.at = err, time.Now()
	}
}

// explain adds the reason, unless it is so old that it can't be one.
func (b *broken) explain(err error, recent time.Duration) error {
	if b.err == nil || time.Since(b.at) > recent {
		return err
	}
	return fmt.Errorf("%w: %w", err, b.err)
}

// tellFence tells of a fence, once.
func (r *Registry) tellFence(grp *group, fence int64) {
	if fence > grp.told {
		grp.told = fence
		r.tell(grp, Event{Kind: Fenced, Err: r.broken.explain(lease.ErrFenced, grp.ttl)})
	}
}

// tell sends the event once for each member that is published. Why its lease is not renewed concerns also one that is not trusted.
func (r *Registry) tell(grp *group, e Event) {
	for g := range grp.members {
		switch {
		case g.presence.Load() == nil && (e.Kind != Quarantined || g.incarnation == 0 || g.ending != nil):
		case e.Kind == Fenced && g.fenced: // told already, when it could not be read
		default:
			g.fenced = e.Kind == Fenced || g.fenced && e.Kind != Trusted
			e.Name, e.Incarnation = g.name, g.incarnation
			r.emit(e)
		}
	}
}

// readBack reads the keys of all members after a fenced lease was renewed again. Only then is it trusted: that the lease lives
// does not prove that the keys do.
func (r *Registry) readBack(grp *group, fence int64) {
	grp.fence = fence
	grp.unverified = make(map[*Registration]struct{})
	for g := range grp.members {
		if g.incarnation != 0 && g.open() {
			grp.unverified[g] = struct{}{}
			g.verify = true
		}
	}
	if len(grp.unverified) == 0 {
		r.restore(grp)
	}
	for g := range grp.members {
		r.step(g)
	}
}

// confirmed says that the registration's keys were read, or written, after the last request to do so.
func (r *Registry) confirmed(g *Registration) {
	if g.group != nil {
		r.restoreWithout(g.group, g)
	}
}

func (r *Registry) restoreWithout(grp *group, g *Registration) {
	if _, open := grp.unverified[g]; !open {
		return
	}
	delete(grp.unverified, g)
	if len(grp.unverified) == 0 {
		r.restore(grp)
	}
}

func (r *Registry) restore(grp *group) {
	grp.unverified = nil
	if grp.lease == nil || !grp.lease.Restore(grp.fence) {
		return // fenced once more: the next answer starts over
	}
	for g := range grp.members {
		if g.incarnation != 0 {
			g.wakeWaiters()
		}
	}
	r.tell(grp, Event{Kind: Trusted})
}
