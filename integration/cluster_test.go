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
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// Guarantee 6: of up to 1,000 false deletes at once all are mended within a second.
func TestMassDeleteIsMended(t *testing.T) {
	const n = 1000
	etcd := etcdtest.Cluster(t, 1)
	client := etcd.Client()
	r := hbtest.NewRegistry(t, etcd.Client())
	var open errgroup.Group
	open.SetLimit(64)
	for i := range n {
		open.Go(func() error { hbtest.Register(t, r, hbtest.Node(i), 10*time.Second); return nil })
	}
	_ = open.Wait()
	w := hbtest.Watch(t, client, watcher.Now())
	if _, err := client.Delete(t.Context(), "/hb/alive/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	deleted := time.Now()
	w.Await(5*time.Second, "all are up again", func(watcher.Batch) bool { return w.Count(watcher.Up, registry.Name{}) == n })
	took := time.Since(deleted)
	t.Logf("%d false deletes mended after %v", n, took)
	if took > hbtest.Slow*time.Second {
		t.Errorf("mended after %v, want at most %v", took, hbtest.Slow*time.Second)
	}
	if up, down := w.Count(watcher.Up, registry.Name{}), w.Count(watcher.Down, registry.Name{}); up != n || down != n {
		t.Errorf("%d ups and %d downs, want %d each", up, down, n)
	}
	w.Consistent()
}

func TestFaultsOnRealClusters(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(map[int]string{1: "one member", 3: "three members"}[size], func(t *testing.T) {
			etcd := etcdtest.Cluster(t, size)
			client := etcd.Client()
			w := hbtest.Watch(t, client, watcher.Now())
			for _, fault := range faults {
				t.Run(fault.name, func(t *testing.T) { fault.test(t, etcd, client, w) })
			}
			w.Consistent()
		})
	}
}

type fault struct {
	name string
	test func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *hbtest.Witness)
}

var faults = []fault{
	{"crash", func(t *testing.T, etcd *etcdtest.Members, _ *clientv3.Client, w *hbtest.Witness) {
		net := etcd.NewClient()
		g := hbtest.Register(t, hbtest.NewRegistry(t, net.Client), hbtest.Node(1), 2*time.Second)
		incarnation := g.Incarnation()
		net.Gate.Cut()
		if cause := w.Down(10*time.Second, hbtest.Node(1), incarnation); cause != "expired" {
			t.Errorf("cause %s, want expired", cause)
		}
	}},
	{"clean stop", func(t *testing.T, etcd *etcdtest.Members, _ *clientv3.Client, w *hbtest.Witness) {
		g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(2), 2*time.Second)
		incarnation := g.Incarnation()
		if err := hbtest.CloseWithin(5*time.Second, g.Close); err != nil {
			t.Fatal(err)
		}
		if cause := w.Down(5*time.Second, hbtest.Node(2), incarnation); cause != "left" {
			t.Errorf("cause %s, want left", cause)
		}
	}},
	{"lease revoked under a live holder", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *hbtest.Witness) {
		g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(3), 5*time.Second)
		incarnation := g.Incarnation()
		if _, err := client.Revoke(t.Context(), clientv3.LeaseID(g.Status().Lease)); err != nil {
			t.Fatal(err)
		}
		if cause := w.Down(5*time.Second, hbtest.Node(3), incarnation); cause != "expired" {
			t.Errorf("cause %s, want expired", cause)
		}
		w.Event(5*time.Second, watcher.Up, hbtest.Node(3), incarnation)
		hbtest.Eventually(t, 5*time.Second, "the holder may act again", g.Valid)
	}},
	{"alive key deleted by hand", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *hbtest.Witness) {
		g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(4), 5*time.Second)
		incarnation := g.Incarnation()
		remove(t, client, "/hb/alive/vol/node004")
		if cause := w.Down(5*time.Second, hbtest.Node(4), incarnation); cause != "deleted" {
			t.Errorf("cause %s, want deleted", cause)
		}
		w.Event(5*time.Second, watcher.Up, hbtest.Node(4), incarnation)
	}},
	{"record deleted by hand", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *hbtest.Witness) {
		g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(5), 5*time.Second)
		incarnation := g.Incarnation()
		remove(t, client, "/hb/instances/vol/node005")
		hbtest.Eventually(t, 5*time.Second, "the record is back", func() bool { return hbtest.List(t, client)[hbtest.Node(5)].Zone != nil })
		if n := w.Count(watcher.Down, hbtest.Node(5)); n != 0 || g.Incarnation() != incarnation {
			t.Errorf("%d downs over a deleted record", n)
		}
	}},
	{"two processes with one name", func(t *testing.T, etcd *etcdtest.Members, _ *clientv3.Client, w *hbtest.Witness) {
		g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(6), 2*time.Second)
		_, err := hbtest.NewRegistry(t, etcd.Client()).Register(t.Context(), registry.Instance{Name: hbtest.Node(6), TTL: 2 * time.Second})
		if !errors.Is(err, registry.ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
		if !g.Valid() || w.Count(watcher.Down, hbtest.Node(6)) != 0 {
			t.Error("the holder was hurt")
		}
	}},
	{"old holder's late Close", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *hbtest.Witness) {
		old := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(7), 5*time.Second)
		incarnation := old.Incarnation()
		g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(7), 5*time.Second, func(in *registry.Instance) { in.OnConflict = registry.Takeover })
		if err := hbtest.CloseWithin(5*time.Second, old.Close); err != nil {
			t.Fatal(err)
		}
		if cause := w.Down(5*time.Second, hbtest.Node(7), incarnation); cause != "replaced" {
			t.Errorf("cause %s, want replaced", cause)
		}
		if s := hbtest.List(t, client)[hbtest.Node(7)]; s.State != registry.Up || *s.Incarnation != g.Incarnation() {
			t.Errorf("the successor is %s", s.State)
		}
	}},
	{"junk and foreign keys", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *hbtest.Witness) {
		hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(8), 5*time.Second)
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
		rows := hbtest.List(t, client)
		if s := rows[hbtest.Node(8)]; s.State != registry.Up || s.Status != nil {
			t.Errorf("state %s, status %v beside a junk admin record", s.State, s.Status)
		}
		if s := rows[registry.Name{Binary: "vol", Host: "immortal"}]; s.State != registry.Down || *s.Cause != registry.CauseUnleased {
			t.Errorf("an immortal key is %s", s.State)
		}
		g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(9), 5*time.Second)
		w.Event(5*time.Second, watcher.Up, hbtest.Node(9), g.Incarnation()-1)
	}},
	{"compaction under a watcher that was away", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, _ *hbtest.Witness) {
		net := etcd.NewClient()
		dies := hbtest.Register(t, hbtest.NewRegistry(t, net.Client), hbtest.Node(11), 2*time.Second)
		dead := dies.Incarnation()
		restarts := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(12), 2*time.Second)
		replaced := restarts.Incarnation()
		away := hbtest.Watch(t, client, watcher.Now())
		away.Stop()
		position := away.Watcher.View().Revision()

		net.Gate.Cut()
		if err := hbtest.CloseWithin(5*time.Second, restarts.Close); err != nil {
			t.Fatal(err)
		}
		g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(12), 2*time.Second)
		hbtest.Eventually(t, 10*time.Second, "the crashed one is down", func() bool { return hbtest.List(t, client)[hbtest.Node(11)].State == registry.Down })
		etcd.Compact(0)

		back := hbtest.Watch(t, client, watcher.From(away.Watcher.View()))
		if cause := back.Down(5*time.Second, hbtest.Node(11), dead); cause != "lost" {
			t.Errorf("cause %s, want lost", cause)
		}
		back.Down(5*time.Second, hbtest.Node(12), replaced)
		if up, _ := back.Event(5*time.Second, watcher.Up, hbtest.Node(12), 0); up.Incarnation != g.Incarnation() || !up.Synthetic {
			t.Errorf("up as %d (synthetic %v), want %d", up.Incarnation, up.Synthetic, g.Incarnation())
		}
		if n := back.Count(watcher.Down, registry.Name{}); n != 2 {
			t.Errorf("%d downs, want 2:\n%s", n, back.Story())
		}
		bare := hbtest.Watch(t, client, watcher.After(position))
		if bare.Told(watcher.Reset) != 1 || bare.Told(watcher.Snapshot) != 1 {
			t.Errorf("from a compacted revision:\n%s", bare.Story())
		}
	}},
	{"members stop and come back", func(t *testing.T, etcd *etcdtest.Members, client *clientv3.Client, w *hbtest.Witness) {
		r := hbtest.NewRegistry(t, etcd.Client())
		var was []int64
		var regs []*registry.Registration
		for i := 20; i < 40; i++ {
			g := hbtest.Register(t, r, hbtest.Node(i), 5*time.Second)
			regs, was = append(regs, g), append(was, g.Incarnation())
		}
		for i := range etcd.Len() {
			etcd.Stop(i)
		}
		hbtest.Sleep(t, 8*time.Second) // longer than the TTL: etcd forgives, so must we
		etcd.Restart(etcd.All()...)
		hbtest.Eventually(t, 15*time.Second, "all may act again", func() bool {
			return !slices.ContainsFunc(regs, func(g *registry.Registration) bool { return !g.Valid() })
		})
		for i, g := range regs {
			if g.Incarnation() != was[i] {
				t.Errorf("%s: incarnation %d, was %d", g.Name(), g.Incarnation(), was[i])
			}
			if n := w.Count(watcher.Down, g.Name()); n != 0 {
				t.Errorf("%s: %d false downs", g.Name(), n)
			}
		}
		_ = client
	}},
}

// Guarantee 6: whatever etcd goes through, in the end every registrant has exactly one key, and every process one lease.
func TestRoundsOfTrouble(t *testing.T) {
	const rounds, processes, names = 20, 3, 5
	etcd := etcdtest.Cluster(t, 3)
	client := etcd.Client()
	var regs []*registry.Registration
	for p := range processes {
		r := hbtest.NewRegistry(t, etcd.Client())
		for i := range names {
			regs = append(regs, hbtest.Register(t, r, hbtest.Node(100*p+i), 2*time.Second))
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
			hbtest.Sleep(t, 2*time.Second)
			etcd.Mend(i)
		case 2:
			for m := range 3 {
				etcd.Stop(m)
			}
			hbtest.Sleep(t, time.Second)
			etcd.Restart(etcd.All()...)
			etcd.Compact(0)
		case 3:
			etcd.Part(etcd.Leader())
			hbtest.Sleep(t, 2*time.Second)
			for m := range 3 {
				etcd.Mend(m)
			}
		}
	}
	hbtest.Eventually(t, 10*hbtest.Slow*time.Second, "all may act", func() bool {
		return !slices.ContainsFunc(regs, func(g *registry.Registration) bool { return !g.Valid() })
	})
	hbtest.Eventually(t, 10*time.Second, "one lease a process", func() bool {
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
	rows := hbtest.List(t, client)
	for _, g := range regs {
		if s := rows[g.Name()]; s.State != registry.Up || *s.Incarnation != g.Incarnation() {
			t.Errorf("%s is %s", g.Name(), s.State)
		}
	}
	t.Logf("%d rounds: %d alive keys for %d registrants, %d leases for %d processes", rounds, len(resp.Kvs), len(regs), processes, processes)
}
