package registry_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hbctl/hbctl/registry"
)

func TestHealthGatesTheRegistration(t *testing.T) {
	for name, sick := range map[string]func(ctx context.Context) error{
		"fails":             func(context.Context) error { return errors.New("disk on fire") },
		"hangs":             func(ctx context.Context) error { <-ctx.Done(); return nil },
		"ignores its limit": func(context.Context) error { time.Sleep(20 * time.Second); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				var ill atomic.Bool
				p := r.process(t)
				g := p.register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) {
					in.HealthInterval, in.HealthTimeout = time.Second, 2*time.Second
					in.Health = func(ctx context.Context) error {
						if ill.Load() {
							return sick(ctx)
						}
						return nil
					}
				})
				other := p.register(t, "vol/node2", 10*time.Second)
				time.Sleep(time.Minute)
				was, trusted := g.Incarnation(), g.Trusted()
				ill.Store(true)
				took := wait(t, 4*time.Second, "down", func() bool { return !r.up(t, "vol/node1") })
				t.Logf("down after %v", took)
				if s := r.row(t, "vol/node1"); cause(s) != "unhealthy" || s.CauseReason == nil {
					t.Errorf("cause %s", cause(s))
				}
				if g.Valid() || trusted.Err() == nil || g.Status().Why == nil {
					t.Error("an unhealthy instance may act")
				}
				time.Sleep(30 * time.Second)
				ill.Store(false)
				wait(t, 25*time.Second, "up again", func() bool { return r.up(t, "vol/node1") && g.Valid() })
				if g.Incarnation() <= was || !other.Valid() {
					t.Errorf("incarnation %d, was %d", g.Incarnation(), was)
				}
				if p.count(registry.Unhealthy) != 1 || p.count(registry.Healthy) != 1 {
					t.Errorf("%d unhealthy and %d healthy events, want one each", p.count(registry.Unhealthy), p.count(registry.Healthy))
				}
			})
		})
	}
}

func TestUnhealthyFromTheStartIsNeverUp(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		_, err := p.Register(t.Context(), registry.Instance{
			Name: registry.Name{Binary: "vol", Host: "node1"}, RegisterTimeout: 5 * time.Second,
			Health: func(context.Context) error { return errors.New("not ready") },
		})
		is(t, err, context.DeadlineExceeded)
		snap, err := registry.List(t.Context(), r.client, registry.ListOptions{})
		if err != nil || len(snap.Services) != 0 {
			t.Errorf("%d rows, %v", len(snap.Services), err)
		}
	})
}

func TestUnhealthyKeepsNoLease(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var ill atomic.Bool
		r.process(t).register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) {
			in.HealthInterval = time.Second
			in.Health = func(context.Context) error {
				if ill.Load() {
					return errors.New("ill")
				}
				return nil
			}
		})
		ill.Store(true)
		wait(t, 3*time.Second, "its lease is revoked", func() bool { return r.leases(t) == 0 })
	})
}

func TestWatchdog(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) { in.Watchdog = 3 * time.Second })
		for range 20 {
			time.Sleep(2 * time.Second)
			g.Pet()
		}
		was := g.Incarnation()
		if !g.Valid() || p.count(registry.Unhealthy) != 0 {
			t.Fatal("down although it was petted in time")
		}
		took := wait(t, 4*time.Second, "down", func() bool { return !r.up(t, "vol/node1") })
		if took < 2900*time.Millisecond {
			t.Errorf("down after %v already, want 3s", took)
		}
		if s := r.row(t, "vol/node1"); cause(s) != "unhealthy" {
			t.Errorf("cause %s", cause(s))
		}
		time.Sleep(time.Minute)
		g.Pet()
		wait(t, time.Second, "up again", func() bool { return g.Valid() && r.up(t, "vol/node1") })
		if g.Incarnation() <= was {
			t.Error("up again as the same incarnation")
		}
		wait(t, 4*time.Second, "down again", func() bool { return !r.up(t, "vol/node1") })
	})
}

func TestWatchdogIsTrippedAndChanged(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) { in.Watchdog = 3 * time.Second })
		was := g.Incarnation()
		g.Trip(errors.New("disk on fire"))
		wait(t, time.Second, "down", func() bool { return !r.up(t, "vol/node1") })
		if s := r.row(t, "vol/node1"); cause(s) != "unhealthy" || *s.CauseReason != "disk on fire" {
			t.Errorf("cause %s, %v", cause(s), s.CauseReason)
		}
		g.Trip(errors.New("still")) // and a Pet that follows a Trip is seen to follow
		g.Pet()
		wait(t, time.Second, "up again", func() bool { return g.Incarnation() > was && r.up(t, "vol/node1") })

		g.SetWatchdog(time.Minute)
		time.Sleep(50 * time.Second)
		if !g.Valid() || p.count(registry.Unhealthy) != 1 {
			t.Error("down although the watchdog has a longer time")
		}
		g.SetWatchdog(time.Second)
		took := wait(t, 3*time.Second, "down", func() bool { return !r.up(t, "vol/node1") })
		if took < 900*time.Millisecond {
			t.Errorf("down after %v already, want 1s", took)
		}
		g.SetWatchdog(0)
		wait(t, time.Second, "up without a watchdog", func() bool { return r.up(t, "vol/node1") })
		g.Trip(errors.New("nobody minds"))
		time.Sleep(time.Minute)
		if !g.Valid() || p.count(registry.Unhealthy) != 2 {
			t.Error("down without a watchdog")
		}
		g.SetWatchdog(2 * time.Second)
		wait(t, 4*time.Second, "down by a new watchdog", func() bool { return !r.up(t, "vol/node1") })
	})
}
