package main

import (
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// rows is what a watch has told so far, by name.
type rows map[registry.Name]registry.Service

// take takes a batch over.
func (r rows) take(b *watcher.Batch) {
	if b.Kind == watcher.Snapshot || b.Kind == watcher.Reset {
		clear(r)
	}
	for _, s := range b.Services {
		r[s.Name()] = s
	}
	for i := range b.Events {
		r.event(&b.Events[i])
	}
}

// event takes one event over.
func (r rows) event(e *watcher.Event) {
	switch e.Kind {
	case watcher.Warning:
	case watcher.Forgotten:
		delete(r, e.Name)
	default:
		r[e.Name] = e.Service
	}
}
