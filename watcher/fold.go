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
}

// A step is what one revision, or one comparison, means to a reader.
type step struct {
	events []Event // sorted by name
	patch  patch   // how the view moves when the reader has taken the events
}

// fold tells what all of the events of one revision mean to a reader who was told the view. The view is not changed. It does
// no I/O: an event whose cause only etcd knows names the lease to ask about. Live says that the revision was received as it
// happened.
func (r rules) fold(v *View, revision int64, events []*mvccpb.Event, live bool) step {
	s := step{patch: patch{revision: revision}}
	after := make(map[registry.Name]*cell, len(events))
	var foreign []Event
	for _, ev := range events {
		family, name, err := r.keys.Parse(ev.Kv.Key)
		if err != nil {
			if w, told := s.patch.stray(v, string(ev.Kv.Key), ev.Type == mvccpb.Event_PUT, err.Error()); told {
				foreign = append(foreign, w)
			}
			continue
		}
		if !r.selection.covers(name) {
			continue
		}
		c := after[name]
		if c == nil {
			c = &cell{}
			if known := v.cells[name]; known != nil {
				*c = *known
			}
			after[name] = c
		}
		if ev.Type == mvccpb.Event_PUT {
			c.put(family, ev.Kv)
		} else {
			c.delete(family)
		}
	}
	for _, name := range sortedNames(after) {
		s.add(r, v, name, after[name], &change{revision: revision, live: live})
	}
	s.events = append(s.events, foreign...)
	return s
}

// add tells what became of one name.
func (s *step) add(r rules, v *View, name registry.Name, after *cell, c *change) {
	c.before = v.cells[name].entry(name)
	c.after = after.decode(c.before)
	if c.after.Alive.Rev != c.before.Alive.Rev {
		after.slim(c.after)
	}
	s.patch.cells = append(s.patch.cells, named{name, after})
	owed := v.owed[name]
	events, owes := r.selection.keep(c, c.events(r.keys), owed)
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
func sortedNames(cells map[registry.Name]*cell) []registry.Name {
	names := make([]registry.Name, 0, len(cells))
	for name := range cells {
		names = append(names, name)
	}
	slices.SortFunc(names, registry.Name.Compare)
	return names
}
