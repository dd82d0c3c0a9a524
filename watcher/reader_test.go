package watcher

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

// A reader runs a watch in a goroutine of its own and hands its batches over one by one.
type reader struct {
	t       *testing.T
	w       *Watcher
	cancel  context.CancelFunc
	batches chan Batch
	more    chan struct{}
	held    bool // the last batch is not acknowledged
	ended   chan struct{}
	err     error // after ended
}

func watch(t *testing.T, client *clientv3.Client, from Position, cfg ...Config) *reader {
	t.Helper()
	w, err := New(client, append(cfg, Config{})[0])
	if err != nil {
		t.Fatal(err)
	}
	return w.read(t, from)
}

func (w *Watcher) read(t *testing.T, from Position) *reader {
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{t: t, w: w, cancel: cancel, batches: make(chan Batch), more: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for batch, err := range w.Watch(ctx, from) {
			if err != nil {
				r.err = err
				return
			}
			select {
			case r.batches <- batch:
			case <-ctx.Done():
				return
			}
			select {
			case <-r.more:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(r.stop)
	return r
}

// stop ends the watch and waits for it.
func (r *reader) stop() {
	r.cancel()
	<-r.ended
}

// isOver says that the watch has ended.
func (r *reader) isOver() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// acknowledge lets the loop ask for more.
func (r *reader) acknowledge() {
	if r.held {
		r.held = false
		r.more <- struct{}{}
	}
}

// next acknowledges the last batch and gives the next.
func (r *reader) next() Batch {
	r.t.Helper()
	r.acknowledge()
	select {
	case b := <-r.batches:
		r.held = true
		return b
	case <-r.ended:
		r.t.Fatalf("the watch ended: %v", r.err)
	case <-time.After(time.Minute):
		r.t.Fatal("nothing came for a minute")
	}
	return Batch{}
}

// want gives the next batch, which must be of the kind.
func (r *reader) want(kind BatchKind) Batch {
	r.t.Helper()
	b := r.next()
	if b.Kind != kind {
		r.t.Fatalf("got %s at %d %v (%v), want %s", b.Kind, b.Revision, tell(b.Events), b.Reason, kind)
	}
	return b
}

// events gives what the next batch tells.
func (r *reader) events() []string {
	r.t.Helper()
	return tell(r.want(Changes).Events)
}

// quiet says that nothing comes for a while.
func (r *reader) quiet(d time.Duration) {
	r.t.Helper()
	r.acknowledge()
	select {
	case b := <-r.batches:
		r.t.Fatalf("got %s at %d %v (%v), want nothing for %v", b.Kind, b.Revision, tell(b.Events), b.Reason, d)
	case <-r.ended:
		r.t.Fatalf("the watch ended: %v", r.err)
	case <-time.After(d):
	}
}

// fails waits for the end and gives its error.
func (r *reader) fails() error {
	r.t.Helper()
	select {
	case b := <-r.batches:
		r.t.Fatalf("got %s, want an error", b.Kind)
	case <-r.ended:
	case <-time.After(time.Minute):
		r.t.Fatal("no error for a minute")
	}
	return r.err
}

// A writer writes keys as holders and operators do.
type writer struct {
	t *testing.T
	c *clientv3.Client
}

func (w writer) grant(ttl int64) int64 {
	w.t.Helper()
	resp, err := w.c.Grant(w.t.Context(), ttl)
	if err != nil {
		w.t.Fatal(err)
	}
	return int64(resp.ID)
}

// txn writes in one transaction and gives its revision.
func (w writer) txn(writes ...write) int64 {
	w.t.Helper()
	var ops []clientv3.Op
	for _, x := range writes {
		if x.value == nil {
			ops = append(ops, clientv3.OpDelete(x.key))
		} else {
			ops = append(ops, clientv3.OpPut(x.key, string(x.value), clientv3.WithLease(clientv3.LeaseID(x.lease))))
		}
	}
	resp, err := w.c.Txn(w.t.Context()).Then(ops...).Commit()
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.Header.Revision
}

func (w writer) compact(revision int64) {
	w.t.Helper()
	if _, err := w.c.Compact(w.t.Context(), revision); err != nil {
		w.t.Fatal(err)
	}
}

func name(i int) registry.Name { return registry.Name{Binary: "vol", Host: fmt.Sprintf("n%05d", i)} }

// fake runs a test in fake time with a real etcd.
func fake(t *testing.T, test func(t *testing.T, s *etcdtest.FakeServer, w writer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := etcdtest.Fake(t)
		test(t, s, writer{t, s.Client()})
	})
}
