package schedules_test

import (
	"fmt"
	"time"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// settled is how long after a trouble a reader may take for late what it hears, and before one, what it can't learn any more.
const (
	settled = 3 * time.Second
	ahead   = 2 * time.Second
)

// A fold is a reader's log, read by one who believes every word.
type fold struct {
	w        *world
	r        *reader
	ends     map[life]*end
	rows     map[registry.Name]registry.Service
	up       map[registry.Name]int64 // the incarnation that was told up
	suspects map[registry.Name]int64 // of it, if it is a suspect: the revision that deleted its key; 0: not known
	owed     map[life]bool           // told up, and nothing of its end
	last     int64
	resumed  *heard
}

// judgeReader checks all that a reader was told.
func (w *world) judgeReader(r *reader, ends map[life]*end) {
	f := &fold{
		w: w, r: r, ends: ends, rows: make(map[registry.Name]registry.Service), up: make(map[registry.Name]int64),
		suspects: make(map[registry.Name]int64), owed: make(map[life]bool),
	}
	for i := range r.log {
		if h := &r.log[i]; h.resumed != "" {
			f.resume(h)
		} else {
			f.take(h)
		}
	}
	for l := range f.owed {
		f.problem("%s was told up as %d, and never down", l.name, l.incarnation)
	}
	f.compare(int64(len(w.auditor.tables) - 1))
}

func (f *fold) problem(format string, args ...any) {
	f.w.problem("%s reader at %d: %s", f.r.kind, f.last, fmt.Sprintf(format, args...))
}

// resume takes over a beginning. Who kept nothing but a revision is told again what came after it, so it goes back to what there
// was then: of what it was told up, nothing may be gone by then.
func (f *fold) resume(h *heard) {
	f.resumed = h
	if h.resumed != fromRevision {
		return
	}
	then := f.w.auditor.rows(h.after)
	for name, incarnation := range f.up {
		row, listed := then[name]
		if incarnation <= h.after && (!listed || row.State != registry.Up || *row.Incarnation != incarnation) {
			f.problem("resumes after %d, where %s as %d is gone already, and was never told down", h.after, name, incarnation)
		}
	}
	f.rows, f.last = then, h.after
	clear(f.up)
	clear(f.suspects)
	for name, row := range then {
		if row.State == registry.Up {
			f.up[name] = *row.Incarnation
		}
	}
}

func (f *fold) take(h *heard) {
	b := &h.batch
	if b.Revision < f.last && b.Kind != watcher.Reset {
		f.problem("%s at %d", b.Kind, b.Revision)
	}
	again := b.Kind == watcher.Changes && b.Revision == f.last && f.r.kind != confirming
	f.last = b.Revision
	if again {
		f.problem("the revision was told twice")
	}
	switch b.Kind {
	case watcher.Snapshot:
		f.begin(b)
	case watcher.Changes:
		for i := range b.Events {
			f.event(h, &b.Events[i])
		}
	case watcher.Reset:
		f.forget(h)
		return
	case watcher.Stale, watcher.Live:
		f.w.tally.add("told " + string(b.Kind))
		return
	}
	for name, deleted := range f.suspects {
		if deleted != 0 && b.Revision >= deleted {
			f.problem("the position passes the suspect %s, whose key was deleted at %d", name, deleted)
		}
	}
	if len(f.suspects) == 0 {
		f.compare(b.Revision)
	}
}

// begin takes over a snapshot.
func (f *fold) begin(b *watcher.Batch) {
	if len(f.up) > 0 || len(f.rows) > 0 {
		f.problem("a snapshot out of the blue")
	}
	for _, s := range b.Services {
		f.rows[s.Name()] = s
		if s.State == registry.Up {
			f.up[s.Name()] = *s.Incarnation
			f.owed[life{s.Name(), *s.Incarnation}] = true
		}
	}
}

// forget takes over a reset, which only who resumes from a revision that is compacted may be told.
func (f *fold) forget(h *heard) {
	f.w.tally.add("reset")
	allowed := false
	for _, c := range f.w.auditor.compactAt {
		allowed = allowed || f.resumed != nil && f.resumed.resumed == fromRevision && f.resumed.after < c.revision && !c.at.After(h.at)
	}
	if !allowed {
		f.problem("reset: %v", h.batch.Reason)
	}
	clear(f.rows)
	clear(f.up)
	clear(f.suspects)
	clear(f.owed)
}

// compare holds the fold against the list.
func (f *fold) compare(revision int64) {
	listed := f.w.auditor.rows(revision)
	if len(listed) != len(f.rows) {
		f.problem("%d rows, the list has %d", len(f.rows), len(listed))
	}
	for name, row := range listed {
		got, want := essence(f.rows[name]), essence(row)
		if got != want {
			f.problem("the fold has %s\n\tthe list has %s", got, want)
		}
		if _, up := f.up[name]; up != (row.State == registry.Up) {
			f.problem("%s was told up: %v; the list has %s", name, up, row.State)
		}
	}
	f.w.tally.add("compared with a list")
}

// essence is what fold and list must agree on.
func essence(s registry.Service) string {
	return fmt.Sprint(s.Binary, s.Host, deref(s.Zone), s.Labels, s.Endpoints, deref(s.Status), s.State, deref(s.Incarnation))
}

func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// live says that the reader saw as it happened what happened then.
func (f *fold) live(at time.Time) bool {
	from, to := at.Add(-settled), at.Add(ahead)
	return !f.r.way.within(from, to) && !f.r.idle.within(from, to) && !f.w.etcd.within(from, to)
}
