package watcher

import (
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/registry"
)

// rules is what the pure part of a watch needs to know: how keys read, and what the reader asked for.
type rules struct {
	keys      registry.Keys
	selection selection
	confirm   bool // a key that goes unannounced makes a suspect, and no down yet

	scratch *scratch // of a session, whose rules are used by one goroutine; nil: one is made for each step
}

// A step is what one revision, or one comparison, means to a reader.
type step struct {
	events []Event // sorted by name
	patch  patch   // how the view moves when the reader has taken the events

	foreign []Event // warnings of keys that are none of ours, to be told last

	scratch *scratch
}

// step begins one.
func (r rules) step(revision int64) step {
	s := step{patch: patch{revision: revision}, scratch: r.scratch}
	if s.scratch == nil {
		s.scratch = &scratch{}
	}
	return s
}

// fold tells what all of the events of one revision mean to a reader who was told the view. The view is not changed. It does
// no I/O: an event whose cause only etcd knows names the lease to ask about. Live says that the revision was received as it
// happened.
func (r rules) fold(v *View, revision int64, events []*mvccpb.Event, live bool) step {
	s := r.step(revision)
	if len(events) == 1 { // nearly always
		if name, c := s.change(r, v, events[0], nil); c != nil {
			s.add(r, v, name, c, change{revision: revision, live: live})
		}
		s.events = append(s.events, s.foreign...)
		return s
	}
	after := make(map[registry.Name]*cell, len(events))
	for _, ev := range events {
		if name, c := s.change(r, v, ev, after); c != nil {
			after[name] = c
		}
	}
	for _, name := range sortedNames(after) {
		s.add(r, v, name, after[name], change{revision: revision, live: live})
	}
	s.events = append(s.events, s.foreign...)
	return s
}

// change takes over what became of one key, and gives what its name holds then, unless nothing of it is told. What other keys of the
// revision made of the name is in after.
func (s *step) change(r rules, v *View, ev *mvccpb.Event, after map[registry.Name]*cell) (registry.Name, *cell) {
	family, name, err := r.keys.Parse(ev.Kv.Key)
	if err != nil {
		if w, told := s.patch.stray(v, string(ev.Kv.Key), ev.Type == mvccpb.Event_PUT, err.Error()); told {
			s.foreign = append(s.foreign, w)
		}
		return registry.Name{}, nil
	}
	if !r.selection.covers(name) {
		return registry.Name{}, nil
	}
	c := after[name]
	if c == nil {
		c = &cell{}
		if known := v.cells[name]; known != nil {
			*c = *known
		}
	}
	if ev.Type == mvccpb.Event_PUT {
		c.put(family, ev.Kv)
	} else {
		c.delete(family)
	}
	return name, c
}

// confirm tells the downs of suspects whose window is over. What is there does not change.
func (r rules) confirmed(v *View, names []registry.Name) step {
	s := r.step(v.revision)
	for _, name := range slices.SortedFunc(slices.Values(names), registry.Name.Compare) {
		now := v.cells[name]
		if now == nil {
			now = &cell{}
		}
		s.add(r, v, name, now, change{revision: v.revision, confirmed: true})
	}
	return s
}

// add tells what became of one name.
func (s *step) add(r rules, v *View, name registry.Name, after *cell, how change) {
	known, b := v.cells[name], s.scratch
	known.decode(&b.known, &registry.Entry{Name: name}, b)
	after.decode(&b.seen, &b.known, b)
	c := &b.change
	*c = how
	c.known, c.seen = &b.known, &b.seen
	if c.seen.Alive.Rev != c.known.Alive.Rev {
		after.slim(c.seen.Alive.Holder)
	}
	c.suspicious = r.confirm
	c.believe(known, after, v.suspects[name])
	s.patch.cells = append(s.patch.cells, named{name, after})
	if opened, closed := c.suspects(v.revision, known); opened != nil || closed {
		if s.patch.suspects == nil {
			s.patch.suspects = make(map[registry.Name]*suspect)
		}
		s.patch.suspects[name] = opened
	}
	owed := v.owed[name]
	s.scratch.events = c.events(r.keys, s.scratch.events[:0])
	events, owes := r.selection.keep(c, s.scratch.events, owed)
	s.events = append(s.events, events...)
	if owes != owed {
		if s.patch.owed == nil {
			s.patch.owed = make(map[registry.Name]int64)
		}
		s.patch.owed[name] = owes
	}
}

// stray takes note of a key that is none of ours, and gives the warning if it is new.
func (p *patch) stray(v *View, key string, there bool, problem string) (Event, bool) {
	known := v.foreign[key]
	if known == there || (there && len(v.foreign)+len(p.foreign) >= maxForeign) {
		return Event{}, false
	}
	if p.foreign == nil {
		p.foreign = make(map[string]bool)
	}
	p.foreign[key] = there
	return Event{Kind: Warning, Warning: &registry.Warning{Key: key, Problem: problem}}, there
}

// sortedNames gives the names in the order of lists.
func sortedNames[T any](of map[registry.Name]T) []registry.Name {
	names := make([]registry.Name, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	slices.SortFunc(names, registry.Name.Compare)
	return names
}
