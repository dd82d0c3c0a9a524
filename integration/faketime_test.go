package integration_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// bubble is a real etcd in fake time.
type bubble struct {
	*etcdtest.FakeServer
	client *clientv3.Client // of the test itself
	begin  time.Time
}

func inFakeTime(t *testing.T, test func(t *testing.T, b *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{FakeServer: etcdtest.Fake(t), begin: time.Now()}
		b.client = b.Client()
		test(t, b)
	})
}

// process is a registry on a network of its own.
type process struct {
	*registry.Registry
	net *etcdtest.Client
}

// process starts one. To the others it is on another machine.
func (b *bubble) process(t *testing.T) *process {
	t.Helper()
	p := &process{net: b.NewClient()}
	p.Registry = hbtest.NewRegistry(t, p.net.Client, func(c *registry.Config) {
		c.Boottime = func() time.Duration { return time.Since(b.begin) }
	})
	return p
}

// Guarantee 1: a crash is exactly one down, also for a reader that was away while it happened, and history was compacted.
func TestCrashIsOneDown(t *testing.T) {
	inFakeTime(t, func(t *testing.T, b *bubble) {
		crashing, living := b.process(t), b.process(t)
		dead := hbtest.Register(t, crashing.Registry, hbtest.Node(1), 5*time.Second)
		hbtest.Register(t, living.Registry, hbtest.Node(2), 5*time.Second)
		early := hbtest.Watch(t, b.client, watcher.Now())
		away := hbtest.Watch(t, b.client, watcher.Now())
		away.Stop()

		crashing.net.Gate.Cut()
		crashed := time.Now()
		incarnation := dead.Incarnation()
		if cause := early.Down(7*time.Second, hbtest.Node(1), incarnation); cause != "expired" {
			t.Errorf("cause %s, want expired", cause)
		}
		t.Logf("TTL 5s: down after %v", time.Since(crashed))
		time.Sleep(time.Minute)
		b.Compact(0)

		back := hbtest.Watch(t, b.client, watcher.From(away.Watcher.View()))
		if cause := back.Down(time.Second, hbtest.Node(1), incarnation); cause != "lost" {
			t.Errorf("cause %s of an unseen end, want lost", cause)
		}
		again := hbtest.Watch(t, b.client, watcher.From(back.Watcher.View()))
		time.Sleep(time.Minute)
		early.Consistent()
		for name, w := range map[string]*hbtest.Witness{"early": early, "back": back} {
			if n := w.Count(watcher.Down, registry.Name{}); n != 1 {
				t.Errorf("%s was told %d downs, want 1:\n%s", name, n, w.Story())
			}
		}
		if n := again.Count(watcher.Down, registry.Name{}); n != 0 {
			t.Errorf("a down was told again to who had taken it:\n%s", again.Story())
		}
	})
}

// Guarantee 2: an etcd that is away, or a watcher that is cut off, makes nothing down.
func TestUnreachableIsNotDown(t *testing.T) {
	for name, trouble := range map[string]func(b *bubble, w *etcdtest.Client){
		"etcd away for 3 TTL":       func(b *bubble, _ *etcdtest.Client) { b.Stop(); time.Sleep(15 * time.Second); b.Start() },
		"etcd restarted at 0.7 TTL": func(b *bubble, _ *etcdtest.Client) { time.Sleep(3500 * time.Millisecond); b.Restart() },
		"watcher cut off": func(_ *bubble, w *etcdtest.Client) {
			w.Gate.Cut()
			time.Sleep(time.Minute)
			w.Gate.Break()
			w.Gate.Heal()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, b *bubble) {
				p := b.process(t)
				var regs []*registry.Registration
				for i := range 10 {
					regs = append(regs, hbtest.Register(t, p.Registry, hbtest.Node(i), 5*time.Second))
				}
				net := b.NewClient()
				w := hbtest.Watch(t, net.Client, watcher.Now())
				trouble(b, net)
				time.Sleep(30 * time.Second)
				if n := w.Count(watcher.Down, registry.Name{}); n != 0 {
					t.Errorf("%d false downs:\n%s", n, w.Story())
				}
				stale, live := w.Told(watcher.Stale), w.Told(watcher.Live)
				if stale != live || stale == 0 && name != "etcd restarted at 0.7 TTL" { // over in less than it takes to be stale
					t.Errorf("told stale %d and live %d times", stale, live)
				}
				for _, g := range regs {
					if !g.Valid() {
						t.Errorf("%s is not trusted again", g.Name())
					}
				}
			})
		})
	}
}

// A death while etcd restarts is told when the leases that the restart renewed have run out, and not before.
func TestDeathAroundARestart(t *testing.T) {
	inFakeTime(t, func(t *testing.T, b *bubble) {
		p := b.process(t)
		g := hbtest.Register(t, p.Registry, hbtest.Node(1), 5*time.Second)
		w := hbtest.Watch(t, b.client, watcher.Now())
		p.net.Gate.Cut()
		time.Sleep(3500 * time.Millisecond)
		b.Restart()
		restarted := time.Now()
		if cause := w.Down(10*time.Second, hbtest.Node(1), g.Incarnation()); cause != "expired" {
			t.Errorf("cause %s", cause)
		}
		// The full TTL again, the election timeout that a new leader adds, and the expiry scan.
		if took := time.Since(restarted); took < 4*time.Second || took > 7500*time.Millisecond {
			t.Errorf("down %v after the restart", took)
		}
	})
}

// Guarantee 3: the holder knows that it is fenced before anyone sees it down.
func TestFencedBeforeDown(t *testing.T) {
	smallest := time.Hour
	for _, ttl := range []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second} {
		inFakeTime(t, func(t *testing.T, b *bubble) {
			const holders = 30
			fenced := make(chan time.Time, holders)
			w := hbtest.Watch(t, b.client, watcher.Now())
			for i := range holders {
				p := b.process(t)
				g := hbtest.Register(t, p.Registry, hbtest.Node(i), ttl)
				time.AfterFunc(5*time.Second+time.Duration(i)*97*time.Millisecond, func() {
					context.AfterFunc(g.Trusted(), func() { fenced <- time.Now() })
					p.net.Gate.Cut()
				})
			}
			w.Await(20*time.Second, "all are down", func(watcher.Batch) bool {
				return w.Count(watcher.Down, registry.Name{}) == holders
			})
			fences := map[int]time.Time{}
			for i := range holders {
				fences[i] = <-fenced
			}
			// The n-th to be cut is the n-th to be fenced only roughly, so each down is held against the fences before it.
			downs := 0
			for _, batch := range w.Batches() {
				for _, e := range batch.Events {
					if e.Kind == watcher.Down {
						before := 0
						for _, at := range fences {
							if at.Before(batch.ObservedAt) {
								before++
							}
						}
						if downs++; before < downs {
							t.Errorf("TTL %v: %d downs were told when %d holders were fenced", ttl, downs, before)
						}
						smallest = min(smallest, batch.ObservedAt.Sub(fences[downs-1]))
					}
				}
			}
		})
	}
	t.Logf("smallest lead of a fence over its down: %v", smallest)
}

// Guarantee 4: what the events add up to is what a list at the same revision has.
func TestFoldEqualsList(t *testing.T) {
	inFakeTime(t, func(t *testing.T, b *bubble) {
		w := hbtest.Watch(t, b.client, watcher.Now())
		p, q := b.process(t), b.process(t)
		first := hbtest.Register(t, p.Registry, hbtest.Node(1), 2*time.Second)
		hbtest.Register(t, q.Registry, hbtest.Node(2), 2*time.Second, func(in *registry.Instance) { in.Labels = map[string]string{"a": "b"} })
		third := hbtest.Register(t, p.Registry, hbtest.Node(3), 2*time.Second)
		put(t, b.client, "/hb/admin/vol/node002", `{"schema":1,"disabled":{"reason":"r"}}`)
		if err := first.Update(t.Context(), func(in *registry.Instance) { in.Zone = "az2" }); err != nil {
			t.Fatal(err)
		}
		put(t, b.client, "/hb/admin/vol/node003", `{"schema":1,"forced_down":{"reason":"r"}}`)
		q.net.Gate.Cut()
		time.Sleep(10 * time.Second)
		if err := hbtest.CloseWithin(5*time.Second, third.Close); err != nil {
			t.Fatal(err)
		}
		remove(t, b.client, "/hb/admin/vol/node003")
		put(t, b.client, "/hb/instances/vol/node004", `{"schema":1,"zone":"z"}`)
		remove(t, b.client, "/hb/instances/vol/node004")
		put(t, b.client, "/hb/junk", "x")
		last := revisionOf(t, b.client)
		w.Await(5*time.Second, "the last revision", func(batch watcher.Batch) bool { return batch.Revision >= last-1 })
		time.Sleep(3 * time.Second)
		w.Consistent()
		compareFold(t, b.client, w)
	})
}

// compareFold holds the fold of the witness' batches against a list at each of their revisions.
func compareFold(t *testing.T, client *clientv3.Client, w *hbtest.Witness) {
	t.Helper()
	fold := map[registry.Name]registry.Service{}
	compared := 0
	for _, batch := range w.Batches() {
		if batch.Kind == watcher.Snapshot {
			clear(fold)
			for _, s := range batch.Services {
				fold[s.Name()] = s
			}
		}
		for _, e := range batch.Events {
			switch e.Kind {
			case watcher.Forgotten:
				delete(fold, e.Name)
			case watcher.Warning:
			default:
				fold[e.Name] = e.Service
			}
		}
		snap, err := registry.List(t.Context(), client, registry.ListOptions{Revision: batch.Revision})
		if err != nil {
			t.Fatal(err)
		}
		if len(snap.Services) != len(fold) {
			t.Errorf("r%d: the list has %d rows, the fold %d", batch.Revision, len(snap.Services), len(fold))
		}
		for _, s := range snap.Services {
			if got, want := essence(fold[s.Name()]), essence(s); got != want {
				t.Errorf("r%d: %s\n fold %s\n list %s", batch.Revision, s.Name(), got, want)
			}
		}
		compared++
	}
	if compared < 8 {
		t.Errorf("only %d revisions were compared", compared)
	}
}

// essence is what fold and list must agree on.
func essence(s registry.Service) string {
	return fmt.Sprint(s.Binary, s.Host, deref(s.Zone), s.Labels, s.Endpoints, deref(s.Status), s.State, deref(s.Incarnation))
}

func deref[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// Guarantee 5: a clean stop is never a crash, and a crash never a clean stop.
func TestCleanStopIsToldFromACrash(t *testing.T) {
	inFakeTime(t, func(t *testing.T, b *bubble) {
		w := hbtest.Watch(t, b.client, watcher.Now())
		for i := range 20 {
			p := b.process(t)
			g := hbtest.Register(t, p.Registry, hbtest.Node(i), 2*time.Second)
			incarnation := g.Incarnation()
			want := "left"
			if i%2 == 0 {
				p.net.Gate.Cut()
				want = "expired"
				// A stop that can't reach etcd ends as a crash.
				if err := hbtest.CloseWithin(time.Second, g.Close); !errors.Is(err, registry.ErrLeaving) {
					t.Errorf("Close without a network: %v, want ErrLeaving", err)
				}
			} else if err := hbtest.CloseWithin(time.Second, g.Close); err != nil {
				t.Error(err)
			}
			if got := w.Down(5*time.Second, hbtest.Node(i), incarnation); got != want {
				t.Errorf("%s: cause %s, want %s", hbtest.Node(i), got, want)
			}
		}
		w.Consistent()
	})
}

// Guarantee 7: a stale holder changes nothing that is its successor's.
func TestStaleHolderHurtsNobody(t *testing.T) {
	inFakeTime(t, func(t *testing.T, b *bubble) {
		p := b.process(t)
		old := hbtest.Register(t, p.Registry, hbtest.Node(1), 5*time.Second)
		oldIncarnation := old.Incarnation()
		p.net.Gate.Cut()
		successor := hbtest.Register(t, b.process(t).Registry, hbtest.Node(1), 5*time.Second)
		before := keys(t, b.client)
		// The old holder wakes up, and all that it had to say arrives late: a change, its leave, its renewals.
		go func() { _ = old.Update(context.Background(), func(in *registry.Instance) { in.Zone = "old" }) }()
		_ = hbtest.CloseWithin(time.Second, old.Close)
		p.net.Gate.Heal()
		<-old.Done()
		time.Sleep(20 * time.Second)
		if after := keys(t, b.client); after != before {
			t.Errorf("the old holder (incarnation %d) wrote:\nbefore %s\nafter  %s", oldIncarnation, before, after)
		}
		if !successor.Valid() || hbtest.List(t, b.client)[hbtest.Node(1)].State != registry.Up {
			t.Error("the successor was hurt")
		}
	})
}

// keys gives all alive keys and records with their revisions.
func keys(t testing.TB, client *clientv3.Client) string {
	t.Helper()
	resp, err := client.Get(context.Background(), "/hb/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	s := ""
	for _, kv := range resp.Kvs {
		s += fmt.Sprintf("%s@%d ", kv.Key, kv.ModRevision)
	}
	return s
}

func put(t testing.TB, client *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := client.Put(context.Background(), key, value); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, client *clientv3.Client, key string) {
	t.Helper()
	if _, err := client.Delete(context.Background(), key); err != nil {
		t.Fatal(err)
	}
}

func revisionOf(t testing.TB, client *clientv3.Client) int64 {
	t.Helper()
	resp, err := client.Get(context.Background(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}
