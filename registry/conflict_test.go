package registry_test

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// elsewhere makes the process one of another machine.
func elsewhere(c *registry.Config) {
	c.Process = &registry.Process{PID: 7, Start: "1", MachineID: "other", BootID: "other", PIDNamespace: "other"}
}

func policy(p registry.Policy) func(*registry.Instance) {
	return func(in *registry.Instance) { in.OnConflict = p }
}

func named(name string, ttl time.Duration, p registry.Policy) registry.Instance {
	n, _ := registry.ParseName(name)
	return registry.Instance{Name: n, TTL: ttl, OnConflict: p}
}

func TestConflictWithLivingHolder(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 10 * time.Second, 60 * time.Second} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			first := r.process(t).register(t, "vol/node1", ttl)
			second := r.process(t, elsewhere)
			begin := time.Now()
			_, err := second.Register(t.Context(), named("vol/node1", ttl, registry.Wait))
			var conflict *registry.ConflictError
			if !errors.As(err, &conflict) || !errors.Is(err, registry.ErrConflict) || conflict.Incarnation != first.Incarnation() || conflict.Holder == nil {
				t.Fatalf("got %v, want a ConflictError naming incarnation %d", err, first.Incarnation())
			}
			t.Logf("TTL %v: refused after %v", ttl, time.Since(begin))
			_, err = second.Register(t.Context(), named("vol/node1", ttl, registry.Fail))
			is(t, err, registry.ErrConflict)
			if !first.Valid() || !r.up(t, "vol/node1") {
				t.Error("the holder was hurt")
			}
			if n := r.leases(t); n != 1 {
				wait(t, 2*time.Second, "the refused one's lease is revoked", func() bool { return r.leases(t) == 1 })
			}
		})
	}
}

func TestWaitForDeadHolder(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		first := r.process(t)
		first.register(t, "vol/node1", 10*time.Second)
		first.crash()
		begin := time.Now()
		g := r.process(t, elsewhere).register(t, "vol/node1", 10*time.Second)
		if took := time.Since(begin); took < 5*time.Second || took > 12*time.Second || !g.Valid() {
			t.Errorf("registered after %v, want when the lease of 10s has run out", took)
		}
	})
}

func TestTakeover(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		old := p.register(t, "vol/node1", 10*time.Second)
		trusted := old.Trusted()
		g := r.process(t, elsewhere).register(t, "vol/node1", 10*time.Second, policy(registry.Takeover))
		wait(t, time.Second, "the old holder knows", func() bool { return trusted.Err() != nil && old.Err() != nil })
		is(t, old.Err(), registry.ErrReplaced)
		<-old.Done()
		mustClose(t, old.Close) // a late clean-up
		if !g.Valid() || !r.up(t, "vol/node1") || *r.row(t, "vol/node1").Incarnation != g.Incarnation() {
			t.Error("the old holder's late Close hurt its successor")
		}
		if p.count(registry.Replaced) != 1 {
			t.Errorf("%d replaced events, want 1", p.count(registry.Replaced))
		}
		time.Sleep(time.Minute)
		if !g.Valid() || r.leases(t) != 1 {
			t.Errorf("Valid %v, %d leases", g.Valid(), r.leases(t))
		}
	})
}

// A restarted service need not wait for the lease of its own dead process.
func TestRestartTakesOverFromTheDead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		dead := registry.ThisProcess()
		dead.PID, dead.Start = 1<<22+1, "1" // above the largest pid there can be
		first := r.process(t, func(c *registry.Config) { c.Process = &dead })
		first.register(t, "vol/node1", 10*time.Second)
		first.crash()
		begin := time.Now()
		g := r.process(t).register(t, "vol/node1", 10*time.Second)
		if took := time.Since(begin); took > time.Second || !g.Valid() {
			t.Errorf("took over after %v", took)
		}
	})
}

// While we were cut off somebody else took the name: fighting for it would flap.
func TestReplacedWhileAway(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		old := p.register(t, "vol/node1", 5*time.Second)
		p.net.Gate.Cut()
		g := r.process(t, elsewhere).register(t, "vol/node1", 5*time.Second)
		p.net.Gate.Break()
		p.net.Gate.Heal()
		<-old.Done()
		is(t, old.Err(), registry.ErrReplaced)
		if !g.Valid() || *r.row(t, "vol/node1").Incarnation != g.Incarnation() {
			t.Error("the successor was hurt")
		}
	})
}

func TestEvicted(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 5*time.Second)
		evict := func(incarnation int64) {
			t.Helper()
			mark, err := registry.EncodeAdmin(&registry.Admin{Schema: 1, Evicted: &registry.Evict{Incarnation: incarnation, By: "op"}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.client.Txn(t.Context()).Then(
				clientv3.OpPut("/hb/admin/vol/node1", string(mark)),
				clientv3.OpDelete("/hb/alive/vol/node1"),
				clientv3.OpDelete("/hb/instances/vol/node1"),
			).Commit()
			if err != nil {
				t.Fatal(err)
			}
		}
		evict(g.Incarnation())
		wait(t, time.Second, "it ended", func() bool { return g.Err() != nil })
		is(t, g.Err(), registry.ErrEvicted)
		<-g.Done()
		time.Sleep(10 * time.Second)
		snap, err := registry.List(t.Context(), r.client, registry.ListOptions{})
		if err != nil || len(snap.Services) != 0 {
			t.Fatalf("%d rows after the eviction, %v", len(snap.Services), err)
		}
		again := p.register(t, "vol/node1", 5*time.Second)
		time.Sleep(10 * time.Second)
		if !again.Valid() {
			t.Error("the mark of an older incarnation ended a new registration")
		}
	})
}

func TestImmortalAndUnreadableHolders(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for _, value := range []string{"junk", `{"schema":1,"registration":"x"}`} {
			if _, err := r.client.Put(t.Context(), "/hb/alive/vol/node1", value); err != nil {
				t.Fatal(err)
			}
			p := r.process(t)
			_, err := p.Register(t.Context(), named("vol/node1", 5*time.Second, registry.Wait))
			is(t, err, registry.ErrConflict)
			g := p.register(t, "vol/node1", 5*time.Second, policy(registry.Takeover))
			mustClose(t, g.Close)
		}
	})
}

func TestForcedDownIsToldToTheHolder(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 5*time.Second)
		word, err := registry.EncodeAdmin(&registry.Admin{Schema: 1, ForcedDown: &registry.Word{Reason: "fire", By: "op"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.client.Put(t.Context(), "/hb/admin/vol/node1", string(word)); err != nil {
			t.Fatal(err)
		}
		wait(t, time.Second, "the holder knows", func() bool { return g.Status().Forced })
		s := r.row(t, "vol/node1")
		if s.State != registry.Down || !s.Present || cause(s) != "forced" || *s.CauseReason != "fire" {
			t.Errorf("row %+v", s)
		}
		r.delete(t, "/hb/admin/vol/node1")
		wait(t, time.Second, "the holder knows that it is lifted", func() bool { return !g.Status().Forced })
		if p.count(registry.Forced) != 1 || p.count(registry.Lifted) != 1 {
			t.Error("forced and lifted were not told once each")
		}
	})
}
