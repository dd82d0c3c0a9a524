package registry_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hbctl/hbctl/registry"
)

var _ = rpctypes.ErrPermissionDenied
var _ = strings.Contains
var _ sync.Mutex
var _ = errors.Is

type hooked struct {
	*clientv3.Client
	hook atomic.Pointer[func(ops []clientv3.Op, do func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error)]
}

type hookedTxn struct {
	clientv3.Txn
	h   *hooked
	ops []clientv3.Op
}

func (h *hooked) Txn(ctx context.Context) clientv3.Txn {
	return &hookedTxn{Txn: h.Client.Txn(context.WithoutCancel(ctx)), h: h}
}
func (t *hookedTxn) If(c ...clientv3.Cmp) clientv3.Txn   { t.Txn = t.Txn.If(c...); return t }
func (t *hookedTxn) Else(o ...clientv3.Op) clientv3.Txn  { t.Txn = t.Txn.Else(o...); return t }
func (t *hookedTxn) Then(o ...clientv3.Op) clientv3.Txn {
	for _, op := range o {
		if op.IsTxn() {
			_, then, _ := op.Txn()
			t.ops = append(t.ops, then...)
		} else {
			t.ops = append(t.ops, op)
		}
	}
	t.Txn = t.Txn.Then(o...)
	return t
}
func (t *hookedTxn) Commit() (*clientv3.TxnResponse, error) {
	if f := t.h.hook.Load(); f != nil {
		return (*f)(t.ops, t.Txn.Commit)
	}
	return t.Txn.Commit()
}
func (h *hooked) set(f func(ops []clientv3.Op, do func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error)) {
	if f == nil {
		h.hook.Store(nil)
		return
	}
	h.hook.Store(&f)
}

func has(ops []clientv3.Op, put, del bool, key string) bool {
	for _, o := range ops {
		if string(o.KeyBytes()) == key && (put && o.IsPut() || del && o.IsDelete() || !put && !del) {
			return true
		}
	}
	return false
}

func (r *rig) hooked(t *testing.T, configure ...func(*registry.Config)) (*process, *hooked) {
	t.Helper()
	p := &process{net: r.server.NewClient()}
	h := &hooked{Client: p.net.Client}
	cfg := registry.Config{ReportInterval: -1, Boottime: func() time.Duration { return time.Since(r.begin) },
		OnEvent: func(e registry.Event) { p.mu.Lock(); p.events = append(p.events, e); p.mu.Unlock() }}
	for _, c := range configure {
		c(&cfg)
	}
	reg, err := registry.New(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Registry = reg
	t.Cleanup(func() {
		h.set(nil)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p, h
}

func TestZZIdleWatchReopens(t *testing.T) {
	for _, n := range []int{1, 20} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			var opens atomic.Int64
			c := r.server.NewClient(func(c *clientv3.Config) {
				c.DialOptions = append(c.DialOptions, grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, s grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
					if strings.HasSuffix(m, "Watch/Watch") {
						opens.Add(1)
					}
					return s(ctx, d, cc, m, o...)
				}))
			})
			reg, err := registry.New(c.Client, registry.Config{ReportInterval: -1, Boottime: func() time.Duration { return time.Since(r.begin) }})
			if err != nil {
				t.Fatal(err)
			}
			defer reg.Close(t.Context())
			p := &process{Registry: reg}
			for i := range n {
				p.register(t, sprint(i), 10*time.Second)
			}
			time.Sleep(60 * time.Second)
			t.Logf("%d regs, idle cluster: %d watch streams opened in 60s", n, opens.Load())
			was := opens.Load()
			_, _ = r.client.Put(t.Context(), "x", "y")
			time.Sleep(60 * time.Second)
			t.Logf("after one foreign write: %d more in 60s", opens.Load()-was)
		})
	}
}

// a delete between the commit of a put-back and its answer
func TestZZDeleteBeforePutAnswer(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, h := r.hooked(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		time.Sleep(5 * time.Second)
		h.set(func(ops []clientv3.Op, do func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			resp, err := do()
			if has(ops, true, false, "/hb/alive/vol/node1") {
				time.Sleep(300 * time.Millisecond)
			}
			return resp, err
		})
		r.delete(t, "/hb/alive/vol/node1")
		wait(t, time.Second, "back", func() bool { return r.up(t, "vol/node1") })
		r.delete(t, "/hb/alive/vol/node1")
		h.set(nil)
		time.Sleep(10 * time.Minute)
		t.Logf("10 min later: Valid %v, Registered %v, row up %v, registered events %d", g.Valid(), g.Status().Registered, r.up(t, "vol/node1"), p.count(registry.Registered))
	})
}

func TestZZTakeoverBeforePutAnswer(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, h := r.hooked(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		time.Sleep(5 * time.Second)
		h.set(func(ops []clientv3.Op, do func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			resp, err := do()
			if has(ops, true, false, "/hb/alive/vol/node1") {
				time.Sleep(300 * time.Millisecond)
			}
			return resp, err
		})
		r.delete(t, "/hb/alive/vol/node1")
		wait(t, time.Second, "back", func() bool { return r.up(t, "vol/node1") })
		g2 := r.process(t, elsewhere).register(t, "vol/node1", 10*time.Second, policy(registry.Takeover))
		h.set(nil)
		time.Sleep(10 * time.Minute)
		t.Logf("10 min later: old Valid %v inc %d err %v; successor Valid %v inc %d", g.Valid(), g.Incarnation(), g.Err(), g2.Valid(), g2.Incarnation())
	})
}

// a read in flight that began before the delete
func TestZZDeleteDuringRead(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, h := r.hooked(t)
		g := p.register(t, "vol/node1", 5*time.Second)
		was := g.Incarnation()
		time.Sleep(5 * time.Second)
		var held atomic.Bool
		h.set(func(ops []clientv3.Op, do func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			resp, err := do()
			if err == nil && !has(ops, true, false, "/hb/alive/vol/node1") && held.CompareAndSwap(false, true) {
				_, _ = r.client.Delete(context.Background(), "/hb/alive/vol/node1")
				time.Sleep(300 * time.Millisecond)
			}
			return resp, err
		})
		r.server.Stop()
		time.Sleep(8 * time.Second)
		r.server.Start()
		time.Sleep(10 * time.Minute)
		t.Logf("held %v: Valid %v, inc %d (was %d), row up %v, lost events %d", held.Load(), g.Valid(), g.Incarnation(), was, r.up(t, "vol/node1"), p.count(registry.LostKey))
	})
}

func TestZZCloseDuringPut(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, h := r.hooked(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		p.register(t, "vol/node2", 10*time.Second)
		time.Sleep(5 * time.Second)
		h.set(func(ops []clientv3.Op, do func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			resp, err := do()
			if has(ops, true, false, "/hb/alive/vol/node1") {
				time.Sleep(300 * time.Millisecond)
			}
			return resp, err
		})
		r.delete(t, "/hb/alive/vol/node1")
		wait(t, time.Second, "back", func() bool { return r.up(t, "vol/node1") })
		mustClose(t, g.Close)
		time.Sleep(10 * time.Minute)
		t.Logf("10 min after Close returned nil: Valid %v, Registered %v, Err %v, Trusted err %v, row up %v", g.Valid(), g.Status().Registered, g.Err(), g.Trusted().Err(), r.up(t, "vol/node1"))
	})
}

func TestZZGateShutDuringPut(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, h := r.hooked(t)
		var ill atomic.Bool
		g := p.register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) {
			in.HealthInterval = 100 * time.Millisecond
			in.Health = func(context.Context) error {
				if ill.Load() {
					return errors.New("ill")
				}
				return nil
			}
		})
		p.register(t, "vol/node2", 10*time.Second)
		time.Sleep(5 * time.Second)
		h.set(func(ops []clientv3.Op, do func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			resp, err := do()
			if has(ops, true, false, "/hb/alive/vol/node1") {
				time.Sleep(300 * time.Millisecond)
			}
			return resp, err
		})
		r.delete(t, "/hb/alive/vol/node1")
		wait(t, time.Second, "back", func() bool { return r.up(t, "vol/node1") })
		ill.Store(true)
		time.Sleep(10 * time.Minute)
		t.Logf("10 min later: Valid %v, row up %v cause %s", g.Valid(), r.up(t, "vol/node1"), cause(r.row(t, "vol/node1")))
	})
}

func TestZZLateWithdraw(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, h := r.hooked(t)
		var ill atomic.Bool
		g := p.register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) {
			in.HealthInterval = 500 * time.Millisecond
			in.Health = func(context.Context) error {
				if ill.Load() {
					return errors.New("ill")
				}
				return nil
			}
		})
		p.register(t, "vol/node2", 10*time.Second)
		time.Sleep(5 * time.Second)
		was := g.Incarnation()
		var once atomic.Bool
		h.set(func(ops []clientv3.Op, do func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
			if has(ops, false, true, "/hb/alive/vol/node1") && once.CompareAndSwap(false, true) {
				go func() {
					ill.Store(false)
					time.Sleep(1500 * time.Millisecond)
					t.Logf("before the late withdrawal: Valid %v inc %d (was %d)", g.Valid(), g.Incarnation(), was)
					resp, err := do()
					t.Logf("late withdrawal committed: %v %v; now Valid %v", resp.Succeeded, err, g.Valid())
				}()
				time.Sleep(100 * time.Millisecond)
				ill.Store(false)
				time.Sleep(900 * time.Millisecond)
				return nil, context.DeadlineExceeded
			}
			return do()
		})
		ill.Store(true)
		time.Sleep(20 * time.Second)
		t.Logf("end: Valid %v inc %d", g.Valid(), g.Incarnation())
	})
}

func TestZZWatchdogWhileJoining(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		first := r.process(t)
		first.register(t, "vol/node1", 10*time.Second)
		first.crash()
		in := named("vol/node1", 10*time.Second, registry.Wait)
		in.Watchdog, in.RegisterTimeout = 3*time.Second, 10*time.Minute
		begin := time.Now()
		_, err := r.process(t, elsewhere).Register(t.Context(), in)
		t.Logf("after %v: %v", time.Since(begin), err)
	})
}
