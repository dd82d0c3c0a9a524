package hbtest

import (
	"time"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// A Sighting is an event and when the reader had it, on this process's monotonic clock.
type Sighting struct {
	watcher.Event

	At       time.Time
	Revision int64
}

// Sightings gives the events of the kind about the name, in order; an empty name means all.
func (w *Witness) Sightings(kind watcher.Kind, name registry.Name) []Sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	var seen []Sighting
	for i, b := range w.batches {
		for _, e := range b.Events {
			if e.Kind == kind && (e.Name == name || name == registry.Name{}) {
				seen = append(seen, Sighting{e, w.times[i], b.Revision})
			}
		}
	}
	return seen
}

// ToldAt gives when each batch of the kind was received.
func (w *Witness) ToldAt(kind watcher.BatchKind) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	var at []time.Time
	for i, b := range w.batches {
		if b.Kind == kind {
			at = append(at, w.times[i])
		}
	}
	return at
}
