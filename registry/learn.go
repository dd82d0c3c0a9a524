package registry

import (
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/lease"
)

// Everything in this file runs on the registry's loop.

// learn takes over what was read, and decides what it means.
func (r *Registry) learn(g *Registration, out outcome) {
	if g.incarnation != 0 && g.recordRev != rev(out.record) {
		g.dirty, g.mend = true, true // somebody else wrote or deleted the record
	}
	g.recordRev, g.recordOld = rev(out.record), nil
	if g.loose && g.recordRev != g.looseRev {
		g.loose = false // the put under way compares the record, so it can't succeed any more
	}
	if out.record != nil {
		g.recordOld = append([]byte{}, out.record.Value...) // never nil
		if old, err := DecodeRecord(out.record.Value); err == nil {
			g.inherit(old)
		}
	}
	r.learnAdmin(g, out.admin, out.revision)
	r.learnAlive(g, out.alive, out.revision)
	r.checkEvicted(g)
	if g.rewatch && !g.busy {
		g.rewatch = false
		r.watch.add(g)
	}
}

// stillSo takes over that at the revision all keys were what was known when it was asked, the admin key of that revision among them.
func (r *Registry) stillSo(g *Registration, asOf, adminRev int64) {
	if g.aliveAsOf > asOf {
		g.unsure = true // the key was changed after this was read
		g.holdUntil = time.Now().Add(firstRetry)
		return
	}
	switch {
	case g.adminRev == adminRev:
		g.adminAsOf = max(g.adminAsOf, asOf)
	case adminRev == 0: // it was written meanwhile, which is known, and deleted again
		r.learnAdmin(g, nil, asOf)
	}
}

// checkEvicted ends the registration if an operator evicted its last incarnation or a later one.
func (r *Registry) checkEvicted(g *Registration) {
	if a := g.admin; a != nil && a.Evicted != nil && g.last != 0 && a.Evicted.Incarnation >= g.last {
		r.end(g, Ended{Cause: CauseEvicted, Reason: a.Evicted.Reason}, ErrEvicted)
	}
}

func (r *Registry) learnAlive(g *Registration, kv *mvccpb.KeyValue, asOf int64) {
	if g.aliveAsOf > asOf {
		g.unsure = true // the key was changed after this was read
		g.holdUntil = time.Now().Add(firstRetry)
		return
	}
	if kv == nil {
		g.replace, g.rival = 0, nil
		r.lost(g, errKeyDeleted)
		return
	}
	holder, err := DecodeHolder(kv.Value)
	if err != nil || holder.Registration != g.id.String() {
		r.meet(g, kv, holder)
		return
	}
	if g.group == nil || g.group.lease == nil || kv.Lease != int64(g.group.lease.ID()) {
		// Ours, under a lease that we gave up, so it will vanish: it may be overwritten.
		r.lost(g, lease.ErrGone)
		g.replace = kv.ModRevision
		return
	}
	if g.incarnation != kv.ModRevision {
		r.lost(g, errUnsettled)
	}
	if !g.open() || g.withdrawn == kv.ModRevision {
		g.incarnation, g.last = kv.ModRevision, kv.ModRevision // only to be withdrawn
		return
	}
	if g.presence.Load() == nil {
		r.begin(g, kv.ModRevision) // the answer to the put was lost; the registration id proves that it is ours
	}
}

// meet handles that somebody else holds the name.
func (r *Registry) meet(g *Registration, kv *mvccpb.KeyValue, holder *Holder) {
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
	case g.in.conflict == Takeover:
		g.replace = kv.ModRevision
	case g.in.conflict == Fail:
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

// learnAdmin takes over what the admin record was at the revision asOf. An answer may come later than the news.
func (r *Registry) learnAdmin(g *Registration, kv *mvccpb.KeyValue, asOf int64) {
	if asOf < g.adminAsOf {
		return
	}
	was := g.forced()
	g.adminAsOf, g.adminRev, g.admin = asOf, rev(kv), nil
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
