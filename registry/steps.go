package registry

import (
	"fmt"
	"math/rand/v2"
	"time"

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
		if r.acquire(g) {
			r.step(g)
		}
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
	o.answered = func(out outcome, err error) {
		g.busy = false
		then(out, err)
		if g.incarnation != 0 && g.recordSeen > g.recordRev {
			g.dirty, g.mend = true, true // somebody else wrote the record while the op was under way
		}
		g.recordSeen = 0
		r.step(g)
	}
	r.queue.submit(o)
}

// answered takes over ops that have their outcome. Those who committed them look for more themselves.
func (r *Registry) answered(ops []*op) {
	r.mail.do(func() { r.takeAnswers(ops) })
}

// takeAnswers gives each op its outcome, also if a callback of the application panics for one of them.
func (r *Registry) takeAnswers(ops []*op) {
	done := 0
	defer func() {
		if rest := ops[done:]; len(rest) > 0 {
			r.mail.post(func() { r.takeAnswers(rest) })
		}
	}()
	for _, o := range ops {
		done++
		o.answered(o.outcome, o.err)
	}
}

func (r *Registry) submitRead(g *Registration) {
	wanted := g.verify
	g.verify = false
	keys := g.keys()
	o, adminRev := &op{keys: keys, read: true}, g.adminRev
	if g.settled() {
		// Only whether something changed is asked: of many thousands, at once after a break, nearly all are what they were.
		o = &op{
			keys: keys, elseRead: true,
			compare: []comparison{{keys.alive, g.incarnation}, {keys.record, g.recordRev}, {keys.admin, g.adminRev}},
		}
	}
	r.submit(g, o, func(out outcome, err error) {
		if err != nil {
			g.verify = g.verify || wanted
			if lease.Judge(err) == lease.Refused {
				r.unreadable(g, err)
			}
			r.failed(g, err)
			return
		}
		g.failures = 0
		g.unsure = false
		if out.read {
			r.learn(g, out)
		} else {
			r.stillSo(g, out.revision, adminRev)
		}
		if !g.verify {
			r.confirmed(g)
		}
	})
}

// unreadable ends the trusted period: what can't be read can't be trusted, and must not hold up the others on the lease.
func (r *Registry) unreadable(g *Registration, why error) {
	news := g.presence.Load() != nil && !g.fenced
	g.vanish(why)
	if g.fenced = true; news {
		r.emit(Event{Name: g.name, Kind: Fenced, Incarnation: g.incarnation, Err: why})
	}
	r.confirmed(g)
}

// submitPut writes record and alive key, if nobody else did meanwhile.
func (r *Registry) submitPut(g *Registration) {
	grp, now := g.group, time.Now()
	made, recordValue, err := g.composeText(now, grp.lease.TTL())
	if err != nil {
		r.abort(g, err)
		return
	}
	holder := r.holder(g, now)
	holderValue, err := EncodeHolder(&holder)
	if err != nil {
		r.abort(g, err)
		return
	}
	keys, guess, adminRev := g.keys(), !g.adminKnown(), g.adminRev
	if guess {
		adminRev = 0 // what is not known is most likely not there
	}
	o := &op{
		keys: keys, record: recordValue, holder: holderValue, lease: grp.lease.ID(),
		compare: []comparison{{keys.alive, g.replace}, {keys.record, g.recordRev}, {keys.admin, adminRev}},
	}
	// Of a burst most names are new, and questions that need no answer would be a third of its cost: they follow where they are needed.
	burst := r.watch.expect(now)
	o.elseRead = !burst || !guess
	dirty, compared := g.dirty, g.recordRev
	g.dirty = false
	r.submit(g, o, func(out outcome, err error) {
		switch {
		case err != nil:
			g.dirty = g.dirty || dirty
			g.looseRev, g.looseOld = compared, g.oldRecord()
			r.putFailed(g, grp, err)
		case !out.applied:
			g.dirty = g.dirty || dirty
			g.failures = 0
			if out.read {
				r.learn(g, out)
			} else {
				g.verify = true
			}
		default:
			g.recordOld = g.ifChanged(recordValue)
			if guess {
				r.learnAdmin(g, nil, out.revision)
			}
			r.published(g, grp, made, out)
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
func (r *Registry) published(g *Registration, grp *group, made base, out outcome) {
	g.failures, g.replace, g.rival, g.loose, g.unsure = 0, 0, nil, false, false
	g.base, g.recordRev = made, out.revision
	r.recordWritten(g)
	if g.group != grp {
		return // the lease was lost while the put was under way, and the key with it
	}
	g.incarnation, g.last = out.revision, out.revision
	switch {
	case g.aliveAsOf > out.revision:
		g.unsure = true // somebody changed the key before we heard that it was ours
	case g.open():
		r.begin(g, out.revision)
	}
}

// begin starts an incarnation, or the trust in one that could not be read meanwhile.
func (r *Registry) begin(g *Registration, incarnation int64) {
	kind, again := Registered, g.told == incarnation
	if again {
		kind = Trusted
	}
	g.incarnation, g.last, g.told = incarnation, incarnation, incarnation
	g.appear(&presence{incarnation: incarnation, lease: g.group.lease, since: time.Now()})
	if !again || g.group.lease.Valid() { // or the lease tells of it, when it is trusted again
		g.fenced = false
		r.emit(Event{Name: g.name, Kind: kind, Incarnation: incarnation})
	}
	r.watch.add(g)
	if !g.verify { // or what was read was asked for before the lease was fenced, and proves nothing
		r.confirmed(g)
	}
	if g.joining {
		g.joining = false
		r.startWatchdog(g)
		g.settle(nil) // last: who is woken last runs first, and whoever waits for Register need not wait for the watch
	}
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
	keys := g.keys()
	o := &op{
		keys: keys, record: value, elseRead: true,
		compare: []comparison{{keys.alive, g.incarnation}},
	}
	r.submit(g, o, func(out outcome, err error) {
		if err == nil && out.applied {
			g.failures, g.base, g.recordRev, g.recordOld = 0, baseOf(rec), out.revision, g.ifChanged(value)
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
	keys := g.keys()
	o := &op{
		keys: keys, record: value, remove: true, elseRead: true,
		compare: []comparison{{keys.alive, incarnation}},
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
			g.base, g.recordRev, g.recordOld = baseOf(rec), out.revision, value
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
	keys := g.keys()
	o := &op{
		keys: keys, record: value, elseRead: true,
		compare: []comparison{{keys.record, g.looseRev}},
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
	if grp := g.group; grp != nil && grp.lease != nil {
		// Who wakes from a freeze may hear of the key before the fence. That it was fenced comes first: somebody may have
		// been told that it is down, and who acts on fences alone must not go on.
		r.tellFence(grp, grp.lease.Fences())
	}
	was := g.incarnation
	g.incarnation, g.told, g.fenced = 0, 0, false
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
