package integration_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// Guarantee 6: of up to 1,000 false deletes at once all are mended within a second.
func TestMassDeleteIsMended(t *testing.T) {
	const n = 1000
	etcd := etcdtest.Cluster(t, 1)
	client := etcd.Client()
	r := newRegistry(t, etcd.Client())
	var open errgroup.Group
	open.SetLimit(64)
	for i := range n {
		open.Go(func() error { register(t, r, node(i), 10*time.Second); return nil })
	}
	_ = open.Wait()
	w := watch(t, client, watcher.Now())
	if _, err := client.Delete(t.Context(), "/hb/alive/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	deleted := time.Now()
	w.await(5*time.Second, "all are up again", func(watcher.Batch) bool { return w.count(watcher.Up, registry.Name{}) == n })
	took := time.Since(deleted)
	t.Logf("%d false deletes mended after %v", n, took)
	if took > slow*time.Second {
		t.Errorf("mended after %v, want at most %v", took, slow*time.Second)
	}
	if up, down := w.count(watcher.Up, registry.Name{}), w.count(watcher.Down, registry.Name{}); up != n || down != n {
		t.Errorf("%d ups and %d downs, want %d each", up, down, n)
	}
	w.consistent()
}

func TestFaultsOnRealClusters(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(map[int]string{1: "one member", 3: "three members"}[size], func(t *testing.T) {
			etcd := etcdtest.Cluster(t, size)
			client := etcd.Client()
			w := watch(t, client, watcher.Now())
			for _, fault := range faults {
				t.Run(fault.name, func(t *testing.T) { fault.test(t, etcd, client, w) })
			}
			w.consistent()
		})
	}
}

type fault struct {
	name string
	test func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *witness)
}

var faults = []fault{
	{"crash", func(t *testing.T, etcd *etcdtest.Members, _ *clientv3.Client, w *witness) {
		net := etcd.NewClient()
		g := register(t, newRegistry(t, net.Client), node(1), 2*time.Second)
		incarnation := g.Incarnation()
		net.Gate.Cut()
		if cause := w.down(10*time.Second, node(1), incarnation); cause != "expired" {
			t.Errorf("cause %s, want expired", cause)
		}
	}},
	{"clean stop", func(t *testing.T, etcd *etcdtest.Members, _ *clientv3.Client, w *witness) {
		g := register(t, newRegistry(t, etcd.Client()), node(2), 2*time.Second)
		incarnation := g.Incarnation()
		if err := closeWithin(t, 5*time.Second, g.Close); err != nil {
			t.Fatal(err)
		}
		if cause := w.down(5*time.Second, node(2), incarnation); cause != "left" {
			t.Errorf("cause %s, want left", cause)
		}
	}},
	{"lease revoked under a live holder", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *witness) {
		g := register(t, newRegistry(t, etcd.Client()), node(3), 5*time.Second)
		incarnation := g.Incarnation()
		if _, err := client.Revoke(t.Context(), clientv3.LeaseID(g.Status().Lease)); err != nil {
			t.Fatal(err)
		}
		if cause := w.down(5*time.Second, node(3), incarnation); cause != "expired" {
			t.Errorf("cause %s, want expired", cause)
		}
		w.event(5*time.Second, watcher.Up, node(3), incarnation)
		eventually(t, 5*time.Second, "the holder may act again", g.Valid)
	}},
	{"alive key deleted by hand", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *witness) {
		g := register(t, newRegistry(t, etcd.Client()), node(4), 5*time.Second)
		incarnation := g.Incarnation()
		remove(t, client, "/hb/alive/vol/node004")
		if cause := w.down(5*time.Second, node(4), incarnation); cause != "deleted" {
			t.Errorf("cause %s, want deleted", cause)
		}
		w.event(5*time.Second, watcher.Up, node(4), incarnation)
	}},
	{"record deleted by hand", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *witness) {
		g := register(t, newRegistry(t, etcd.Client()), node(5), 5*time.Second)
		incarnation := g.Incarnation()
		remove(t, client, "/hb/instances/vol/node005")
		eventually(t, 5*time.Second, "the record is back", func() bool { return list(t, client)[node(5)].Zone != nil })
		if n := w.count(watcher.Down, node(5)); n != 0 || g.Incarnation() != incarnation {
			t.Errorf("%d downs over a deleted record", n)
		}
	}},
	{"two processes with one name", func(t *testing.T, etcd *etcdtest.Members, _ *clientv3.Client, w *witness) {
		g := register(t, newRegistry(t, etcd.Client()), node(6), 2*time.Second)
		_, err := newRegistry(t, etcd.Client()).Register(t.Context(), registry.Instance{Name: node(6), TTL: 2 * time.Second})
		if !errors.Is(err, registry.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
		if !g.Valid() || w.count(watcher.Down, node(6)) != 0 {
			t.Error("the holder was hurt")
		}
	}},
	{"old holder's late Close", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *witness) {
		old := register(t, newRegistry(t, etcd.Client()), node(7), 5*time.Second)
		incarnation := old.Incarnation()
		g := register(t, newRegistry(t, etcd.Client()), node(7), 5*time.Second, func(in *registry.Instance) { in.OnConflict = registry.Takeover })
		if err := closeWithin(t, 5*time.Second, old.Close); err != nil {
			t.Fatal(err)
		}
		if cause := w.down(5*time.Second, node(7), incarnation); cause != "replaced" {
			t.Errorf("cause %s, want replaced", cause)
		}
		if s := list(t, client)[node(7)]; s.State != registry.Up || *s.Incarnation != g.Incarnation() {
			t.Errorf("the successor is %s", s.State)
		}
	}},
	{"junk and foreign keys", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *witness) {
		register(t, newRegistry(t, etcd.Client()), node(8), 5*time.Second)
		for key, value := range map[string]string{
			"/hb/nothing": "x", "/hb/instances/a/b/c": "x", "/hb/instances/vol/junk": "{", "/hb/alive/vol/immortal": `{"schema":1}`,
			"/hb/admin/vol/node008": "[1]", "/hb/instances/\x00/\xff": "", "/hb/instances/vol/new": `{"schema":2,"zone":{}}`,
		} {
			put(t, client, key, value)
		}
		snap, err := registry.List(t.Context(), client, registry.ListOptions{LastBeat: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(snap.Warnings) < 7 {
			t.Errorf("%d warnings, want one for each of the seven: %v", len(snap.Warnings), snap.Warnings)
		}
		rows := list(t, client)
		if s := rows[node(8)]; s.State != registry.Up || s.Status != nil {
			t.Errorf("state %s, status %v beside a junk admin record", s.State, s.Status)
		}
		if s := rows[registry.Name{Binary: "vol", Host: "immortal"}]; s.State != registry.Down || *s.Cause != registry.CauseUnleased {
			t.Errorf("an immortal key is %s", s.State)
		}
		g := register(t, newRegistry(t, etcd.Client()), node(9), 5*time.Second)
		w.event(5*time.Second, watcher.Up, node(9), g.Incarnation()-1)
	}},
	{"compaction under a watcher that was away", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, _ *witness) {
		net := etcd.NewClient()
		dies := register(t, newRegistry(t, net.Client), node(11), 2*time.Second)
		dead := dies.Incarnation()
		restarts := register(t, newRegistry(t, etcd.Client()), node(12), 2*time.Second)
		replaced := restarts.Incarnation()
		away := watch(t, client, watcher.Now())
		away.stop()
		position := away.watcher.View().Revision()

		net.Gate.Cut()
		if err := closeWithin(t, 5*time.Second, restarts.Close); err != nil {
			t.Fatal(err)
		}
		g := register(t, newRegistry(t, etcd.Client()), node(12), 2*time.Second)
		eventually(t, 10*time.Second, "the crashed one is down", func() bool { return list(t, client)[node(11)].State == registry.Down })
		etcd.Compact(0)

		back := watch(t, client, watcher.From(away.watcher.View()))
		if cause := back.down(5*time.Second, node(11), dead); cause != "lost" {
			t.Errorf("cause %s, want lost", cause)
		}
		back.down(5*time.Second, node(12), replaced)
		if up, _ := back.event(5*time.Second, watcher.Up, node(12), 0); up.Incarnation != g.Incarnation() || !up.Synthetic {
			t.Errorf("up as %d (synthetic %v), want %d", up.Incarnation, up.Synthetic, g.Incarnation())
		}
		if n := back.count(watcher.Down, registry.Name{}); n != 2 {
			t.Errorf("%d downs, want 2:\n%s", n, back.story())
		}
		bare := watch(t, client, watcher.After(position))
		if bare.told(watcher.Reset) != 1 || bare.told(watcher.Snapshot) != 1 {
			t.Errorf("from a compacted revision:\n%s", bare.story())
		}
	}},
	{"members stop and come back", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *witness) {
		r := newRegistry(t, etcd.Client())
		var was []int64
		var regs []*registry.Registration
		for i := 20; i < 40; i++ {
			g := register(t, r, node(i), 5*time.Second)
			regs, was = append(regs, g), append(was, g.Incarnation())
		}
		for i := range etcd.Len() {
			etcd.Stop(i)
		}
		sleep(t, 8*time.Second) // longer than the TTL: etcd forgives, so must we
		etcd.Restart(etcd.All()...)
		eventually(t, 15*time.Second, "all may act again", func() bool {
			return !slices.ContainsFunc(regs, func(g *registry.Registration) bool { return !g.Valid() })
		})
		for i, g := range regs {
			if g.Incarnation() != was[i] {
				t.Errorf("%s: incarnation %d, was %d", g.Name(), g.Incarnation(), was[i])
			}
			if n := w.count(watcher.Down, g.Name()); n != 0 {
				t.Errorf("%s: %d false downs", g.Name(), n)
			}
		}
		_ = client
	}},
}

// sleep lets real time pass where the passing of time is the fault itself.
func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// Guarantee 6: whatever etcd goes through, in the end every registrant has exactly one key, and every process one lease.
func TestRoundsOfTrouble(t *testing.T) {
	const rounds, processes, names = 20, 3, 5
	etcd := etcdtest.Cluster(t, 3)
	client := etcd.Client()
	var regs []*registry.Registration
	for p := range processes {
		r := newRegistry(t, etcd.Client())
		for i := range names {
			regs = append(regs, register(t, r, node(100*p+i), 2*time.Second))
		}
	}
	for round := range rounds {
		put(t, client, "/elsewhere", "x") // at rest nothing is written, and a revision is compacted once
		switch i := round % 3; round % 4 {
		case 0:
			etcd.Compact(0)
			etcd.Stop(i)
			etcd.Restart(i)
		case 1:
			etcd.Compact(0)
			etcd.Part(i)
			sleep(t, 2*time.Second)
			etcd.Mend(i)
		case 2:
			for m := range 3 {
				etcd.Stop(m)
			}
			sleep(t, time.Second)
			etcd.Restart(etcd.All()...)
			etcd.Compact(0)
		case 3:
			etcd.Part(etcd.Leader())
			sleep(t, 2*time.Second)
			for m := range 3 {
				etcd.Mend(m)
			}
		}
	}
	eventually(t, 10*slow*time.Second, "all may act", func() bool {
		return !slices.ContainsFunc(regs, func(g *registry.Registration) bool { return !g.Valid() })
	})
	eventually(t, 10*time.Second, "one lease a process", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		resp, err := client.Leases(ctx)
		return err == nil && len(resp.Leases) == processes
	})
	resp, err := client.Get(t.Context(), "/hb/alive/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) != processes*names {
		t.Errorf("%d alive keys, want %d", len(resp.Kvs), processes*names)
	}
	rows := list(t, client)
	for _, g := range regs {
		if s := rows[g.Name()]; s.State != registry.Up || *s.Incarnation != g.Incarnation() {
			t.Errorf("%s is %s", g.Name(), s.State)
		}
	}
	t.Logf("%d rounds: %d alive keys for %d registrants, %d leases for %d processes", rounds, len(resp.Kvs), len(regs), processes, processes)
}
