package registry

import (
	"fmt"
	"math/rand/v2"
	"time"

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
	until := g.holdUntil
	if a == rewrite && g.mendsOnly() && until.Before(g.mendedAt.Add(mendPause)) {
		until = g.mendedAt.Add(mendPause)
	}
	if wait := time.Until(until); wait > 0 && a != release {
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
	case withdraw:
		r.submitEnd(g)
	case seal:
		r.submitSeal(g)
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
				g.dirty, g.mend = true, true // somebody else wrote the record while the op was under way
			}
			g.recordSeen = 0
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
			if lease.Judge(err) == lease.Refused {
				g.vanish(err) // what can't be read can't be trusted, and must not hold up the others on the lease
				r.confirmed(g)
			}
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
	recordValue, err := encodeOwn(rec)
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
	if g.adminKnown() {
		o.compare = append(o.compare, unchanged(g.keys.admin, g.adminRev))
	} else {
		o.then = append(o.then, clientv3.OpGet(g.keys.admin))
	}
	dirty, compared, old := g.dirty, g.recordRev, g.recordOld
	g.dirty = false
	r.submit(g, o, func(out outcome, err error) {
		switch {
		case err != nil:
			g.dirty = g.dirty || dirty
			g.looseRev, g.looseOld = compared, old
			r.putFailed(g, grp, err)
		case !out.applied:
			g.dirty = g.dirty || dirty
			g.failures = 0
			r.learn(g, out)
		default:
			g.recordOld = recordValue
			r.published(g, grp, rec, out)
		}
	})
}

func (r *Registry) putFailed(g *Registration, grp *group, err error) {
	switch lease.Judge(err) {
	case lease.Gone:
		r.groupGone(grp)
	case lease.Refused:
		r.abort(g, err)
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
		r.learnAdmin(g, out.admin, out.revision)
	}
	r.recordWritten(g)
	if g.group != grp {
		return // the lease was lost while the put was under way, and the key with it
	}
	g.incarnation, g.last = out.revision, out.revision
	switch {
	case g.aliveAsOf > out.revision:
		g.unsure = true // somebody changed the key before we heard that it was ours
	case g.open():
		r.begin(g, out.revision, out.revision)
	}
}

// begin starts an incarnation, which was there at the revision asOf.
func (r *Registry) begin(g *Registration, incarnation, asOf int64) {
	g.incarnation, g.last = incarnation, incarnation
	g.appear(&presence{incarnation: incarnation, lease: g.group.lease, since: time.Now()})
	r.watch.add(g, asOf)
	r.emit(Event{Name: g.name, Kind: Registered, Incarnation: incarnation})
	if g.joining {
		g.joining = false
		r.startWatchdog(g)
		g.settle(nil)
	}
	r.confirmed(g)
}

// submitRewrite writes the record, as a report or because it changed or is missing.
func (r *Registry) submitRewrite(g *Registration) {
	rec := g.compose(time.Now(), g.group.lease.TTL())
	if g.report {
		rec.ReportCount++
	}
	value, err := encodeOwn(rec)
	if err != nil {
		g.dirty, g.mend, g.report = false, false, false
		r.answerUpdates(g, err)
		r.answerReports(g)
		return
	}
	if g.mend {
		g.mend, g.mendedAt = false, time.Now()
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
			g.failures, g.base, g.recordRev, g.recordOld = 0, rec, out.revision, value
			r.recordWritten(g)
			return
		}
		g.report, g.dirty = g.report || report, g.dirty || dirty
		if err != nil {
			r.answerReports(g) // it is tried again, but nobody may wait for it: one refused name must not stop the reports of all
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

// submitEnd announces an end: record with the reason put, alive key deleted, in one revision.
func (r *Registry) submitEnd(g *Registration) {
	incarnation := g.incarnation
	how := Ended{Cause: CauseUnhealthy}
	switch why := g.gate(); {
	case g.ending != nil:
		how = *g.ending
	case why != nil:
		how.Reason, g.farewell = clip(why.Error()), why
	case g.farewell != nil:
		how.Reason = clip(g.farewell.Error())
	}
	how.At, how.Incarnation = stamp(time.Now()), incarnation
	rec, value, err := g.lastWords(how)
	if err != nil {
		r.failed(g, err)
		r.step(g)
		return
	}
	g.leaving, g.withdrawn = true, incarnation
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
			g.base, g.recordRev, g.recordOld = rec, out.revision, value
			g.base.Ended = nil
			r.detach(g)
		}
	})
}

// submitSeal makes a put fail that was never answered and may still arrive: it compares the record, so the record is touched.
// What it says stays, for it may be somebody else's by then; where there is none, one is left that says that this is over.
func (r *Registry) submitSeal(g *Registration) {
	value := g.looseOld
	if g.looseRev == 0 {
		how := Ended{Cause: CauseLeft, At: stamp(time.Now())}
		if g.ending != nil {
			how.Cause, how.Reason = g.ending.Cause, g.ending.Reason
		}
		var err error
		if _, value, err = g.lastWords(how); err != nil {
			r.failed(g, err)
			r.step(g)
			return
		}
	}
	o := &op{
		compare: []clientv3.Cmp{unchanged(g.keys.record, g.looseRev)},
		then:    []clientv3.Op{clientv3.OpPut(g.keys.record, string(value))},
		orElse:  g.keys.readAll(),
	}
	r.submit(g, o, func(out outcome, err error) {
		switch {
		case err != nil:
			r.failed(g, err)
		case out.applied:
			g.failures, g.loose = 0, false
			g.recordRev, g.recordOld = out.revision, value
		default:
			g.failures = 0
			r.learn(g, out)
		}
	})
}

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
	lease.Reconnect(r.client)
}

// abort ends a first registration that can't succeed. One that was published before goes on trying.
func (r *Registry) abort(g *Registration, err error) {
	if !g.joining {
		r.failed(g, err)
		return
	}
	g.settle(err)
	r.end(g, Ended{Cause: CauseFailed, Reason: "never registered"}, err)
}
