package watcher

import (
	"fmt"
	"slices"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// Move is how a View gets from one acknowledgement to the next: what is new, and no more, so that a copy of the view, in a file
// or elsewhere, is kept up to date at the same cost for ten instances and for a million. See Config.OnMove and View.Apply. It
// does not change, and its JSON form can be kept.
type Move struct {
	whole   bool            // the view begins anew: nothing that it held before counts
	part    *View           // all of it, or of what changed what there is now
	names   []registry.Name // what changed, sorted; if part has nothing of a name, it is gone
	foreign map[string]bool // keys that are none of ours; false: gone
}

// Revision gives the revision of the view after the move.
func (m Move) Revision() int64 {
	if m.part == nil {
		return 0
	}
	return m.part.revision
}

// View gives the whole view, if it begins anew with this move: with the first Snapshot, and after every Reset. Else nil.
func (m Move) View() *View {
	if !m.whole {
		return nil
	}
	return m.part
}

// Apply moves the view, in place. Moves must be applied one after the other, from the view that they began at. It returns
// ErrInvalid, and leaves the view as it is, if the view is empty or further on; an empty one takes a move with which the view
// begins.
func (v *View) Apply(m Move) error {
	switch {
	case m.part == nil:
		return fmt.Errorf("%w: the move is empty", ErrInvalid)
	case m.whole:
		*v = *m.part.Clone()
		return nil
	case v.cells == nil:
		return fmt.Errorf("%w: there is no view to be moved", ErrInvalid)
	case m.part.revision < v.revision:
		return fmt.Errorf("%w: the move is to revision %d, but the view is at %d", ErrInvalid, m.part.revision, v.revision)
	}
	v.revision = m.part.revision
	for _, name := range m.names {
		carry(name, m.part.cells, v.cells)
		carry(name, m.part.owed, v.owed)
		carry(name, m.part.suspects, v.suspects)
	}
	for key, there := range m.foreign {
		if there {
			v.foreign[key] = true
		} else {
			delete(v.foreign, key)
		}
	}
	return nil
}

// carry makes what one map says of a name what the other says.
func carry[T any](name registry.Name, from, to map[registry.Name]T) {
	if what, there := from[name]; there {
		to[name] = what
	} else {
		delete(to, name)
	}
}

// holdMoves is how long a move may be held back that means nothing to the reader: reports, and what happens outside of the
// selection. They come by thousands a second, and losing them costs nothing but hearing them again.
const holdMoves = time.Second

// moves collects how the acknowledged view moved, for Config.OnMove.
type moves struct {
	tell func(Move) error // nil: nobody wants to know

	told     int64     // the revision that was told last
	heldFrom time.Time // when the first of those below came that are held back; zero: none are
	whole    bool
	names    []registry.Name
	foreign  map[string]bool
}

// add notes an item that was acknowledged, and says whether it is time to tell.
func (m *moves) add(it *item, now time.Time) bool {
	switch {
	case it.view != nil:
		m.whole, m.names, m.foreign = true, nil, nil
	case it.patch != nil:
		for _, c := range it.patch.cells {
			m.names = append(m.names, c.name)
		}
		for key, there := range it.patch.foreign {
			if m.foreign == nil {
				m.foreign = make(map[string]bool)
			}
			m.foreign[key] = there
		}
	default:
		return false // a word about the stream
	}
	if m.heldFrom.IsZero() {
		m.heldFrom = now
	}
	return m.whole || !it.silent || now.Sub(m.heldFrom) >= holdMoves
}

// take makes a move of what was noted, to the view as it is now; false if there is nothing to tell.
func (m *moves) take(v *View) (Move, bool) {
	if m.heldFrom.IsZero() {
		return Move{}, false
	}
	move := Move{whole: m.whole, foreign: m.foreign}
	if m.whole {
		move.part, move.foreign = v.Clone(), nil
	} else {
		move.names = distinct(m.names)
		move.part = v.only(move.names)
	}
	same := !m.whole && len(move.names)+len(move.foreign) == 0 && v.revision == m.told
	*m = moves{tell: m.tell, told: v.revision}
	return move, !same
}

// distinct sorts names and drops repeated ones.
func distinct(names []registry.Name) []registry.Name {
	slices.SortFunc(names, registry.Name.Compare)
	return slices.Compact(names)
}

// only gives the part of a view that is about these names.
func (v *View) only(names []registry.Name) *View {
	part := &View{
		cluster: v.cluster, prefix: v.prefix, selection: v.selection, revision: v.revision,
		cells: make(map[registry.Name]*cell, len(names)), owed: make(map[registry.Name]int64), suspects: make(map[registry.Name]*suspect),
	}
	for _, name := range names {
		carry(name, v.cells, part.cells)
		carry(name, v.owed, part.owed)
		carry(name, v.suspects, part.suspects)
	}
	return part
}

// moved tells who wants to know how the view moved. It runs on the reader's goroutine, without the lock: View may be called.
func (w *Watcher) moved(m *moves, it *item) error {
	if m.tell == nil || !m.add(it, time.Now()) {
		return nil
	}
	return w.tellMoves(m)
}

// tellMoves tells what was held back until now.
func (w *Watcher) tellMoves(m *moves) error {
	if m.tell == nil {
		return nil
	}
	w.mu.Lock()
	move, isNew := m.take(w.view)
	w.mu.Unlock()
	if !isNew {
		return nil
	}
	return m.tell(move)
}
