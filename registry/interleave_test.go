package registry_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hbctl/hbctl/registry"
)

// Here the answer to a transaction comes late, is lost, or the transaction itself comes late, and something else happens
// meanwhile. Whatever it was, in the end a registration must think of itself what etcd says of it.

// commit carries out a transaction.
type commit func() error

// meddler is on a client's way to etcd, and lets a test meddle with transactions.
type meddler struct {
	meddle atomic.Pointer[func(ops string, do commit) error]
}

// with makes the test's function carry out each transaction from now on. Ops names what it does, as "put /hb/alive/vol/node1".
func (m *meddler) with(f func(ops string, do commit) error) { m.meddle.Store(&f) }

// intercept is the client's.
func (m *meddler) intercept(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	txn := registry.TxnOf(req)
	if txn == nil {
		return invoke(ctx, method, req, reply, conn, opts...)
	}
	do := func() error { return invoke(context.WithoutCancel(ctx), method, req, reply, conn, opts...) }
	if f := m.meddle.Load(); f != nil {
		return (*f)(strings.Join(note(txn.Success), ","), do)
	}
	return do()
}

func note(ops []*pb.RequestOp) (told []string) {
	for _, op := range ops {
		switch what := op.Request.(type) {
		case *pb.RequestOp_RequestTxn:
			told = append(told, note(what.RequestTxn.Success)...)
		case *pb.RequestOp_RequestPut:
			told = append(told, "put "+string(what.RequestPut.Key))
		case *pb.RequestOp_RequestDeleteRange:
			told = append(told, "delete "+string(what.RequestDeleteRange.Key))
		case *pb.RequestOp_RequestRange:
			told = append(told, "get "+string(what.RequestRange.Key))
		}
	}
	return told
}

const (
	putsAlive    = "put /hb/alive/vol/node1"
	deletesAlive = "delete /hb/alive/vol/node1"
)

// meddled starts a process whose client is a meddler.
func (r *rig) meddled(t *testing.T, configure ...func(*registry.Config)) (*process, *meddler) {
	t.Helper()
	m := &meddler{}
	p := &process{net: r.server.NewClient(func(c *clientv3.Config) {
		c.DialOptions = append(c.DialOptions, grpc.WithChainUnaryInterceptor(m.intercept))
	})}
	r.start(t, p, p.net.Client, configure...)
	return p, m
}

// slowAnswers delays the answers to transactions that have the op.
func slowAnswers(op string) func(string, commit) error {
	return func(ops string, do commit) error {
		err := do()
		if strings.Contains(ops, op) {
			time.Sleep(300 * time.Millisecond)
		}
		return err
	}
}

func undisturbed(_ string, do commit) error { return do() }

// agrees fails unless the registration and etcd say the same after a while.
func (r *rig) agrees(t *testing.T, g *registry.Registration) {
	t.Helper()
	time.Sleep(time.Minute)
	s := r.row(t, g.Name().String())
	mine := s.State == registry.Up && *s.Incarnation == g.Incarnation()
	if g.Valid() != mine || g.Status().Registered != mine {
		t.Errorf("a minute later: Valid %v, Registered %v as %d, but the row is %s (cause %s)",
			g.Valid(), g.Status().Registered, g.Incarnation(), s.State, cause(s))
	}
}

func TestAnswerOvertakenByNews(t *testing.T) {
	for name, happens := range map[string]func(t *testing.T, r *rig, g *registry.Registration){
		"deleted again": func(t *testing.T, r *rig, _ *registry.Registration) { r.delete(t, "/hb/alive/vol/node1") },
		"taken over": func(t *testing.T, r *rig, _ *registry.Registration) {
			r.process(t, elsewhere).register(t, "vol/node1", 10*time.Second, policy(registry.Takeover))
		},
		"closed": func(t *testing.T, _ *rig, g *registry.Registration) { mustClose(t, g.Close) },
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				p, m := r.meddled(t)
				g := p.register(t, "vol/node1", 10*time.Second)
				p.register(t, "vol/node2", 10*time.Second) // shares the lease, and keeps it alive
				time.Sleep(5 * time.Second)
				m.with(slowAnswers(putsAlive))
				r.delete(t, "/hb/alive/vol/node1")
				wait(t, time.Second, "put back", func() bool { return r.up(t, "vol/node1") })
				happens(t, r, g)
				m.with(undisturbed)
				r.agrees(t, g)
			})
		})
	}
}

func TestReadOvertakenByNews(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, m := r.meddled(t)
		g := p.register(t, "vol/node1", 5*time.Second)
		time.Sleep(5 * time.Second)
		var once atomic.Bool
		m.with(func(ops string, do commit) error {
			err := do()
			if err == nil && ops == "" && once.CompareAndSwap(false, true) {
				_, _ = r.client.Delete(context.Background(), "/hb/alive/vol/node1")
				time.Sleep(300 * time.Millisecond)
			}
			return err
		})
		r.server.Stop()
		time.Sleep(8 * time.Second) // fenced, so that the keys are read back
		r.server.Start()
		r.agrees(t, g)
		if !once.Load() || !g.Valid() {
			t.Errorf("read back %v, Valid %v", once.Load(), g.Valid())
		}
	})
}

func TestGateShutWhilePutIsUnderWay(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, m := r.meddled(t)
		var ill atomic.Bool
		g := p.register(t, "vol/node1", 10*time.Second, sickWhen(&ill))
		p.register(t, "vol/node2", 10*time.Second)
		time.Sleep(5 * time.Second)
		m.with(slowAnswers(putsAlive))
		r.delete(t, "/hb/alive/vol/node1")
		wait(t, time.Second, "put back", func() bool { return r.up(t, "vol/node1") })
		ill.Store(true)
		r.agrees(t, g)
		if g.Valid() {
			t.Error("an ill instance may act")
		}
	})
}

func sickWhen(ill *atomic.Bool) func(*registry.Instance) {
	return func(in *registry.Instance) {
		in.HealthInterval = 100 * time.Millisecond
		in.Health = func(context.Context) error {
			if ill.Load() {
				return errors.New("ill")
			}
			return nil
		}
	}
}

// The end of an incarnation that was sent to etcd may be committed late. The instance must not be trusted again as the same
// one, however healthy it is by then.
func TestNoWayBackFromAWithdrawal(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, m := r.meddled(t)
		var ill atomic.Bool
		g := p.register(t, "vol/node1", 10*time.Second, sickWhen(&ill))
		p.register(t, "vol/node2", 10*time.Second)
		time.Sleep(5 * time.Second)
		was := g.Incarnation()
		var once atomic.Bool
		m.with(func(ops string, do commit) error {
			if !strings.Contains(ops, deletesAlive) || !once.CompareAndSwap(false, true) {
				return do()
			}
			time.AfterFunc(2*time.Second, func() {
				if g.Valid() && g.Incarnation() == was {
					t.Error("trusted again as the incarnation whose end is under way")
				}
				_ = do()
			})
			ill.Store(false)
			time.Sleep(time.Second)
			return context.DeadlineExceeded
		})
		ill.Store(true)
		time.Sleep(time.Second)
		r.agrees(t, g)
		if !g.Valid() || g.Incarnation() == was {
			t.Errorf("Valid %v as %d, was %d", g.Valid(), g.Incarnation(), was)
		}
	})
}

// A put that was given up must not come true behind everybody's back, and what makes it fail must not touch what others wrote.
func TestLatePutIsSealedOff(t *testing.T) {
	for name, meanwhile := range map[string]func(t *testing.T, r *rig){
		"nobody else": func(*testing.T, *rig) {},
		"another came and failed": func(t *testing.T, r *rig) {
			other := r.process(t, elsewhere).register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) { in.Zone = "theirs" })
			mustClose(t, func(ctx context.Context) error { return other.Fail(ctx, "broken") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				p, m := r.meddled(t)
				p.register(t, "vol/node2", 10*time.Second) // keeps the lease alive that the late put is bound to
				var late atomic.Pointer[commit]
				m.with(func(ops string, do commit) error {
					if strings.Contains(ops, putsAlive) && late.CompareAndSwap(nil, &do) {
						meanwhile(t, r)
						return context.DeadlineExceeded
					}
					if strings.Contains(ops, putsAlive) {
						return context.DeadlineExceeded
					}
					return do()
				})
				in := named("vol/node1", 10*time.Second, registry.Fail)
				in.RegisterTimeout = 200 * time.Millisecond
				if _, err := p.Register(t.Context(), in); err == nil {
					t.Fatal("registered without an answer")
				}
				time.Sleep(2 * time.Second)
				if err := (*late.Load())(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				s := r.row(t, "vol/node1")
				if s.State == registry.Up {
					t.Error("a put that was given up came true, and nobody will take it back")
				}
				if name != "nobody else" && (*s.Zone != "theirs" || cause(s) != "failed") {
					t.Errorf("the other one's record was overwritten: zone %s, cause %s", *s.Zone, cause(s))
				}
			})
		})
	}
}

func TestWatchdogBeginsWithTheRegistration(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		first := r.process(t)
		first.register(t, "vol/node1", 10*time.Second)
		first.crash()
		// While it waits for the dead holder's lease there is nobody who could pet it.
		g := r.process(t, elsewhere).register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) {
			in.Watchdog, in.RegisterTimeout = 3*time.Second, time.Minute
		})
		if !g.Valid() {
			t.Error("registered, and may not act")
		}
	})
}

func TestOneRefusedNameHurtsNoOther(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, m := r.meddled(t, func(c *registry.Config) { c.ReportInterval = 10 * time.Second })
		p.register(t, "vol/node1", 10*time.Second)
		g := p.register(t, "vol/node2", 10*time.Second)
		time.Sleep(time.Second)
		m.with(func(ops string, do commit) error {
			if strings.Contains(ops, "/vol/node1") {
				return rpctypes.ErrPermissionDenied
			}
			return do()
		})
		time.Sleep(time.Minute)
		if n := *r.row(t, "vol/node2").ReportCount; n < 5 {
			t.Errorf("report_count %d after a minute of reports every 10s", n)
		}
		r.server.Stop()
		time.Sleep(15 * time.Second)
		r.server.Start()
		wait(t, 5*time.Second, "the other one is trusted again", g.Valid)
	})
}

// What can't be read can't be trusted: whoever acts on events alone is told that too, and when it is over, and hears why etcd
// does not renew his lease meanwhile.
func TestUnreadableIsFenced(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, m := r.meddled(t)
		m.with(func(ops string, do commit) error {
			if !strings.Contains(ops, "put ") {
				return rpctypes.ErrPermissionDenied // as if the right to read was revoked before the keys were watched
			}
			return do()
		})
		g := p.register(t, "vol/node1", 10*time.Second)
		was := g.Incarnation()
		trusted := g.Trusted()
		time.Sleep(3 * time.Second)
		if trusted.Err() == nil || p.count(registry.Fenced) != 1 || !errors.Is(p.last(registry.Fenced).Err, rpctypes.ErrPermissionDenied) {
			t.Errorf("trusted until %v, told of %d fences, the last for %v", context.Cause(trusted), p.count(registry.Fenced), p.last(registry.Fenced).Err)
		}
		m.with(undisturbed)
		wait(t, 5*time.Second, "trusted again", g.Valid)
		if g.Incarnation() != was || p.count(registry.Registered) != 1 || p.count(registry.Trusted) != 1 || p.last(registry.Trusted).Incarnation != was {
			t.Errorf("incarnation %d after %d, told %d times that it is registered, %d times that it is trusted", g.Incarnation(), was, p.count(registry.Registered), p.count(registry.Trusted))
		}
	})
}

// A fence is told once, whatever ends the trust first: the lease, or that its key may not be read when the lease is renewed again.
func TestFenceIsToldOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, m := r.meddled(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		time.Sleep(3 * time.Second) // its keys are watched, and were read
		r.server.Stop()
		time.Sleep(15 * time.Second)
		m.with(func(ops string, do commit) error {
			if !strings.Contains(ops, "put ") {
				return rpctypes.ErrPermissionDenied
			}
			return do()
		})
		r.server.Start()
		time.Sleep(3 * time.Second)
		if g.Valid() || p.count(registry.Fenced) != 1 {
			t.Errorf("valid %v, told of %d fences", g.Valid(), p.count(registry.Fenced))
		}
		m.with(undisturbed)
		wait(t, 5*time.Second, "trusted again", g.Valid)
		if p.count(registry.Trusted) != 1 || p.count(registry.Registered) != 1 {
			t.Errorf("told %d times that it is trusted, %d times that it is registered", p.count(registry.Trusted), p.count(registry.Registered))
		}
	})
}

// A store that begins anew counts anew: that an incarnation has the number of one before does not make it the same.
func TestSameNumberInAnotherStore(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		was := g.Incarnation()
		r.server.Wipe()
		wait(t, time.Minute, "registered again", func() bool { return p.count(registry.Registered) == 2 && g.Valid() })
		if g.Incarnation() != was || p.count(registry.Trusted) != 0 {
			t.Errorf("incarnation %d after %d, told %d times that it is trusted", g.Incarnation(), was, p.count(registry.Trusted))
		}
	})
}

// A foreign record that fills the value up must keep nobody from writing his own.
func TestRecordFilledUpByOthers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		junk := `{"schema":1,"filler":"` + strings.Repeat("x", registry.MaxValueBytes-100) + `"}`
		if _, err := r.client.Put(t.Context(), "/hb/instances/vol/node1", junk); err != nil {
			t.Fatal(err)
		}
		wait(t, 2*time.Second, "mended", func() bool { return r.row(t, "vol/node1").Zone != nil })
		mustClose(t, g.Close)
	})
}

// Two who write one record are not to rewrite each other's without end, and what matters must not wait for it.
func TestFightOverARecord(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		var ill atomic.Bool
		p.register(t, "vol/node1", 10*time.Second, sickWhen(&ill))
		before := r.revision(t)
		for range 100 {
			if _, err := r.client.Put(t.Context(), "/hb/instances/vol/node1", `{"schema":1}`); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if ours := r.revision(t) - before - 100; ours < 5 || ours > 15 {
			t.Errorf("%d writes against 100 foreign ones in 10s, want about one a second", ours)
		}
		ill.Store(true)
		for i := 0; r.up(t, "vol/node1"); i++ {
			if i > 10 {
				t.Fatal("still up a second after its health check failed")
			}
			if _, err := r.client.Put(t.Context(), "/hb/instances/vol/node1", `{"schema":1}`); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

func TestIdleWatchIsLeftAlone(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var opened atomic.Int64
		count := func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			if strings.HasSuffix(method, "Watch/Watch") {
				opened.Add(1)
			}
			return open(ctx, d, cc, method, o...)
		}
		p := &process{net: r.server.NewClient(func(c *clientv3.Config) {
			c.DialOptions = append(c.DialOptions, grpc.WithChainStreamInterceptor(count))
		})}
		r.start(t, p, p.net.Client)
		for i := range 20 {
			p.register(t, sprint(i), 10*time.Second)
		}
		time.Sleep(10 * time.Minute)
		if n := opened.Load(); n != 1 {
			t.Errorf("%d watch streams in ten idle minutes, want 1", n)
		}
	})
}

func TestCloseTwiceAndLate(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		trusted := g.Trusted()
		r.server.Stop()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		is(t, p.Close(ended), registry.ErrLeaving)
		is(t, p.Close(t.Context()), registry.ErrLeaving)
		if g.Valid() || trusted.Err() == nil || !errors.Is(g.Err(), registry.ErrClosed) {
			t.Errorf("after Close: Valid %v, Trusted %v, Err %v", g.Valid(), trusted.Err(), g.Err())
		}
		_, err := p.Register(t.Context(), registry.Instance{Name: g.Name()})
		is(t, err, registry.ErrClosed)
		r.server.Start()
	})
}

// waits is a context that counts who waits for its end, and lets nobody wait in another way.
type waits struct {
	context.Context
	open *atomic.Int32
}

func (w waits) Value(any) any { return nil }

func (w waits) AfterFunc(f func()) func() bool {
	w.open.Add(1)
	stop := context.AfterFunc(w.Context, f)
	return func() bool { w.open.Add(-1); return stop() }
}

// However a Registry is closed: a context that lives on must not keep it, nor what it held.
func TestCloseLetsGoOfContexts(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		var open atomic.Int32
		for i := range 10 { // whether the registry still hears of the end is left to chance
			p := r.process(t)
			in := registry.Instance{Name: registry.Name{Binary: "vol", Host: sprint(i)[4:]}}
			g, err := p.Register(waits{t.Context(), &open}, in)
			if err != nil || open.Load() != 1 {
				t.Fatalf("%v; %d wait for the context", err, open.Load())
			}
			p.net.Gate.Cut()
			busy, free := make(chan struct{}), make(chan struct{})
			go func() { _ = g.Update(t.Context(), func(*registry.Instance) { close(busy); <-free }) }()
			<-busy
			time.AfterFunc(time.Second, func() { close(free) })
			is(t, p.Close(ended), registry.ErrLeaving)
			if n := open.Swap(0); n != 0 {
				t.Fatalf("%d wait for the context after Close", n)
			}
		}
	})
}

// The record goes after the put was committed and before its answer is there: nobody else would ever miss it.
func TestRecordGoesBeforeTheAnswer(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, r *rig){
		"deleted":     func(t *testing.T, r *rig) { r.delete(t, "/hb/instances/vol/node1") },
		"overwritten": func(t *testing.T, r *rig) { r.put(t, "/hb/instances/vol/node1", "junk") },
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, func(t *testing.T, r *rig) {
				p, m := r.meddled(t)
				g := p.register(t, "vol/node1", 10*time.Second)
				time.Sleep(time.Second)
				var once atomic.Bool
				m.with(func(ops string, do commit) error {
					err := do()
					if strings.Contains(ops, putsAlive) && !once.Swap(true) {
						change(t, r)
						time.Sleep(300 * time.Millisecond)
					}
					return err
				})
				r.delete(t, "/hb/alive/vol/node1")
				wait(t, 2*time.Second, "put back and mended", func() bool {
					snap := mustList(t, r.client, registry.ListOptions{})
					return once.Load() && g.Valid() && len(snap.Warnings) == 0 && snap.Services[0].Zone != nil
				})
				r.agrees(t, g)
			})
		})
	}
}
