package registry

import (
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/lease"
)

// Everything in this file runs on the registry's loop.

const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
	// mendPause keeps two writers of one record from rewriting each other's without end.
	mendPause = time.Second
)

// step does what the registration needs next.
func (r *Registry) step(g *Registration) {
	a := g.next()
	if g.idle() {
		r.detach(g) // an unhealthy instance must not keep a lease without keys
	}
	if a == rest {
		return
	}
	if wait := time.Until(g.holdUntil); wait > 0 && a != release {
		r.later(g, wait)
		return
	}
	switch a {
	case release:
		r.release(g)
	case read:
		r.submitRead(g)
	case acquire:
		r.acquire(g)
	case put:
		r.submitPut(g)
	case rewrite:
		r.submitRewrite(g)
	case withdraw, seal:
		r.submitEnd(g)
	case ask:
		r.askRival(g)
	case rest:
	}
}

// later steps again after the time.
func (r *Registry) later(g *Registration, wait time.Duration) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(wait, func() { r.mail.post(func() { r.step(g) }) })
}

// submit sends the op and lets the result run on the loop.
func (r *Registry) submit(g *Registration, o *op, then func(outcome, error)) {
	g.busy = true
	o.done = func(out outcome, err error) {
		r.mail.post(func() {
			g.busy = false
			then(out, err)
			if g.incarnation != 0 && g.recordSeen > g.recordRev {
				g.dirty = true // somebody else wrote the record while the op was under way
			}
			r.step(g)
		})
	}
	r.queue.submit(g.keys, o)
}

func (r *Registry) submitRead(g *Registration) {
	wanted := g.verify
	g.verify = false
	r.submit(g, &op{then: g.keys.readAll()}, func(out outcome, err error) {
		if err != nil {
			g.verify = g.verify || wanted
			r.failed(g, err)
			return
		}
		g.failures = 0
		g.unsure = false
		r.learn(g, out)
		if !g.verify {
			r.confirmed(g)
		}
	})
}

// submitPut writes record and alive key, if nobody else did meanwhile.
func (r *Registry) submitPut(g *Registration) {
	grp, now := g.group, time.Now()
	rec := g.compose(now, grp.lease.TTL())
	recordValue, err := EncodeRecord(rec)
	if err != nil {
		r.abort(g, err)
		return
	}
	holderValue, err := EncodeHolder(r.holder(g, now))
	if err != nil {
		r.abort(g, err)
		return
	}
	o := &op{
		compare: []clientv3.Cmp{unchanged(g.keys.alive, g.replace), unchanged(g.keys.record, g.recordRev)},
		then: []clientv3.Op{
			clientv3.OpPut(g.keys.record, string(recordValue)),
			clientv3.OpPut(g.keys.alive, string(holderValue), clientv3.WithLease(grp.lease.ID())),
		},
		orElse: g.keys.readAll(),
	}
	if g.adminKnown {
		o.compare = append(o.compare, unchanged(g.keys.admin, g.adminRev))
	} else {
		o.then = append(o.then, clientv3.OpGet(g.keys.admin))
	}
	dirty := g.dirty
	g.dirty = false
	r.submit(g, o, func(out outcome, err error) {
		switch {
		case err != nil:
			g.dirty = g.dirty || dirty
			r.putFailed(g, grp, err)
		case !out.applied:
			g.dirty = g.dirty || dirty
			g.failures = 0
			r.learn(g, out)
		default:
			r.published(g, grp, rec, out)
		}
	})
}

func (r *Registry) putFailed(g *Registration, grp *group, err error) {
	switch lease.Judge(err) {
	case lease.Gone:
		r.groupGone(grp)
	case lease.Refused:
		if g.joining {
			r.abort(g, err)
			return
		}
		r.failed(g, err)
	case lease.Retry:
		g.unsure, g.loose = true, true
		r.failed(g, err)
	}
}

// published takes over that the put is committed: a new incarnation begins.
func (r *Registry) published(g *Registration, grp *group, rec *Record, out outcome) {
	g.failures, g.replace, g.rival, g.loose, g.unsure = 0, 0, nil, false, false
	g.base, g.recordRev = rec, out.revision
	if out.read {
		r.learnAdmin(g, out.admin)
	}
	r.recordWritten(g)
	if g.group != grp {
		return // the lease was lost while the put was under way, and the key with it
	}
	r.begin(g, out.revision, out.revision)
}

// begin starts an incarnation, which was there at the revision asOf.
func (r *Registry) begin(g *Registration, incarnation, asOf int64) {
	g.incarnation, g.last = incarnation, incarnation
	g.appear(&presence{incarnation: incarnation, lease: g.group.lease, since: time.Now()})
	r.watch.add(g, asOf+1)
	r.emit(Event{Name: g.name, Kind: Registered, Incarnation: incarnation})
	g.joining = false
	g.settle(nil)
	r.confirmed(g)
}

// submitRewrite writes the record, as a report or because it changed or is missing.
func (r *Registry) submitRewrite(g *Registration) {
	rec := g.compose(time.Now(), g.group.lease.TTL())
	if g.report {
		rec.ReportCount++
	}
	value, err := EncodeRecord(rec)
	if err != nil {
		g.dirty, g.report = false, false
		r.answerUpdates(g, err)
		return
	}
	report, dirty := g.report, g.dirty
	g.report, g.dirty = false, false
	o := &op{
		compare: []clientv3.Cmp{unchanged(g.keys.alive, g.incarnation)},
		then:    []clientv3.Op{clientv3.OpPut(g.keys.record, string(value))},
		orElse:  g.keys.readAll(),
	}
	r.submit(g, o, func(out outcome, err error) {
		if err == nil && out.applied {
			g.failures, g.base, g.recordRev = 0, rec, out.revision
			r.recordWritten(g)
			return
		}
		g.report, g.dirty = g.report || report, g.dirty || dirty
		if err != nil {
			r.failed(g, err)
			return
		}
		g.failures = 0
		r.learn(g, out)
	})
}

// recordWritten answers who waited for it.
func (r *Registry) recordWritten(g *Registration) {
	if !g.dirty {
		r.answerUpdates(g, nil)
	}
	r.answerReports(g)
}

// submitEnd announces an end: record with the reason put, alive key deleted, in one revision. Without an incarnation it seals:
// a put that was never answered and may still arrive finds the record changed and fails.
func (r *Registry) submitEnd(g *Registration) {
	now, incarnation := time.Now(), g.incarnation
	how := Ended{Cause: CauseUnhealthy}
	if g.ending != nil {
		how = *g.ending
	} else {
		how.Reason = clip(g.gate().Error())
	}
	how.At, how.Incarnation = stamp(now), incarnation
	rec := g.compose(now, g.in.TTL)
	rec.Ended = &how
	value, err := EncodeRecord(rec)
	if err != nil {
		// The reason is what made it too large: an end without a reason is still an end.
		rec.Labels, rec.Endpoints, rec.Ended.Reason = nil, nil, ""
		value, err = EncodeRecord(rec)
	}
	if err != nil {
		r.failed(g, err)
		return
	}
	g.leaving = true
	o := &op{
		compare: []clientv3.Cmp{unchanged(g.keys.alive, incarnation)},
		then:    []clientv3.Op{clientv3.OpPut(g.keys.record, string(value)), clientv3.OpDelete(g.keys.alive)},
		orElse:  g.keys.readAll(),
	}
	r.submit(g, o, func(out outcome, err error) {
		g.leaving = false
		switch {
		case err != nil:
			g.unsure = g.unsure || lease.Judge(err) == lease.Retry
			r.failed(g, err)
		case !out.applied:
			g.failures = 0
			r.learn(g, out)
		default:
			g.failures, g.incarnation, g.loose = 0, 0, false
			g.base, g.recordRev = rec, out.revision
			g.base.Ended = nil
			r.detach(g)
		}
	})
}

// learn takes over what was read, and decides what it means.
func (r *Registry) learn(g *Registration, out outcome) {
	g.recordRev = rev(out.record)
	if out.record != nil {
		if old, err := DecodeRecord(out.record.Value); err == nil {
			g.inherit(old)
		}
	}
	if out.record == nil && g.incarnation != 0 {
		g.dirty = true
	}
	r.learnAdmin(g, out.admin)
	r.learnAlive(g, out.alive, out.revision)
	r.checkEvicted(g)
	if g.rewatch && !g.busy {
		g.rewatch = false
		r.watch.add(g, out.revision+1)
	}
}

// checkEvicted ends the registration if an operator evicted its last incarnation or a later one.
func (r *Registry) checkEvicted(g *Registration) {
	if a := g.admin; a != nil && a.Evicted != nil && g.last != 0 && a.Evicted.Incarnation >= g.last {
		r.end(g, Ended{Cause: CauseEvicted, Reason: a.Evicted.Reason}, ErrEvicted)
	}
}

func (r *Registry) learnAlive(g *Registration, kv *mvccpb.KeyValue, asOf int64) {
	if kv == nil {
		g.replace, g.rival = 0, nil
		r.lost(g, errKeyDeleted)
		return
	}
	holder, err := DecodeHolder(kv.Value)
	if err != nil || holder.Registration != g.id {
		r.meet(g, kv, holder)
		return
	}
	g.loose = false
	if g.group == nil || g.group.lease == nil || kv.Lease != int64(g.group.lease.ID()) {
		// Ours, under a lease that we gave up, so it will vanish: it may be overwritten.
		r.lost(g, lease.ErrGone)
		g.replace = kv.ModRevision
		return
	}
	if g.incarnation != kv.ModRevision {
		r.lost(g, errUnsettled)
	}
	if g.ending != nil || g.gate() != nil {
		g.incarnation, g.last = kv.ModRevision, kv.ModRevision // only to be withdrawn
		return
	}
	if g.presence.Load() == nil {
		r.begin(g, kv.ModRevision, asOf) // the answer to the put was lost; the registration id proves that it is ours
	}
}

// meet handles that somebody else holds the name.
func (r *Registry) meet(g *Registration, kv *mvccpb.KeyValue, holder *Holder) {
	g.loose = false // whoever holds the name wrote the record too, so a put under way can't succeed any more
	switch {
	case g.ending != nil:
		g.incarnation = 0
	case !g.joining:
		r.lost(g, ErrReplaced)
		r.end(g, Ended{Cause: CauseReplaced}, ErrReplaced)
	default:
		r.compete(g, kv, holder)
	}
}

// compete applies the policy of a first registration to whoever holds the name.
func (r *Registry) compete(g *Registration, kv *mvccpb.KeyValue, holder *Holder) {
	conflict := &ConflictError{Name: g.name, Holder: holder, Incarnation: kv.ModRevision, Lease: kv.Lease}
	switch {
	case holder != nil && r.cfg.Process.proveGone(holder.process(), procStat):
		g.replace = kv.ModRevision // a restarted service need not wait for its own ghost
	case g.in.OnConflict == Takeover:
		g.replace = kv.ModRevision
	case g.in.OnConflict == Fail:
		conflict.Why = "the policy is to fail"
		r.abort(g, conflict)
	case kv.Lease == 0:
		conflict.Why = "its key is bound to no lease, so it will never go away; delete the key"
		r.abort(g, conflict)
	case holder == nil:
		conflict.Why = "its key can't be read"
		r.abort(g, conflict)
	default:
		if g.rival == nil || g.rival.incarnation != kv.ModRevision {
			g.rival = &rival{incarnation: kv.ModRevision, lease: kv.Lease, holder: holder}
		}
		conflict.Why = "waiting for its lease to run out"
		g.explain(conflict)
		g.asking = true
	}
}

// askRival asks etcd about the lease of whoever holds the name.
func (r *Registry) askRival(g *Registration) {
	v := g.rival
	g.asking, g.busy = false, true
	r.running.Go(func() {
		answer, err := r.askLease(r.ctx, v.lease)
		r.mail.post(func() {
			g.busy, g.verify = false, true
			g.holdUntil = time.Now().Add(rivalInterval)
			if err != nil {
				r.failed(g, err)
			} else if answer.granted > 0 && v.renewed(answer) && g.ending == nil {
				r.abort(g, &ConflictError{
					Name: g.name, Holder: v.holder, Incarnation: v.incarnation, Lease: v.lease,
					Why: "it is alive, for it renews its lease",
				})
			}
			r.step(g)
		})
	})
}

func (r *Registry) learnAdmin(g *Registration, kv *mvccpb.KeyValue) {
	was := g.forced()
	g.adminKnown, g.adminRev, g.admin = true, rev(kv), nil
	if kv != nil {
		if admin, err := DecodeAdmin(kv.Value); err == nil {
			g.admin = admin
		}
	}
	if now := g.forced(); now != was {
		g.setForced(now)
		kind := Lifted
		if now {
			kind = Forced
		}
		r.emit(Event{Name: g.name, Kind: kind, Incarnation: g.incarnation})
	}
}

func (s *state) forced() bool { return s.admin != nil && s.admin.ForcedDown != nil }

// lost ends the incarnation: its key is not there, or not ours.
func (r *Registry) lost(g *Registration, why error) {
	if g.incarnation == 0 {
		return
	}
	was := g.incarnation
	g.incarnation = 0
	g.vanish(why)
	r.answerReports(g)
	if g.ending == nil && g.gate() == nil {
		r.emit(Event{Name: g.name, Kind: LostKey, Incarnation: was, Err: why})
	}
}

// failed plans the next try after an error, with growing full jitter so that many processes do not come back in one wave.
func (r *Registry) failed(g *Registration, err error) {
	g.failures++
	limit := min(firstRetry<<min(g.failures-1, 10), lastRetry)
	g.holdUntil = time.Now().Add(time.Duration(rand.Int64N(int64(limit)))) //nolint:gosec // spreads load, guards nothing
	if g.incarnation == 0 {
		g.explain(fmt.Errorf("%w (%w)", errNotYet, err))
	}
	r.emit(Event{Name: g.name, Kind: Retrying, Incarnation: g.incarnation, Err: err})
	r.client.ActiveConnection().ResetConnectBackoff()
}

// abort ends a first registration that can't succeed.
func (r *Registry) abort(g *Registration, err error) {
	if !g.joining {
		r.failed(g, err)
		return
	}
	g.settle(err)
	r.end(g, Ended{Cause: CauseFailed, Reason: "never registered"}, err)
}
