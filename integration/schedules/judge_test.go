package schedules_test

import (
	"time"

	"github.com/hbctl/hbctl/watcher"
)

// judge holds what was told and done against what etcd had. Nothing runs any more.
func (w *world) judge() {
	for _, r := range w.readers {
		w.auditor.hear(r)
	}
	ends := w.ends()
	w.judgeHolders(ends)
	for _, r := range w.readers {
		w.judgeReader(r, ends)
	}
}

// hear corrects when a revision came about: a reader may have been told before the auditor was, right after etcd was away.
func (a *auditor) hear(r *reader) {
	for i := range r.log {
		h := &r.log[i]
		if h.batch.Kind == watcher.Changes && r.kind != confirming {
			a.atLatest(h.batch.Revision, h.at)
		}
		for _, e := range h.batch.Events {
			if e.Kind == watcher.Up || e.Kind == watcher.Cleared {
				a.atLatest(e.Incarnation, h.at)
			}
			a.atLatest(e.DeletedRevision, h.at)
		}
	}
}

// atLatest notes that the revision was there by then.
func (a *auditor) atLatest(revision int64, then time.Time) {
	if at, seen := a.at[revision]; seen && then.Before(at) {
		a.at[revision] = then
	}
}
