package schedules_test

// judge holds what was told and done against what etcd had. Nothing runs any more.
func (w *world) judge() {
	ends := w.ends()
	w.judgeHolders(ends)
	for _, r := range w.readers {
		w.judgeReader(r, ends)
	}
}
