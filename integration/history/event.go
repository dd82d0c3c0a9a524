package history

import (
	"slices"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// event judges one event that a raw reader was told.
func (r *reader) event(rec *Record, e *Event) {
	if e.Kind == string(watcher.Warning) {
		return
	}
	tr, t := r.c.truth.tracks[e.Name], r.name(e.Name)
	r.touch(tr)
	m := &never
	if tr != nil {
		m = tr.at(rec.Batch.Revision)
	}
	switch watcher.Kind(e.Kind) {
	case watcher.Up:
		r.ups(rec, e, t, tr, m)
	case watcher.Down:
		r.downs(rec, e, t, tr, m)
	case watcher.Suspect, watcher.Cleared:
		r.fail(OneDown, rec, e.Name, "a %s without a confirmation window", e.Kind)
	case watcher.Forgotten:
		if t.state != down {
			r.fail(OneDown, rec, e.Name, "%s is forgotten, but incarnation %d was not told down", e.Name, t.incarnation)
		}
		t.state, t.listed = down, false
		return
	}
	if e.Row != nil {
		t.listed, t.row = true, *e.Row
	}
}

// ups judges that an incarnation was told up.
func (r *reader) ups(rec *Record, e *Event, t *told, tr *track, m *moment) {
	r.c.checked(NoGhosts)
	r.c.counts.Ups++
	if r.restarted || r.contact != forever {
		r.c.checked(NoFlap)
	}
	switch {
	case t.state == up && t.incarnation == e.Incarnation:
		r.fail(NoFlap, rec, e.Name, "incarnation %d of %s is told up, and was told up already", e.Incarnation, e.Name)
	case t.state == up:
		r.fail(OneDown, rec, e.Name, "incarnation %d of %s is told up, but %d was not told down", e.Incarnation, e.Name, t.incarnation)
	}
	switch {
	case tr.life(e.Incarnation) == nil:
		r.fail(NoGhosts, rec, e.Name, "incarnation %d of %s is told up, which never was", e.Incarnation, e.Name)
	case m.incarnation() != e.Incarnation:
		r.fail(NoGhosts, rec, e.Name, "incarnation %d of %s is told up, but at revision %d it is not", e.Incarnation, e.Name, rec.Batch.Revision)
	case e.Incarnation < t.incarnation:
		r.fail(NoGhosts, rec, e.Name, "incarnation %d of %s is told up after %d", e.Incarnation, e.Name, t.incarnation)
	}
	t.state, t.incarnation = up, e.Incarnation
	r.c.quality.ups(r, rec, e.Name)
}

// downs judges that an incarnation was told down.
func (r *reader) downs(rec *Record, e *Event, t *told, tr *track, m *moment) {
	r.c.checked(OneDown)
	r.c.counts.Downs++
	l := tr.life(e.Incarnation)
	switch {
	case t.state == down && t.incarnation == e.Incarnation:
		r.fail(OneDown, rec, e.Name, "incarnation %d of %s is told down twice", e.Incarnation, e.Name)
	case t.state == down || t.incarnation != e.Incarnation:
		r.fail(OneDown, rec, e.Name, "incarnation %d of %s is told down, but was not told up", e.Incarnation, e.Name)
	}
	r.c.checked(NoFalseDown)
	if m.incarnation() == e.Incarnation && l != nil {
		r.fail(NoFalseDown, rec, e.Name, "incarnation %d of %s is told down, but its key is there at revision %d", e.Incarnation, e.Name, rec.Batch.Revision)
	}
	if l != nil && !r.stillThere(m, l) {
		r.tellsEnd(rec, l)
	}
	r.cause(rec, e, l, m)
	if t.state, t.incarnation = down, max(t.incarnation, e.Incarnation); e.Row == nil {
		t.listed = m.listed
	}
}

// stillThere says that the key is there: an operator's word hides it.
func (r *reader) stillThere(m *moment, l *life) bool { return m.alive == l.incarnation }

// tellsEnd notes who was the first to be told of the end.
func (r *reader) tellsEnd(rec *Record, l *life) {
	if l.firstTold == nil || rec.At < l.firstTold.At {
		l.firstTold = rec
	}
	r.c.quality.told(r, rec, l)
}

var announcedCauses = []string{string(registry.CauseLeft), string(registry.CauseFailed), string(registry.CauseUnhealthy)}

// cause judges why an incarnation is said to be down.
func (r *reader) cause(rec *Record, e *Event, l *life, m *moment) {
	if l == nil {
		return
	}
	r.c.checked(RightCause)
	if e.DeletedRevision != 0 && e.DeletedRevision != l.endRevision {
		r.fail(RightCause, rec, e.Name, "incarnation %d of %s is said to be deleted by revision %d, but was by %d", e.Incarnation, e.Name, e.DeletedRevision, l.endRevision)
	}
	if want := r.causes(e, l, m); !slices.Contains(want, e.Cause) {
		r.fail(RightCause, rec, e.Name, "incarnation %d of %s is said to be down for %q, but that is wrong: want one of %q", e.Incarnation, e.Name, e.Cause, want)
	}
}

// causes gives those that are right. Nothing is right where it can't be known.
func (r *reader) causes(e *Event, l *life, m *moment) []string {
	const (
		expired, deleted, lost = string(registry.CauseExpired), string(registry.CauseDeleted), string(registry.CauseLost)
		evictedBy              = string(registry.CauseEvicted)
	)
	unseen := e.Synthetic || r.confirm > 0 && e.DeletedRevision == 0 // then it became a suspect by comparing
	switch {
	case m.alive == l.incarnation:
		return []string{string(registry.CauseForced)}
	case m.ended != nil && m.ended.Incarnation == l.incarnation && r.confirm > 0 && unseen:
		// With suspects open the position is older than the list that was compared with, so the record may be another one there.
		return []string{string(m.ended.Cause), lost, evictedBy, ""}
	case m.ended != nil && m.ended.Incarnation == l.incarnation:
		return []string{string(m.ended.Cause)}
	case l.how == announced && unseen: // the record was written again since
		return []string{l.cause, lost, evictedBy, ""}
	case l.how == announced:
		return []string{l.cause}
	case unseen:
		return []string{lost, evictedBy, string(registry.CauseReplaced), string(registry.CauseUnleased), string(registry.CauseForced), expired, deleted, ""}
	case l.how == replaced:
		return []string{string(registry.CauseReplaced)}
	case l.how == unleased:
		return []string{string(registry.CauseUnleased), evictedBy}
	case l.how == evicted:
		return []string{evictedBy}
	case r.confirm > 0 && l.next != nil && !l.sameProcess(l.next):
		return []string{expired, deleted, string(registry.CauseReplaced), ""}
	case l.why == died:
		return []string{expired, ""}
	}
	return []string{expired, deleted, ""}
}

// confirmed judges a batch that a reader with a confirmation window was told.
func (r *reader) confirmed(rec *Record) {
	b, before := rec.Batch, r.open
	switch {
	case r.virgin || r.reset:
		r.fail(MissesNothing, rec, "", "changes came before the snapshot")
	case b.Revision < r.position:
		r.fail(InOrder, rec, "", "revision %d came after %d", b.Revision, r.position)
	}
	for i := range b.Events {
		r.window(rec, &b.Events[i])
	}
	if b.Revision == r.position && before == 0 && r.open == 0 && len(r.doubted) == 0 {
		r.fail(InOrder, rec, "", "revision %d came twice, or in parts", b.Revision)
	}
	r.safe(rec)
	r.restarted = false
}

// bookmark judges that a reader with a window is told how far it is.
func (r *reader) bookmark(rec *Record) {
	switch {
	case r.virgin || r.reset:
		r.fail(MissesNothing, rec, "", "a bookmark came before the snapshot")
	case rec.Batch.Revision < r.position:
		r.fail(InOrder, rec, "", "revision %d came after %d", rec.Batch.Revision, r.position)
	}
	r.safe(rec)
}

// safe judges the position: it never passes an open suspect; and when there is none, what was told is what is true.
func (r *reader) safe(rec *Record) {
	revision := rec.Batch.Revision
	if r.open == 0 && !r.doubtful() {
		r.advance(revision)
		r.compare(rec, max(revision, r.position), r.skipped())
		return
	}
	r.position = max(r.position, revision)
	for _, name := range sortedKeys(r.names) {
		t := r.names[name]
		if t.state == suspect && !r.doubted[name] && t.deleted != 0 && revision >= t.deleted {
			r.fail(OneDown, rec, name, "the position %d passed %s, which is suspect since revision %d: neither cleared nor down", revision, name, t.deleted)
			t.state = down
			r.open--
		}
	}
}

// doubtful says that a suspect may be open, for all that is known since the restart.
func (r *reader) doubtful() bool {
	for name := range r.doubted {
		if slices.ContainsFunc(r.names[name].doubt, func(d told) bool { return d.state == suspect }) {
			return true
		}
	}
	return false
}
