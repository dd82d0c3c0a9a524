package faults_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// backup copies the data of a node that is stopped for it.
func backup(t *testing.T, node *etcdtest.Node) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "backup")
	node.Stop()
	if err := os.CopyFS(dir, os.DirFS(node.DataDir())); err != nil {
		t.Fatal(err)
	}
	node.Start()
	node.WaitHealthy()
	return dir
}

// restore puts a copy in the place of the data.
func restore(t *testing.T, node *etcdtest.Node, dir string) {
	t.Helper()
	node.Kill()
	if err := os.RemoveAll(node.DataDir()); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(node.DataDir(), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	node.Start()
	node.WaitHealthy()
}

// grow moves the revision on without touching what is watched.
func grow(t *testing.T, client *clientv3.Client, by int) {
	t.Helper()
	for i := range by {
		if _, err := client.Put(t.Context(), "/elsewhere", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// refusal gives the error with which a watch from the position ends.
func refusal(t *testing.T, client *clientv3.Client, from watcher.Position) error {
	t.Helper()
	w, err := watcher.New(client, watcher.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, err := range w.Watch(ctx, from) {
		return err
	}
	return ctx.Err()
}

// A past is what readers and holders had before etcd's data became other data: one holder that lives through it, and one that was
// registered after the backup and has died before the restore, of which the restored store knows nothing.
type past struct {
	etcd   *etcdtest.Nodes
	copied string
	lives  *registry.Registration
	was    int64
	ghost  registry.Name
	reader *etcdtest.Client // the network of the running watch
	w      *hbtest.Witness
	view   *watcher.View
}

const grown = 500 // revisions from the backup to the loss

func record(t *testing.T) *past {
	t.Helper()
	const ttl = 5 * time.Second
	h := &past{etcd: etcdtest.Standalone(t), ghost: hbtest.Node(13)}
	h.lives = hbtest.Register(t, hbtest.NewRegistry(t, h.etcd.Client()), hbtest.Node(1), ttl)
	h.copied = backup(t, h.etcd.Nodes[0])
	hbtest.Eventually(t, 10*time.Second, "held again", h.lives.Valid)
	h.was = h.lives.Incarnation()
	h.reader = h.etcd.NewClient()
	h.w = watchAll(t, h.reader.Client)
	client := h.etcd.Client()
	grow(t, client, grown)
	inc := putByHand(t, client, h.ghost, time.Hour, time.Now())
	h.w.Event(5*time.Second, watcher.Up, h.ghost, inc-1)
	hbtest.Eventually(t, 5*time.Second, "the view has it", func() bool {
		v := h.w.Watcher.View()
		return v != nil && v.Revision() >= inc
	})
	h.view = h.w.Watcher.View()
	return h
}

// agrees waits until what the reader was told since the last reset is what a list says: the ghost is gone and the living one there.
func (h *past) agrees(t *testing.T, client *clientv3.Client) {
	t.Helper()
	hbtest.Eventually(t, 15*time.Second, "the holder is back", func() bool {
		return h.lives.Valid() && hbtest.List(t, client)[hbtest.Node(1)].State == registry.Up
	})
	snapshot := h.w.Await(10*time.Second, "a snapshot after a reset", func() func(watcher.Batch) bool {
		reset := false
		return func(b watcher.Batch) bool {
			reset = reset || b.Kind == watcher.Reset
			return reset && b.Kind == watcher.Snapshot
		}
	}())
	for i := range snapshot.Services {
		if snapshot.Services[i].Name() == h.ghost {
			t.Errorf("the snapshot has %s, which the store has not", h.ghost)
		}
	}
	h.w.Consistent()
}

// etcd's data is lost and a backup takes its place, or another cluster answers in its stead. A watch that runs says so with a reset
// and a snapshot, one that is resumed with an error; neither goes on as if nothing had happened. The living are back with a new key.
func TestF36Restore(t *testing.T) {
	t.Run("revision gone back", func(t *testing.T) {
		h := record(t)
		restore(t, h.etcd.Nodes[0], h.copied)
		restored := time.Now()
		client := h.etcd.Client()
		reset := h.w.Await(10*time.Second, "a reset", func(b watcher.Batch) bool { return b.Kind == watcher.Reset })
		took := time.Since(restored)
		resumed := refusal(t, client, watcher.From(h.view))
		if !errors.Is(resumed, watcher.ErrFuture) {
			t.Errorf("a view of the lost history is resumed with %v", resumed)
		}
		if bare := refusal(t, client, watcher.After(h.view.Revision())); !errors.Is(bare, watcher.ErrFuture) {
			t.Errorf("a revision of the lost history is resumed with %v", bare)
		}
		h.agrees(t, client)
		t.Logf("F36: revision gone back by %d: a running watch is reset after %v (%v) and agrees with the list; a view is refused: %q; the holder has incarnation %d, had %d",
			grown, took.Round(time.Millisecond), reset.Reason, resumed, h.lives.Incarnation(), h.was)
	})
	t.Run("another cluster", func(t *testing.T) {
		h := record(t)
		other := etcdtest.Standalone(t, "--initial-cluster-token=other")
		lives := hbtest.Register(t, hbtest.NewRegistry(t, other.Client()), hbtest.Node(1), 5*time.Second)
		h.lives = lives
		h.reader.SetEndpoints(other.Endpoints()...)
		moved := time.Now()
		h.etcd.Nodes[0].Kill()
		reset := h.w.Await(10*time.Second, "a reset", func(b watcher.Batch) bool { return b.Kind == watcher.Reset })
		took := time.Since(moved)
		resumed := refusal(t, other.Client(), watcher.From(h.view))
		if !errors.Is(resumed, watcher.ErrOtherCluster) {
			t.Errorf("a view of another cluster is resumed with %v", resumed)
		}
		h.agrees(t, other.Client())
		t.Logf("F36: another cluster answers: a running watch is reset after %v (%v) and agrees with the list; a view is refused: %q",
			took.Round(time.Millisecond), reset.Reason, resumed)
	})
}

// The restored store has grown past what its readers had seen before any of them looked.
func TestF36RestoredAndGrown(t *testing.T) {
	h := record(t)
	h.reader.Cut()
	restore(t, h.etcd.Nodes[0], h.copied)
	client := h.etcd.Client()
	grow(t, client, 2*grown)
	h.reader.Break()
	h.reader.Heal()
	reset := h.w.Await(10*time.Second, "a reset", func(b watcher.Batch) bool { return b.Kind == watcher.Reset })
	late := putByHand(t, client, hbtest.Node(2), time.Hour, time.Now())
	h.w.Event(10*time.Second, watcher.Up, hbtest.Node(2), late-1)
	h.agrees(t, client)
	resumed := hbtest.Watch(t, client, watcher.From(h.view))
	if resumed.Told(watcher.Reset) != 1 || resumed.Told(watcher.Snapshot) != 1 {
		t.Errorf("a view of the lost history is resumed as if nothing had happened:\n%s", resumed.Story())
	}
	t.Logf("F36: restored and grown past the position: a running watch is reset (%v), and so is one from a view; both agree with the list", reset.Reason)
}
