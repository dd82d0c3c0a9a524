package schedules_test

import "github.com/hbctl/hbctl/watcher"

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
	for _, h := range r.log {
		if at, seen := a.at[h.batch.Revision]; seen && h.batch.Kind == watcher.Changes && h.at.Before(at) && r.kind != confirming {
			a.at[h.batch.Revision] = h.at
		}
	}
}
