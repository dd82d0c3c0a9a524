package hbtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// A Witness watches and remembers everything it is told, and when.
type Witness struct {
	Watcher *watcher.Watcher
	Stop    func() // ends the watch; called at the end of the test otherwise

	t       testing.TB
	mu      sync.Mutex
	batches []watcher.Batch
	times   []time.Time   // when each was received, on this process's monotonic clock
	news    chan struct{} // closed and replaced with each batch
	err     error
}

// Watch starts a witness and returns once its start is complete. It stops at the end of the test, if it was not stopped before.
func Watch(t testing.TB, client *clientv3.Client, from watcher.Position, configure ...func(*watcher.Config)) *Witness {
	t.Helper()
	var cfg watcher.Config
	for _, c := range configure {
		c(&cfg)
	}
	w, err := watcher.New(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	wit := &Witness{t: t, Watcher: w, news: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for batch, err := range w.Watch(ctx, from) {
			wit.add(batch, err)
		}
	}()
	wit.Stop = func() { cancel(); <-done }
	t.Cleanup(wit.Stop)
	wit.Await(10*time.Second, "synced", func(b watcher.Batch) bool { return b.Synced })
	return wit
}

func (w *Witness) add(batch watcher.Batch, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = err
	} else {
		w.batches = append(w.batches, batch)
		w.times = append(w.times, time.Now())
	}
	close(w.news)
	w.news = make(chan struct{})
}

// Await waits for a batch, from the first on, that the condition accepts.
func (w *Witness) Await(limit time.Duration, what string, accept func(watcher.Batch) bool) watcher.Batch {
	w.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for seen := 0; ; {
		w.mu.Lock()
		batches, news, err := w.batches[seen:], w.news, w.err
		w.mu.Unlock()
		for _, b := range batches {
			if seen++; accept(b) {
				return b
			}
		}
		if err != nil {
			w.t.Fatalf("waiting for %s: the watch ended: %v", what, err)
		}
		select {
		case <-news:
		case <-timer.C:
			w.t.Fatalf("not within %v: %s\ntold:\n%s", limit, what, w.Story())
		}
	}
}

// Event waits for an event of the kind about the name, after the revision.
func (w *Witness) Event(limit time.Duration, kind watcher.Kind, name registry.Name, after int64) (watcher.Event, watcher.Batch) {
	w.t.Helper()
	var found watcher.Event
	batch := w.Await(limit, fmt.Sprintf("%s %s after revision %d", kind, name, after), func(b watcher.Batch) bool {
		if b.Revision <= after {
			return false
		}
		for _, e := range b.Events {
			if e.Kind == kind && e.Name == name {
				found = e
				return true
			}
		}
		return false
	})
	return found, batch
}

// Down waits for the down of an incarnation and gives its cause.
func (w *Witness) Down(limit time.Duration, name registry.Name, incarnation int64) string {
	w.t.Helper()
	var found watcher.Event
	w.Await(limit, fmt.Sprintf("down of %s, incarnation %d", name, incarnation), func(b watcher.Batch) bool {
		for _, e := range b.Events {
			if e.Kind == watcher.Down && e.Name == name && e.Incarnation == incarnation {
				found = e
				return true
			}
		}
		return false
	})
	if found.Cause == nil {
		return "null"
	}
	return string(*found.Cause)
}

// Count counts events of the kind about the name; an empty name means all.
func (w *Witness) Count(kind watcher.Kind, name registry.Name) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, b := range w.batches {
		for _, e := range b.Events {
			if e.Kind == kind && (e.Name == name || name == registry.Name{}) {
				n++
			}
		}
	}
	return n
}

// Batches gives everything that was told so far.
func (w *Witness) Batches() []watcher.Batch {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.batches)
}

// Told counts batches of the kind.
func (w *Witness) Told(kind watcher.BatchKind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, b := range w.batches {
		if b.Kind == kind {
			n++
		}
	}
	return n
}

// Story gives what was told, a line each.
func (w *Witness) Story() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, batch := range w.batches {
		fmt.Fprintf(&b, "%s r%d %d services\n", batch.Kind, batch.Revision, len(batch.Services))
		for _, e := range batch.Events {
			cause := ""
			if e.Cause != nil {
				cause = string(*e.Cause)
			}
			fmt.Fprintf(&b, "  %s %s inc=%d prev=%d %s synthetic=%v\n", e.Kind, e.Name, e.Incarnation, e.PreviousIncarnation, cause, e.Synthetic)
		}
	}
	return b.String()
}

// Consistent checks what must hold of every history: up and down of a name alternate, every down names the incarnation that
// was told up, incarnations grow, revisions do not go back.
func (w *Witness) Consistent() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	up := map[registry.Name]int64{}
	newest := map[registry.Name]int64{}
	revision := int64(0)
	for _, b := range w.batches {
		if b.Kind == watcher.Reset {
			up, newest, revision = map[registry.Name]int64{}, map[registry.Name]int64{}, 0
			continue
		}
		if b.Revision < revision {
			w.t.Errorf("revision went from %d to %d", revision, b.Revision)
		}
		revision = b.Revision
		for i := range b.Services {
			if s := &b.Services[i]; s.State == registry.Up {
				up[s.Name()], newest[s.Name()] = *s.Incarnation, *s.Incarnation
			}
		}
		for _, e := range b.Events {
			switch e.Kind {
			case watcher.Up:
				if up[e.Name] != 0 || e.Incarnation < newest[e.Name] {
					w.t.Errorf("r%d: up of %s as %d while %d was up", b.Revision, e.Name, e.Incarnation, up[e.Name])
				}
				up[e.Name], newest[e.Name] = e.Incarnation, e.Incarnation
			case watcher.Down:
				if up[e.Name] != e.Incarnation {
					w.t.Errorf("r%d: down of %s as %d, but %d was up", b.Revision, e.Name, e.Incarnation, up[e.Name])
				}
				delete(up, e.Name)
			default:
			}
		}
	}
}
