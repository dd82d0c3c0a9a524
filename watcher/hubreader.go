package watcher

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// errBehind is told with a Reset to a reader of whom is not known any more what it was told.
var errBehind = errors.New("the reader is too far behind")

const (
	// hubPiece is how many entries a reader takes at once.
	hubPiece = 64
	// hubStartAge is after how many entries readers begin from a new Snapshot.
	hubStartAge = 1024
)

// A hubReader is one Watch. Its fields are guarded by the Hub's lock.
type hubReader struct {
	hub   *Hub
	begun bool     // it has a Snapshot, or gets one now
	next  int64    // number of the entry that it takes next; without meaning in debt
	debt  *hubDebt // nil: all that it did not take is in the log
	stale bool     // it was told that contact is lost
}

// Watch tells what is there and what happens, as Watcher.Watch does from Now, until the reader breaks out of the loop or ctx ends.
// It may be called any number of times, before Run too. When Run ends the sequence ends with its error, or with ErrHubEnded. What
// the batches hold is shared by all readers, and must not be changed.
func (h *Hub) Watch(ctx context.Context) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		r := &hubReader{hub: h}
		h.mu.Lock()
		h.readers[r] = struct{}{}
		h.mu.Unlock()
		defer r.leave()
		for {
			batches, more, err := r.take()
			for _, b := range batches {
				if ctx.Err() != nil || !yield(b, nil) {
					return
				}
			}
			switch {
			case len(batches) > 0:
			case err != nil:
				yield(Batch{}, err)
				return
			case more != nil:
				select {
				case <-more:
				case <-ctx.Done():
					return
				}
			}
		}
	}
}

func (r *hubReader) leave() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	r.hub.settle(r)
	delete(r.hub.readers, r)
}

// take gives what comes next, or what to wait for if there is nothing.
func (r *hubReader) take() (batches []Batch, more <-chan struct{}, err error) {
	h := r.hub
	h.mu.Lock()
	if h.view != nil && (!r.begun || r.debt != nil && (r.debt.lost || h.anew())) {
		h.mu.Unlock()
		return r.begin(), nil, nil
	}
	if r.debt != nil {
		return r.catchUp(), nil, nil // it unlocks
	}
	defer h.mu.Unlock()
	if r.begun && r.next < h.next() {
		from := int(r.next - h.first)
		some := h.log[from:min(from+hubPiece, len(h.log))]
		r.next += int64(len(some))
		for i := range some {
			if !some[i].silent {
				batches = append(batches, r.tell(some[i].batch))
			}
		}
		if len(batches) > 0 {
			return batches, nil, nil
		}
		return nil, nil, nil // there may be more
	}
	if !r.begun { // of contact it is told while nothing else is known
		if b := r.contact(h.stale); b != nil {
			return b, nil, nil
		}
	}
	return nil, h.changed, h.end
}

// tell notes what the reader is told of contact.
func (r *hubReader) tell(b Batch) Batch {
	switch b.Kind {
	case Stale:
		r.stale = true
	case Live:
		r.stale = false
	}
	return b
}

// contact brings the reader up to date about contact, given what is told of it; nil: it is.
func (r *hubReader) contact(stale *Batch) []Batch {
	switch {
	case stale != nil && !r.stale:
		return []Batch{r.tell(*stale)}
	case stale == nil && r.stale:
		return []Batch{r.tell(Batch{Kind: Live, ObservedAt: time.Now()})}
	}
	return nil
}

// begin gives a Snapshot to a reader that has nothing, or has to forget what it had.
func (r *hubReader) begin() []Batch {
	h := r.hub
	h.building.Lock()
	defer h.building.Unlock()
	h.mu.Lock()
	var batches []Batch
	if r.begun {
		batches = append(batches, Batch{Kind: Reset, Cluster: h.view.cluster, ObservedAt: time.Now(), Reason: errBehind})
	}
	h.settle(r)
	r.begun = true
	start := h.start
	old := start.next < h.first || h.next()-start.next > hubStartAge
	var view *View
	if old {
		start = hubStart{next: h.next(), stale: h.stale}
		view = h.view.Clone()
	}
	r.next = start.next
	lost := r.contact(start.stale)
	h.mu.Unlock()
	if old {
		start.batch = Batch{Kind: Snapshot, Cluster: view.cluster, Revision: view.revision, ObservedAt: time.Now(), Synced: true}
		start.batch.Services, start.batch.Warnings = h.w.rules.rows(view)
		h.mu.Lock()
		h.start = start
		h.mu.Unlock()
	}
	if start.stale == nil {
		return append(append(batches, lost...), start.batch) // live comes before what happened
	}
	return append(append(batches, start.batch), lost...)
}

// catchUp tells a reader who is in debt the difference of what it was told and what is there. The caller holds the lock, which is
// given up.
func (r *hubReader) catchUp() []Batch {
	h := r.hub
	d := hubDebt{cells: maps.Clone(r.debt.cells), foreign: maps.Clone(r.debt.foreign)}
	for i := range h.log {
		d.add(&h.log[i])
	}
	after := make(map[registry.Name]*cell, len(d.cells))
	for name, was := range d.cells {
		c := new(cell) // a copy, for it is made smaller
		if now := h.view.cells[name]; now != nil {
			*c = *now
		}
		after[name] = c
		if was == nil {
			delete(d.cells, name)
		}
	}
	before := &View{cells: d.cells, foreign: d.foreign}
	foreign := make(map[string]bool, len(d.foreign))
	for key := range d.foreign {
		foreign[key] = h.view.foreign[key]
	}
	batch := Batch{Kind: Changes, Cluster: h.view.cluster, Revision: h.view.revision, ObservedAt: time.Now()}
	h.settle(r)
	r.next = h.next()
	told := r.contact(h.stale)
	h.mu.Unlock()

	batch.Events = h.w.rules.difference(before, after, foreign, batch.Revision)
	switch {
	case len(batch.Events) == 0:
		return told
	case r.stale:
		return append([]Batch{batch}, told...)
	}
	return append(told, batch)
}

// difference tells what became of some names and foreign keys.
func (r rules) difference(before *View, after map[registry.Name]*cell, foreign map[string]bool, revision int64) []Event {
	s := r.step(revision)
	for _, name := range sortedNames(after) {
		known := before.cells[name]
		if known == nil {
			known = &cell{}
		}
		if !known.same(after[name]) {
			s.add(r, before, name, after[name], change{revision: revision, synthetic: true})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(foreign)) {
		if !foreign[key] || before.foreign[key] {
			continue
		}
		if _, _, err := r.keys.Parse([]byte(key)); err != nil {
			s.events = append(s.events, Event{Kind: Warning, Synthetic: true, Warning: &registry.Warning{Key: key, Problem: err.Error()}})
		}
	}
	return s.events
}
