package etcdtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

// quick is a context for a request that must not hang.
func quick(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestCluster(t *testing.T) {
	m := etcdtest.Cluster(t, 3)
	c := m.Client()
	if _, err := c.Put(quick(t), "k", "v"); err != nil {
		t.Fatal(err)
	}

	t.Run("stop and restart", func(t *testing.T) {
		old := m.Leader()
		m.Stop(old)
		if now := m.Leader(); now == old {
			t.Errorf("member %d still leads though it is stopped", now)
		}
		if !present(t, c, "k") {
			t.Error("two of three members do not serve")
		}
		m.Restart(old)
		if !present(t, m.NewClient(old).Client, "k") {
			t.Error("restarted member lacks the key")
		}
	})
	t.Run("lead moves", func(t *testing.T) {
		to := (m.Leader() + 1) % m.Len()
		m.MoveLeader(to)
		if got := m.Leader(); got != to {
			t.Errorf("member %d leads, want %d", got, to)
		}
	})
	t.Run("a parted member has no quorum", func(t *testing.T) {
		lone := (m.Leader() + 1) % m.Len()
		parted := m.NewClient(lone)
		present(t, parted.Client, "k")
		m.Part(lone)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := parted.Get(ctx, "k"); err == nil {
			t.Error("a parted member answered a linearizable read")
		}
		m.Mend(lone)
		m.Leader()
		if !present(t, parted.Client, "k") {
			t.Error("mended member lacks the key")
		}
	})
	t.Run("a client is cut off", func(t *testing.T) {
		holder := m.NewClient()
		id := grant(t, holder.Client, "held", 1)
		alive, err := holder.KeepAlive(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for range alive { // only kept from filling up
			}
		}()
		time.Sleep(3 * time.Second)
		if !present(t, c, "held") {
			t.Fatal("key is gone though its lease was kept alive")
		}
		events := c.Watch(t.Context(), "held")
		holder.Cut()
		begin := time.Now()
		select {
		case <-events:
		case <-time.After(20 * time.Second):
			t.Fatal("key of a cut holder stays")
		}
		t.Logf("gone after %v", time.Since(begin))
		holder.Heal()
		if present(t, holder.Client, "held") {
			t.Error("key came back")
		}
	})
	t.Run("compaction", func(t *testing.T) {
		m.Compact(0)
		if _, err := c.Get(quick(t), "k", clientv3.WithRev(1)); !errors.Is(err, rpctypes.ErrCompacted) {
			t.Errorf("read of a compacted revision: %v", err)
		}
	})
}

func TestClusterOfOne(t *testing.T) {
	m := etcdtest.Cluster(t, 1)
	c := m.Client()
	if _, err := c.Put(quick(t), "k", "v"); err != nil {
		t.Fatal(err)
	}
	m.Stop(0)
	m.Restart(0)
	if !present(t, c, "k") {
		t.Error("key is gone after a restart")
	}
}

func TestFakeCompact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := etcdtest.Fake(t)
		c := s.Client()
		for range 3 {
			if _, err := c.Put(t.Context(), "k", "v"); err != nil {
				t.Fatal(err)
			}
		}
		s.Compact(0)
		if resp := <-c.Watch(t.Context(), "k", clientv3.WithRev(2)); !errors.Is(resp.Err(), rpctypes.ErrCompacted) {
			t.Errorf("watch from a compacted revision: %v", resp.Err())
		}
	})
}
