package registry_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

func TestRegisterAndClose(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) {
			in.Zone, in.Labels, in.Endpoints = "az1", map[string]string{"rack": "r1"}, []string{"http://10.0.0.1:80"}
		})
		time.Sleep(time.Minute)
		s := r.row(t, "vol/node1")
		if s.State != registry.Up || *s.Zone != "az1" || s.Labels["rack"] != "r1" || *s.Status != registry.Enabled || *s.Incarnation != g.Incarnation() {
			t.Errorf("row %+v", s)
		}
		st := g.Status()
		if !g.Valid() || !st.Registered || st.Why != nil || st.TTL != 10*time.Second || time.Until(st.Expires) > 9*time.Second {
			t.Errorf("status %+v", st)
		}
		trusted := g.Trusted()
		mustClose(t, g.Close)
		if g.Valid() || trusted.Err() == nil || !errors.Is(g.Err(), registry.ErrClosed) {
			t.Errorf("after Close: Valid %v, Trusted %v, Err %v", g.Valid(), trusted.Err(), g.Err())
		}
		s = r.row(t, "vol/node1")
		if s.State != registry.Down || cause(s) != "left" || *s.Incarnation != st.Incarnation {
			t.Errorf("after Close: state %s, cause %s", s.State, cause(s))
		}
		wait(t, time.Second, "the empty lease is revoked", func() bool { return r.leases(t) == 0 })
		mustClose(t, g.Close)
		is(t, g.Update(t.Context(), func(*registry.Instance) {}), registry.ErrClosed)
	})
}

func TestFailTellsWhy(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		g := r.process(t).register(t, "vol/node1", 10*time.Second)
		mustClose(t, func(ctx context.Context) error { return g.Fail(ctx, "exit status 3") })
		if s := r.row(t, "vol/node1"); cause(s) != "failed" || *s.CauseReason != "exit status 3" {
			t.Errorf("cause %s", cause(s))
		}
	})
}

func TestContextEndsRegistration(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		ctx, cancel := context.WithCancel(t.Context())
		g, err := r.process(t).Register(ctx, registry.Instance{Name: registry.Name{Binary: "vol", Host: "node1"}})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		<-g.Done()
		is(t, g.Err(), registry.ErrClosed)
		if s := r.row(t, "vol/node1"); cause(s) != "left" {
			t.Errorf("cause %s", cause(s))
		}
	})
}

// Done tells the end to whoever asks, whether before it, while it comes, or only then.
func TestDoneWheneverAsked(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			g, err := p.Register(ctx, registry.Instance{Name: registry.Name{Binary: "vol", Host: sprint(i)[4:]}})
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				select {
				case <-g.Done():
					t.Fatal("done before the end")
				default:
				}
			}
			var asking sync.WaitGroup
			for range 4 {
				asking.Go(func() { <-g.Done() })
			}
			go cancel()
			asking.Wait()
			is(t, g.Err(), registry.ErrClosed)
		}
		ctx, cancel := context.WithCancel(t.Context())
		g, err := p.Register(ctx, registry.Instance{Name: registry.Name{Binary: "vol", Host: "late"}})
		if err != nil {
			t.Fatal(err)
		}
		left := p.count(registry.Left)
		cancel()
		wait(t, time.Second, "left", func() bool { return p.count(registry.Left) > left })
		time.Sleep(time.Second)
		select {
		case <-g.Done():
		default:
			t.Error("who asks after the end is not told of it")
		}
		mustClose(t, g.Close)
	})
}

// The keys go, the holder stays: it must notice by itself and be back within a second.
func TestPutBack(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, r *rig, g *registry.Registration){
		"alive key deleted": func(t *testing.T, r *rig, _ *registry.Registration) { r.delete(t, "/hb/alive/vol/node1") },
		"record deleted":    func(t *testing.T, r *rig, _ *registry.Registration) { r.delete(t, "/hb/instances/vol/node1") },
		"both deleted": func(t *testing.T, r *rig, _ *registry.Registration) {
			r.delete(t, "/hb/alive/vol/node1")
			r.delete(t, "/hb/instances/vol/node1")
		},
		"lease revoked": func(t *testing.T, r *rig, g *registry.Registration) {
			if _, err := r.client.Revoke(t.Context(), clientv3.LeaseID(g.Status().Lease)); err != nil {
				t.Fatal(err)
			}
		},
		"record overwritten": func(t *testing.T, r *rig, _ *registry.Registration) {
			if _, err := r.client.Put(t.Context(), "/hb/instances/vol/node1", "junk"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				p := r.process(t)
				g := p.register(t, "vol/node1", 10*time.Second)
				time.Sleep(33 * time.Second)
				was := g.Incarnation()
				damage(t, r, g)
				limit := time.Second
				if name == "record overwritten" {
					limit = 1200 * time.Millisecond
				}
				took := wait(t, limit, "put back", func() bool {
					snap, err := registry.List(t.Context(), r.client, registry.ListOptions{})
					return err == nil && len(snap.Services) == 1 && snap.Services[0].State == registry.Up && snap.Services[0].Zone != nil && len(snap.Warnings) == 0 && g.Valid()
				})
				t.Logf("put back after %v", took)
				if kept := g.Incarnation() == was; kept != (name == "record deleted" || name == "record overwritten") {
					t.Errorf("incarnation %d, was %d", g.Incarnation(), was)
				}
				time.Sleep(time.Minute)
				if !g.Valid() || r.leases(t) != 1 {
					t.Errorf("a minute later: Valid %v, %d leases", g.Valid(), r.leases(t))
				}
			})
		})
	}
}

// etcd is away for longer than the TTL. It gives every lease its full TTL again when it is back, so nothing may be lost.
func TestOutageLosesNothing(t *testing.T) {
	for _, outage := range []time.Duration{time.Second, 8 * time.Second, time.Minute, 10 * time.Minute} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			p := r.process(t)
			var regs []*registry.Registration
			var was []int64
			for i := range 20 {
				g := p.register(t, sprint(i), 5*time.Second)
				regs, was = append(regs, g), append(was, g.Incarnation())
			}
			r.server.Stop()
			time.Sleep(outage)
			if outage > 5*time.Second && regs[0].Valid() {
				t.Error("Valid without etcd for longer than the TTL")
			}
			r.server.Start()
			took := wait(t, 10*time.Second, "all are valid again", func() bool {
				for _, g := range regs {
					if !g.Valid() {
						return false
					}
				}
				return true
			})
			t.Logf("outage %v: trusted again %v after etcd was back", outage, took)
			for i, g := range regs {
				if g.Incarnation() != was[i] {
					t.Errorf("%s: incarnation %d, was %d", g.Name(), g.Incarnation(), was[i])
				}
			}
			if n := r.leases(t); n != 1 {
				t.Errorf("%d leases, want 1", n)
			}
		})
	}
}

// The other side of it: cut off from a living etcd for longer than the TTL, the holder is down by definition, and comes back as
// a new incarnation.
func TestCutOffComesBack(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 5*time.Second)
		was, trusted := g.Incarnation(), g.Trusted()
		p.net.Gate.Cut()
		var fenced time.Time
		stop := context.AfterFunc(trusted, func() { fenced = time.Now() })
		defer stop()
		wait(t, 7*time.Second, "down", func() bool { return !r.up(t, "vol/node1") })
		down := time.Now()
		if trusted.Err() == nil || g.Valid() || fenced.IsZero() || down.Sub(fenced) < 200*time.Millisecond {
			t.Errorf("fenced %v before it was seen down", down.Sub(fenced))
		}
		is(t, context.Cause(trusted), lease.ErrFenced)
		time.Sleep(time.Minute)
		p.net.Gate.Heal()
		took := wait(t, 3*time.Second, "up again", func() bool { return r.up(t, "vol/node1") && g.Valid() })
		t.Logf("back %v after the network was", took)
		if g.Incarnation() <= was {
			t.Error("came back as the same incarnation")
		}
	})
}

func TestAtRestNothingIsWritten(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		for i := range 100 {
			p.register(t, sprint(i), 10*time.Second)
		}
		before := r.revision(t)
		time.Sleep(10 * time.Minute)
		if after := r.revision(t); after != before {
			t.Errorf("%d writes in ten minutes at rest, want 0", after-before)
		}
		if n := r.leases(t); n != 1 {
			t.Errorf("%d leases for one process, want 1", n)
		}
	})
}

func TestReports(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t, func(c *registry.Config) { c.ReportInterval = time.Minute })
		for i := range 100 {
			p.register(t, sprint(i), 10*time.Second)
		}
		before := r.revision(t)
		time.Sleep(10*time.Minute + 30*time.Second)
		writes := r.revision(t) - before
		s := r.row(t, sprint(7))
		if *s.ReportCount < 10 || *s.ReportCount > 12 {
			t.Errorf("report_count %d after 10.5 minutes", *s.ReportCount)
		}
		if s.UpdatedAt == nil || time.Since(*s.UpdatedAt) > time.Minute {
			t.Errorf("updated_at %v", s.UpdatedAt)
		}
		if most := *s.ReportCount + 1; writes > most {
			t.Errorf("%d transactions for %d reports of 100 instances, want at most %d", writes, *s.ReportCount, most)
		}
	})
}

func TestUpdate(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		g := r.process(t).register(t, "vol/node1", 10*time.Second)
		was := g.Incarnation()
		if err := g.Update(t.Context(), func(in *registry.Instance) { in.Zone = "az9" }); err != nil {
			t.Fatal(err)
		}
		if s := r.row(t, "vol/node1"); *s.Zone != "az9" || *s.Incarnation != was {
			t.Errorf("zone %s", *s.Zone)
		}
		is(t, g.Update(t.Context(), func(in *registry.Instance) { in.Zone = "a\x1bb" }), registry.ErrInvalid)
		is(t, g.Update(t.Context(), func(in *registry.Instance) { in.TTL = time.Minute }), registry.ErrInvalid)
		big := map[string]string{}
		for i := range 400 {
			big[sprint(i)[4:]] = "0123456789012345678901234567890123456789"
		}
		is(t, g.Update(t.Context(), func(in *registry.Instance) { in.Labels = big }), registry.ErrTooLarge)
		if s := r.row(t, "vol/node1"); *s.Zone != "az9" || len(s.Labels) != 0 {
			t.Errorf("a refused update changed the row: %+v", s)
		}
	})
}

// Two registrations share a lease and one leaves while etcd is away. If its leaving were forgotten, the other would keep it
// up for ever.
func TestLeavingIsNeverForgotten(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		stays, leaves := p.register(t, "vol/stays", 5*time.Second), p.register(t, "vol/leaves", 5*time.Second)
		was := stays.Incarnation()
		r.server.Stop()
		time.Sleep(time.Second)
		is(t, closeWithin(t, 2*time.Second, leaves.Close), registry.ErrLeaving)
		if leaves.Valid() {
			t.Error("Valid while leaving")
		}
		_, err := p.Register(t.Context(), registry.Instance{Name: leaves.Name()})
		is(t, err, registry.ErrDuplicate)
		time.Sleep(20 * time.Second)
		r.server.Start()
		took := wait(t, 3*time.Second, "gone", func() bool { return !r.up(t, "vol/leaves") })
		t.Logf("left %v after etcd was back", took)
		<-leaves.Done()
		if s := r.row(t, "vol/leaves"); cause(s) != "left" {
			t.Errorf("cause %s", cause(s))
		}
		time.Sleep(time.Minute)
		if !stays.Valid() || stays.Incarnation() != was || !r.up(t, "vol/stays") {
			t.Error("the other one was hurt")
		}
	})
}

// Whoever wakes from a freeze and hears first that its key is gone was fenced before: that is told first, and once. Who acts on
// fences alone, as hbctl run --on-lost does, would go on otherwise.
func TestFencedBeforeLost(t *testing.T) {
	for _, test := range []struct {
		name   string
		asleep time.Duration
		want   []registry.EventKind
	}{
		{"awake", 0, []registry.EventKind{registry.Registered, registry.LostKey, registry.Registered}},
		{"asleep for longer than its TTL", 20 * time.Second, []registry.EventKind{registry.Registered, registry.Fenced, registry.LostKey, registry.Registered}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				var slept atomic.Int64
				p := r.process(t, func(cfg *registry.Config) {
					cfg.Boottime = func() time.Duration { return time.Since(r.begin) + time.Duration(slept.Load()) }
				})
				g := p.register(t, "web/n1", 10*time.Second)
				time.Sleep(30 * time.Second)
				slept.Store(int64(test.asleep))
				if _, err := r.client.Revoke(t.Context(), clientv3.LeaseID(g.Status().Lease)); err != nil {
					t.Fatal(err)
				}
				wait(t, 10*time.Second, "back", func() bool { return p.count(registry.Registered) == 2 })
				p.mu.Lock()
				defer p.mu.Unlock()
				var kinds []registry.EventKind
				for _, e := range p.events {
					kinds = append(kinds, e.Kind)
				}
				if !slices.Equal(kinds, test.want) {
					t.Errorf("told %v, want %v", kinds, test.want)
				}
			})
		})
	}
}
