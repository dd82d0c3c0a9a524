package main

import (
	"context"
	"sync"

	tea "charm.land/bubbletea/v2"

	"github.com/hbctl/hbctl/watcher"
)

// topInbox keeps what happened until the screen takes it, all at once: of a rack with a thousand services each death is a
// batch, and to sort and draw all rows for each would be minutes.
type topInbox struct {
	arrived chan struct{} // holds one when there may be something

	mu      sync.Mutex
	batches []watcher.Batch
}

func newTopInbox() *topInbox { return &topInbox{arrived: make(chan struct{}, 1)} }

func (i *topInbox) put(b watcher.Batch) {
	i.mu.Lock()
	i.batches = append(i.batches, b)
	i.mu.Unlock()
	select {
	case i.arrived <- struct{}{}:
	default: // it is told already
	}
}

// next is the command by which the screen waits for what happens.
func (i *topInbox) next(ctx context.Context) tea.Cmd {
	return func() tea.Msg {
		select {
		case <-i.arrived:
		case <-ctx.Done():
			return nil
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		batches := i.batches
		i.batches = nil
		return batches
	}
}
