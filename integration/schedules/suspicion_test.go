package schedules_test

import (
	"time"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// cleared checks that a suspect was cleared by itself.
func (f *fold) cleared(e *watcher.Event) {
	was, is := f.ends[life{e.Name, e.PreviousIncarnation}], f.w.auditor.alive(e.Name, e.Incarnation)
	if was == nil || is.Rev != e.Incarnation || f.w.owner(was.alive.Holder) != f.w.owner(is.Holder) {
		f.problem("%s as %d was cleared by %d, which is another process", e.Name, e.PreviousIncarnation, e.Incarnation)
	}
}

// confirmed checks a down that nobody announced: its process did not live, or could not come back.
func (f *fold) confirmed(h *heard, e *watcher.Event, suspected bool) {
	end := f.ends[life{e.Name, e.Incarnation}]
	if end == nil || end.how == announced || end.how == replaced || e.Cause != nil && (*e.Cause == registry.CauseForced || *e.Cause == registry.CauseEvicted) {
		return
	}
	if !suspected && !e.Synthetic {
		f.problem("%s down as %d without a suspicion", e.Name, e.Incarnation)
	}
	f.w.tally.add("confirmed")
	holding := f.w.holding(e.Name, end.alive)
	if holding == nil || f.taken(h, e.Name, holding) || !f.w.couldReturn(holding, end, h.at) {
		return
	}
	f.problem("%s as %d was confirmed down at %v, and %s lived and was not cut off: it ended %s at %v",
		e.Name, e.Incarnation, h.at.Sub(f.w.begin), holding, end.how, end.at.Sub(f.w.begin))
}

// taken says that the same batch tells another process up: then the name is lost to the one that held it. The auditor may have seen
// that later than the reader, by a clock.
func (f *fold) taken(h *heard, name registry.Name, was *holding) bool {
	for i := range h.batch.Events {
		if e := &h.batch.Events[i]; e.Kind == watcher.Up && e.Name == name {
			return f.w.owner(f.w.auditor.alive(name, e.Incarnation).Holder) != was.process
		}
	}
	return false
}

// couldReturn says that a process lived on after its key went, had not been cut off for about its TTL before, nor at all since,
// and nobody had told it to end, evicted it, forced it down or taken its name.
func (w *world) couldReturn(h *holding, e *end, until time.Time) bool {
	p := h.process
	endedAt, _ := h.told.get()
	switch {
	case !p.crashed.IsZero() && p.crashed.Before(until):
		return false
	case !endedAt.IsZero() && endedAt.Before(until), w.operator.evicted[e.name] >= e.incarnation:
		return false
	case p.way.lasting(w.plan.TTL/2, e.at.Add(-w.plan.TTL), until), p.way.within(e.at, until):
		return false
	}
	for r := e.revision; r < int64(len(w.auditor.tables)) && !w.auditor.at[r].After(until); r++ {
		entry := w.auditor.tables[r].Entries[e.name]
		if entry != nil && (entry.Forced() || entry.Alive.Rev != 0 && w.owner(entry.Alive.Holder) != p) {
			return false
		}
	}
	return true
}
