package integration_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// A watch whose member is frozen, its connection open and silent, moves to another one, says that it was blind, and loses
// nothing. Of two members the watch is on one, so one of the two freezes hits it.
func TestWatchedMemberFreezes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	etcd := etcdtest.StandaloneCluster(t, 3)
	leader, followers := etcd.Leader(), etcd.Followers()
	writer := etcd.NewClient(leader).Client
	w := hbtest.Watch(t, etcd.NewClient(followers...).Client, watcher.Now())
	keys, err := registry.NewKeys("")
	if err != nil {
		t.Fatal(err)
	}
	grant, err := writer.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	for i, node := range followers {
		node.Freeze()
		name := registry.Name{Binary: "vol", Host: fmt.Sprint("n", i)}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		put, err := writer.Put(ctx, keys.Alive(name), "{}", clientv3.WithLease(grant.ID))
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		w.Event(watcher.DefaultStaleAfter+hbtest.Slow*2*time.Second, watcher.Up, name, put.Header.Revision-1)
		node.Thaw()
		node.WaitHealthy()
	}
	if w.Told(watcher.Stale) == 0 || w.Told(watcher.Live) != w.Told(watcher.Stale) {
		t.Errorf("told stale %d times and live %d times, want each as often, and at least once", w.Told(watcher.Stale), w.Told(watcher.Live))
	}
	if n := w.Count(watcher.Down, registry.Name{}); n != 0 || w.Count(watcher.Up, registry.Name{}) != len(followers) {
		t.Errorf("%d downs, want none, and each up once:\n%s", n, w.Story())
	}
	w.Consistent()
}
