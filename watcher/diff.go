package watcher

// diff tells what is different in the listing from what the reader was told, after history was lost. It takes the listing's
// cells over.
func (r rules) diff(v *View, l *listing) step {
	s := step{patch: patch{revision: l.revision}}
	for name, before := range v.cells {
		if after := l.cells[name]; after == nil {
			l.cells[name] = &cell{}
		} else if before.same(after) {
			delete(l.cells, name)
		}
	}
	for _, name := range sortedNames(l.cells) {
		s.add(r, v, name, l.cells[name], &change{revision: l.revision, synthetic: true})
	}
	there := make(map[string]bool, len(l.foreign))
	for _, w := range l.foreign {
		there[w.Key] = true
		if e, told := s.patch.stray(v, w.Key, true, w.Problem); told {
			e.Synthetic = true
			s.events = append(s.events, e)
		}
	}
	for key := range v.foreign {
		if !there[key] {
			s.patch.stray(v, key, false, "")
		}
	}
	return s
}
