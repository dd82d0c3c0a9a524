package history

import (
	"slices"

	"github.com/hbctl/hbctl/watcher"
)

// handle judges a batch.
func (r *reader) handle(rec *Record) {
	b := rec.Batch
	r.c.checked(InOrder)
	r.silence(rec.At, rec)
	switch watcher.BatchKind(b.Kind) {
	case watcher.Stale:
		if r.stale {
			r.fail(StaleTold, rec, "", "told stale, and was told so already")
		}
		r.stale = true
	case watcher.Live:
		if !r.stale {
			r.fail(StaleTold, rec, "", "told live, but was never told stale")
		}
		r.stale, r.contact = false, rec.At
	case watcher.Reset:
		r.resets(rec)
	case watcher.Snapshot:
		r.snapshot(rec)
	case watcher.Bookmark:
		if r.confirm > 0 {
			r.bookmark(rec)
		} else if r.follows(rec, true) {
			r.advance(b.Revision)
			r.compare(rec, r.position, r.skipped())
		}
	case watcher.Changes:
		if r.confirm > 0 {
			r.confirmed(rec)
		} else {
			r.changes(rec)
		}
	}
	if b.Synced {
		r.synced, r.contact = true, rec.At
	}
	r.handed, r.waiting = rec, forever
	if !r.acks {
		r.waiting = rec.At
	}
}

// skipped says which promise is broken when something was not told: right after a restart it is another one.
func (r *reader) skipped() Invariant {
	if r.restarted {
		return MissesNothing
	}
	return AddsUp
}

// follows says whether the batch may come now, by its revision.
func (r *reader) follows(rec *Record, again bool) bool {
	revision := rec.Batch.Revision
	switch {
	case r.virgin:
		r.fail(MissesNothing, rec, "", "a %s came before the snapshot", rec.Batch.Kind)
	case r.reset:
		r.fail(MissesNothing, rec, "", "a %s came after a reset, before the snapshot", rec.Batch.Kind)
	case revision < r.position && (!r.guess || revision <= r.acked):
		r.fail(InOrder, rec, "", "revision %d came after %d", revision, r.position)
	case revision == r.position && !again && !r.guess:
		r.fail(InOrder, rec, "", "revision %d came twice, or in parts", revision)
	default:
		return true
	}
	return false
}

// resets judges that history was lost: from a view it never is.
func (r *reader) resets(rec *Record) {
	r.c.checked(MissesNothing)
	_, compacted := r.c.scene.compactions.overlaps(0, rec.At)
	if !compacted && !r.c.scene.rewound {
		r.fail(MissesNothing, rec, "", "a reset, but nothing was compacted")
	}
	r.reset, r.guess, r.synced, r.contact = true, false, false, forever
}

// snapshot judges a beginning: it is the list at its revision.
func (r *reader) snapshot(rec *Record) {
	if !r.virgin && !r.reset {
		r.fail(MissesNothing, rec, "", "a snapshot without a reset")
	}
	if revision := rec.Batch.Revision; revision < r.position && !r.c.scene.rewound {
		r.fail(InOrder, rec, "", "a snapshot of revision %d came after %d", revision, r.position)
	}
	r.c.rows(rec, rec.Batch.Revision, rec.Batch.Rows, r.subscriber)
	r.put(rec.Batch.Revision)
	r.virgin, r.reset, r.restarted, r.acked = false, false, false, 0
}

// changes judges what one revision did, or what a comparison found, as it was told to a raw reader.
func (r *reader) changes(rec *Record) {
	b := rec.Batch
	if r.guess {
		r.infer(b)
	}
	r.positions = append(r.positions, r.position)
	if len(r.positions) > maxFlight {
		r.positions = r.positions[1:]
	}
	if !r.follows(rec, false) {
		return
	}
	r.guess = false
	if synthetic(b) {
		r.advance(b.Revision)
	} else {
		r.whole(rec)
		r.c.agree(rec)
	}
	for i := range b.Events {
		r.event(rec, &b.Events[i])
	}
	r.advance(b.Revision)
	r.compare(rec, b.Revision, r.skipped())
	r.restarted = false
}

// maxFlight bounds how many batches may be in flight.
const maxFlight = 64

// infer finds where a reader went on that does not say so: before the first batch that comes again, or where a difference
// begins.
func (r *reader) infer(b *Batch) {
	acked := r.acked
	switch {
	case !synthetic(b) && b.Revision <= r.position && b.Revision > acked:
		r.put(b.Revision - 1)
	case synthetic(b) && !r.fits(b):
		was := r.position
		for _, p := range slices.Backward(slices.Clone(r.positions)) {
			if r.put(p); r.fits(b) {
				return
			}
		}
		r.put(was)
	}
}

// fits says that all ends are of what was told up, and all ups of what was not.
func (r *reader) fits(b *Batch) bool {
	is := make(map[string]int64)
	for i := range b.Events {
		e := &b.Events[i]
		now, changed := is[e.Name]
		if !changed {
			now = incarnationOf(r.names[e.Name])
		}
		switch watcher.Kind(e.Kind) {
		case watcher.Down:
			if now != e.Incarnation {
				return false
			}
			is[e.Name] = 0
		case watcher.Up:
			if now != 0 {
				return false
			}
			is[e.Name] = e.Incarnation
		}
	}
	return true
}

// whole sees that the batch is the next revision that meant anything, and that the auditor has it too.
func (r *reader) whole(rec *Record) {
	revision, t := rec.Batch.Revision, r.c.truth
	own := t.next(revision - 1)
	if own == len(t.steps) || t.steps[own].revision != revision {
		if len(t.steps) > 0 {
			r.fail(InOrder, rec, "", "revision %d did nothing under the prefix", revision)
		}
		return
	}
	if next := t.nextVisible[t.next(r.position)]; next < own && !r.excusedGap(rec, own-next) {
		missed := t.steps[next]
		r.fail(MissesNothing, rec, missed.changed[0].name, "revision %d of %s was skipped", missed.revision, missed.changed[0].name)
	}
	r.advance(revision - 1)
	r.compare(rec, revision-1, r.skipped())
}

// excusedGap says that what was skipped may have been compared, with nothing to tell: it undid itself.
func (r *reader) excusedGap(rec *Record, revisions int) bool {
	since := int64(0)
	if r.handed != nil {
		since = r.handed.At
	}
	_, compacted := r.c.scene.compactions.overlaps(since-10e9, rec.At)
	return compacted || revisions > 10_000
}

// synthetic says that the batch was found by comparing.
func synthetic(b *Batch) bool {
	for i := range b.Events {
		if b.Events[i].Synthetic {
			return true
		}
	}
	return false
}
