package schedules_test

import (
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// event takes over one event, if it may come here.
func (f *fold) event(h *heard, e *watcher.Event) {
	incarnation, up := f.up[e.Name]
	_, suspected := f.suspects[e.Name]
	if e.Synthetic {
		f.w.tally.add("synthetic")
	}
	switch e.Kind {
	case watcher.Warning:
		return
	case watcher.Up:
		if up {
			f.problem("%s up as %d while %d is up", e.Name, e.Incarnation, incarnation)
		}
		f.comes(e)
	case watcher.Down:
		if !up || incarnation != e.Incarnation {
			f.problem("%s down as %d while %d is up", e.Name, e.Incarnation, incarnation)
		}
		f.goes(e.Name, e.Incarnation)
		f.cause(h, e)
		if f.r.kind == confirming {
			f.confirmed(h, e, suspected)
		}
	case watcher.Suspect:
		if f.r.kind != confirming || !up || suspected || incarnation != e.Incarnation {
			f.problem("%s suspect as %d while %d is up (suspect: %v)", e.Name, e.Incarnation, incarnation, suspected)
		}
		f.w.tally.add("suspect")
		f.suspects[e.Name] = e.DeletedRevision
	case watcher.Cleared:
		if f.r.kind != confirming || !up || incarnation != e.PreviousIncarnation {
			f.problem("%s cleared of %d while %d is up", e.Name, e.PreviousIncarnation, incarnation)
		}
		f.w.tally.add("cleared")
		f.cleared(e)
		f.goes(e.Name, e.PreviousIncarnation)
		f.comes(e)
	case watcher.Forgotten:
		if up {
			f.problem("%s forgotten while %d is up", e.Name, incarnation)
		}
		delete(f.rows, e.Name)
		return
	}
	f.rows[e.Name] = e.Service
}

func (f *fold) comes(e *watcher.Event) {
	f.up[e.Name] = e.Incarnation
	f.owed[life{e.Name, e.Incarnation}] = true
}

// goes takes over that an incarnation is told to have ended. It may be told again only to who resumed from a revision before it.
func (f *fold) goes(name registry.Name, incarnation int64) {
	delete(f.up, name)
	delete(f.suspects, name)
	delete(f.owed, life{name, incarnation})
}

// cause checks why an incarnation is told to be down.
func (f *fold) cause(h *heard, e *watcher.Event) {
	l := life{e.Name, e.Incarnation}
	cause := registry.Cause("")
	if e.Cause != nil {
		cause = *e.Cause
	}
	f.w.tally.add("down " + string(cause))
	if cause == registry.CauseForced {
		if !f.forcedBy(e.Name, h.batch.Revision) {
			f.problem("%s down as %d, forced, and nobody forced it", e.Name, e.Incarnation)
		}
		return
	}
	end := f.ends[l]
	if end == nil {
		f.problem("%s down as %d (%q), which did not end", e.Name, e.Incarnation, cause)
		return
	}
	if !f.mayBe(cause, end, e) {
		f.problem("%s down as %d with the cause %q; it ended %s %s at %d (live: %v, synthetic: %v)",
			e.Name, e.Incarnation, cause, end.how, end.announced, end.revision, f.live(end.at), e.Synthetic)
	}
	if last := f.w.trusted[l]; end.how == expired && !last.Before(h.at) {
		f.problem("%s was told down as %d while it might act", e.Name, e.Incarnation)
	}
}

// mayBe says that the cause is right: what was announced is known to everybody who sees the revision, why a key went else only
// to who saw it as it happened.
func (f *fold) mayBe(cause registry.Cause, end *end, e *watcher.Event) bool {
	known := !e.Synthetic && f.live(end.at)
	switch cause {
	case registry.CauseEvicted:
		return f.w.operator.evicted[end.name] >= end.incarnation
	case registry.CauseLost:
		return e.Synthetic || f.r.kind == confirming && !known
	case "":
		return !known && end.how != announced && end.how != replaced
	}
	switch end.how {
	case announced:
		return cause == end.announced
	case replaced:
		return cause == registry.CauseReplaced
	case expired:
		return cause == registry.CauseExpired
	case operated:
		return cause == registry.CauseDeleted || cause == registry.CauseExpired
	}
	return false
}

// forcedBy says that the name was forced down at or before the revision: the position of a reader may be behind what it is told.
func (f *fold) forcedBy(name registry.Name, revision int64) bool {
	a := f.w.auditor
	if f.r.kind == confirming {
		revision = int64(len(a.tables) - 1)
	}
	for r := revision; r >= 1; r-- {
		if e := a.tables[r].Entries[name]; e != nil && e.Forced() {
			return true
		}
		if f.r.kind != confirming {
			return false
		}
	}
	return false
}
