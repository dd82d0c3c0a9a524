package integration_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// witness watches and remembers everything it is told.
type witness struct {
	t       testing.TB
	watcher *watcher.Watcher
	stop    func()

	mu      sync.Mutex
	batches []watcher.Batch
	news    chan struct{} // closed and replaced with each batch
	err     error
}

// watch starts a witness and returns once its start is complete. It stops at the end of the test, if it was not stopped before.
func watch(t testing.TB, client *clientv3.Client, from watcher.Position) *witness {
	t.Helper()
	w, err := watcher.New(client, watcher.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	wit := &witness{t: t, watcher: w, news: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for batch, err := range w.Watch(ctx, from) {
			wit.add(batch, err)
		}
	}()
	wit.stop = func() { cancel(); <-done }
	t.Cleanup(wit.stop)
	wit.await(10*time.Second, "synced", func(b watcher.Batch) bool { return b.Synced })
	return wit
}

func (w *witness) add(batch watcher.Batch, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.err = err
	} else {
		w.batches = append(w.batches, batch)
	}
	close(w.news)
	w.news = make(chan struct{})
}

// await waits for a batch, from the first on, that the condition accepts.
func (w *witness) await(limit time.Duration, what string, accept func(watcher.Batch) bool) watcher.Batch {
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
			w.t.Fatalf("not within %v: %s\ntold:\n%s", limit, what, w.story())
		}
	}
}

// event waits for an event of the kind about the name, after the revision.
func (w *witness) event(limit time.Duration, kind watcher.Kind, name registry.Name, after int64) (watcher.Event, watcher.Batch) {
	w.t.Helper()
	var found watcher.Event
	batch := w.await(limit, fmt.Sprintf("%s %s after revision %d", kind, name, after), func(b watcher.Batch) bool {
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

// down waits for the down of an incarnation and gives its cause.
func (w *witness) down(limit time.Duration, name registry.Name, incarnation int64) string {
	w.t.Helper()
	var found watcher.Event
	w.await(limit, fmt.Sprintf("down of %s, incarnation %d", name, incarnation), func(b watcher.Batch) bool {
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

// count counts events of the kind about the name; an empty name means all.
func (w *witness) count(kind watcher.Kind, name registry.Name) int {
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

// told counts batches of the kind.
func (w *witness) told(kind watcher.BatchKind) int {
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

// story gives what was told, a line each.
func (w *witness) story() string {
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

// consistent checks what must hold of every history: up and down of a name alternate, every down names the incarnation that
// was told up, incarnations grow, revisions do not go back.
func (w *witness) consistent() {
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
