package history

import (
	"slices"

	"github.com/hbctl/hbctl/watcher"
)

// window judges one event that a reader with a confirmation window was told.
func (r *reader) window(rec *Record, e *Event) {
	kind := watcher.Kind(e.Kind)
	tr, t := r.c.truth.tracks[e.Name], r.name(e.Name)
	r.touch(tr)
	switch kind {
	case watcher.Up, watcher.Down, watcher.Suspect, watcher.Cleared:
	default:
		if e.Row != nil {
			t.listed, t.row = true, *e.Row
		}
		return
	}
	l := tr.life(e.Incarnation)
	if l == nil {
		r.fail(NoGhosts, rec, e.Name, "incarnation %d of %s is told %s, which never was", e.Incarnation, e.Name, e.Kind)
		return
	}
	was := r.settle(t, e)
	r.depart(e.Name, t)
	switch kind {
	case watcher.Up:
		r.upAgain(rec, e, was, l)
		t.state = up
	case watcher.Suspect:
		r.suspects(rec, e, was, l)
		t.state, t.deleted = suspect, e.DeletedRevision // not known where it was found by comparing
		r.open++
	case watcher.Cleared:
		r.cleared(rec, e, was, tr, l)
		t.state = up
	case watcher.Down:
		r.downAtLast(rec, e, was, l)
		t.state = down
	}
	t.incarnation = max(e.Incarnation, was.incarnation)
	if was.state == suspect {
		r.open--
	}
}

// settle gives what the name was before the event: what was told last or, if the event does not follow that, one of those that
// a restart may have gone back to.
func (r *reader) settle(t *told, e *Event) told {
	was := *t
	if !follows(&was, e) {
		for _, d := range slices.Backward(t.doubt) {
			if follows(&d, e) {
				r.open += suspects(&d) - suspects(&was)
				was = d
				break
			}
		}
	}
	t.doubt = nil
	delete(r.doubted, e.Name)
	return was
}

func suspects(t *told) int {
	if t.state == suspect {
		return 1
	}
	return 0
}

// follows says that the event can come after what was told.
func follows(t *told, e *Event) bool {
	switch watcher.Kind(e.Kind) {
	case watcher.Up:
		return t.state == down && e.Incarnation >= t.incarnation
	case watcher.Suspect:
		return t.state == up && t.incarnation == e.Incarnation
	case watcher.Cleared:
		return t.state != down && t.incarnation == e.Previous
	}
	return t.state != down && t.incarnation == e.Incarnation
}

// depart keeps what the name was, for as long as the batch is in flight.
func (r *reader) depart(name string, t *told) {
	kept := *t
	kept.flight, kept.doubt = nil, nil
	if len(t.flight) < maxFlight {
		t.flight = append(t.flight, kept)
	}
	r.flying[name] = true
}

func (r *reader) upAgain(rec *Record, e *Event, was told, l *life) {
	r.c.checked(NoGhosts)
	if r.restarted || r.contact != forever {
		r.c.checked(NoFlap)
	}
	switch {
	case was.state != down && was.incarnation == e.Incarnation:
		r.fail(NoFlap, rec, e.Name, "incarnation %d of %s is told up, and was told up already", e.Incarnation, e.Name)
	case was.state != down:
		r.fail(OneDown, rec, e.Name, "incarnation %d of %s is told up, but of %d no end was told", e.Incarnation, e.Name, was.incarnation)
	case e.Incarnation < was.incarnation, l.endRevision != 0 && l.endRevision <= rec.Batch.Revision:
		r.fail(NoGhosts, rec, e.Name, "incarnation %d of %s is told up, but is dead", e.Incarnation, e.Name)
	}
}

// stillHad says that etcd had the key when it was told gone. The auditor may learn of a deletion later than a reader, when it is
// its way to etcd that is broken: the revision that the reader names is proof enough.
func (r *reader) stillHad(rec *Record, e *Event, l *life) bool {
	return l.endRevision == 0 || e.DeletedRevision != l.endRevision && l.endAt > rec.At+int64(r.c.o.Slack)
}

func (r *reader) suspects(rec *Record, e *Event, was told, l *life) {
	r.c.counts.Suspects++
	r.c.checked(NoFalseDown)
	if !follows(&was, e) {
		r.fail(OneDown, rec, e.Name, "incarnation %d of %s is told suspect, but was not told up", e.Incarnation, e.Name)
	}
	switch {
	case r.stillHad(rec, e, l):
		r.fail(NoFalseDown, rec, e.Name, "incarnation %d of %s is told suspect, but its key is there", e.Incarnation, e.Name)
		return
	case l.how != gone && l.how != replaced && !e.Synthetic:
		r.fail(RightCause, rec, e.Name, "incarnation %d of %s is told suspect, but its end was announced", e.Incarnation, e.Name)
	}
	if e.DeletedRevision != 0 && e.DeletedRevision != l.endRevision {
		r.fail(RightCause, rec, e.Name, "incarnation %d of %s is said to be deleted by revision %d, but was by %d", e.Incarnation, e.Name, e.DeletedRevision, l.endRevision)
	}
	r.tellsEnd(rec, l)
}

func (r *reader) cleared(rec *Record, e *Event, was told, tr *track, l *life) {
	r.c.counts.Cleared++
	r.c.checked(OneDown)
	if !follows(&was, e) {
		r.fail(OneDown, rec, e.Name, "%s is cleared from incarnation %d, but what was told is %d", e.Name, e.Previous, was.incarnation)
	}
	previous := tr.life(e.Previous)
	switch {
	case previous == nil:
		r.fail(NoGhosts, rec, e.Name, "%s is cleared from incarnation %d, which never was", e.Name, e.Previous)
	case l.incarnation <= previous.incarnation, !l.sameProcess(previous):
		r.fail(NoGhosts, rec, e.Name, "%s is cleared, but incarnation %d is another process than %d", e.Name, e.Incarnation, e.Previous)
	default:
		r.c.quality.clears(r, rec, previous)
	}
}

// downAtLast judges a down of a reader who must never be told one of what lives.
func (r *reader) downAtLast(rec *Record, e *Event, was told, l *life) {
	c := r.c
	c.checked(OneDown)
	c.checked(NoFalseDown)
	c.counts.ConfirmedDown++
	if !follows(&was, e) {
		r.fail(OneDown, rec, e.Name, "incarnation %d of %s is told down, but what was told is %d", e.Incarnation, e.Name, was.incarnation)
	}
	m := l.track.at(max(rec.Batch.Revision, l.endRevision, l.incarnation))
	forced := e.Cause == "forced"
	switch {
	case forced:
		if !c.scene.did(l, 0, rec.At, OpForceDown) && !m.row.Forced {
			r.fail(NoFalseDown, rec, e.Name, "incarnation %d of %s is told down by force, but nobody forced it", e.Incarnation, e.Name)
		}
		return
	case r.stillHad(rec, e, l):
		r.fail(NoFalseDown, rec, e.Name, "incarnation %d of %s is told down, but its key is there", e.Incarnation, e.Name)
		return
	}
	if !e.Synthetic {
		m = l.track.at(l.endRevision)
	}
	r.cause(rec, e, l, m)
	if l.how != gone {
		r.tellsEnd(rec, l)
		return
	}
	c.quality.confirms(r, rec, l)
	early := rec.At-l.endAt < r.confirm-int64(c.o.Slack) && !e.Synthetic && (l.next == nil || l.next.begin > rec.At+int64(c.o.Slack))
	switch {
	case early && !c.scene.did(l, l.endAt-2e9, rec.At, OpEvict, OpTakeover, OpForceDown):
		r.fail(NoFalseDown, rec, e.Name, "incarnation %d of %s is told down %s after its key went, before the window of %s was over", e.Incarnation, e.Name, seconds(rec.At-l.endAt), seconds(r.confirm))
	case c.lived(l, rec.At):
		r.fail(NoFalseDown, rec, e.Name, "incarnation %d of %s is told down, but its process lived and was not cut off", e.Incarnation, e.Name)
	}
}

// lived says that the holder of a key that vanished lived until then, had contact, and was let be by operators.
func (c *checker) lived(l *life, until int64) bool {
	p := l.owner
	if p == nil || !l.why.mistaken() || p.dead <= until || p.asked <= until || l.leaving != nil && l.leaving.At <= until || l.ended != nil && l.ended.At <= until {
		return false
	}
	if l.next != nil && !l.sameProcess(l.next) && l.next.begin <= until {
		return false // another process has the name
	}
	if _, out := p.out.overlaps(l.endAt-l.patience(), until); out {
		return false
	}
	_, unable := c.scene.unable.overlaps(l.endAt, until) // it may have been impossible to put the key back
	return !unable && !c.scene.did(l, l.endAt-2e9, until, OpEvict, OpTakeover)
}
