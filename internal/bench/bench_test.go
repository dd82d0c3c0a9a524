package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/internal/devserver"
)

func seconds(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// rig is an etcd for one test, and a small bench of it.
func rig(t *testing.T) Config {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an etcd")
	}
	server, err := devserver.Start(t.Context(), devserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	cfg := Config{Prefix: "/bench/", N: 30, Duration: 200 * time.Millisecond, Repeats: 1}
	for _, client := range []**clientv3.Client{&cfg.Client, &cfg.Writer} {
		if *client, err = clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, Logger: zap.NewNop()}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { (*client).Close() })
		if _, err := (*client).Get(t.Context(), "any"); err != nil { // its connection is there from now on
			t.Fatal(err)
		}
	}
	return cfg
}

// left says what is left in etcd.
func left(t *testing.T, client *clientv3.Client) string {
	t.Helper()
	keys, err := client.Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	leases, err := client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(keys.Kvs)+len(leases.Leases) == 0 {
		return ""
	}
	return fmt.Sprintf("%d keys, %d leases", len(keys.Kvs), len(leases.Leases))
}

// Every work measures both sides, and leaves nothing.
func TestRun(t *testing.T) {
	t.Parallel()
	cfg := rig(t)
	listed := ""
	cfg.List = func(prefix string) *exec.Cmd { listed = prefix; return exec.Command("true", "list") }
	results, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	both := make(map[string]int)
	for _, r := range results {
		if r.Ours != nil && r.Raw != nil {
			both[r.Work]++
		}
		if r.Unit == PerSecond && r.Work == "watch" && (*r.Ours <= 0 || *r.Raw <= 0) {
			t.Errorf("%s: %v and %v", r.Measure, *r.Ours, *r.Raw)
		}
	}
	for _, name := range Works() {
		if both[name] == 0 {
			t.Errorf("%s has no figure of both sides: %+v", name, results)
		}
	}
	if listed != "/bench/list/" {
		t.Errorf("listed was %q", listed)
	}
	if what := left(t, cfg.Client); what != "" {
		t.Error("left:", what)
	}
}

// How a watch begins is not measured: of either reader the first event comes before the first that counts, and is no figure.
func TestReadersSettle(t *testing.T) {
	t.Parallel()
	cfg := rig(t)
	cfg.Own = true // what is compacted before must not matter to them
	r := newRunner(cfg)
	err := r.measure(t.Context(), func(ctx context.Context) error {
		f, err := r.newFeed(ctx, cfg.N)
		if err != nil {
			return err
		}
		for name, start := range map[string]startReader{"ours": f.ours, "raw": f.raw} {
			var a *arrivals
			m, err := f.run(ctx, func(ctx context.Context, heard *arrivals) (*reader, error) {
				a = heard
				return start(ctx, heard)
			}, 0)
			if err != nil {
				return err
			}
			if len(a.at) != len(m.late)+1 {
				t.Errorf("%s: %d events were heard, and %d count", name, len(a.at), len(m.late))
			}
			rd, err := start(ctx, a)
			if err != nil {
				return err
			}
			err = f.settle(rd, a)
			rd.close()
			now, getErr := cfg.Client.Get(ctx, cfg.Prefix)
			if err := errors.Join(err, getErr); err != nil {
				return err
			}
			if a.newest != now.Header.Revision {
				t.Errorf("%s: etcd is at %d, the reader at %d", name, now.Header.Revision, a.newest)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRunCurve(t *testing.T) {
	t.Parallel()
	cfg := rig(t)
	points, err := RunCurve(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(points) != 1 || points[0].N != cfg.N {
		t.Fatalf("%+v", points)
	}
	for name, p := range map[string]Pair{"register": points[0].Register, "list": points[0].List, "renew": points[0].Renew} {
		if p.Ours == nil || p.Raw == nil || *p.Ours <= 0 || *p.Raw <= 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if m := points[0].Watch.Ours; m == nil || points[0].Watch.Raw != nil {
		t.Errorf("watch memory: %+v", points[0].Watch)
	}
	if what := left(t, cfg.Client); what != "" {
		t.Error("left:", what)
	}
}

func TestRunRefusesData(t *testing.T) {
	t.Parallel()
	cfg := rig(t)
	if _, err := cfg.Client.Put(t.Context(), "/bench/instances/web/node1", "of somebody"); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), cfg); !errors.Is(err, ErrData) {
		t.Errorf("Run: %v", err)
	}
	if _, err := RunCurve(t.Context(), cfg); !errors.Is(err, ErrData) {
		t.Errorf("RunCurve: %v", err)
	}
	if what := left(t, cfg.Client); what != "1 keys, 0 leases" {
		t.Error("left:", what)
	}
}

// Wherever a work is interrupted, it leaves neither a key nor a lease nor a goroutine.
func TestInterrupted(t *testing.T) {
	cfg := rig(t)
	cfg.N = 300
	for _, name := range Works() {
		for _, after := range []int{1, 200} {
			t.Run(fmt.Sprintf("%s after %d", name, after), func(t *testing.T) {
				ctx, interrupt := context.WithCancel(t.Context())
				defer interrupt()
				begun := interruptAfter(ctx, t, cfg.Client, after, interrupt)
				cfg.Works = []string{name}
				before := goleak.IgnoreCurrent()
				if _, err := Run(ctx, cfg); !errors.Is(err, context.Canceled) {
					t.Errorf("it ended with %v", err)
				}
				interrupt() // or a run that fails before it was interrupted hangs here
				<-begun
				if what := left(t, cfg.Client); what != "" {
					t.Error("left:", what)
				}
				goleak.VerifyNone(t, before)
			})
		}
	}
}

// interruptAfter interrupts when there are so many leases or keys.
func interruptAfter(ctx context.Context, t *testing.T, client *clientv3.Client, after int, interrupt func()) (done chan struct{}) {
	t.Helper()
	done = make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			keys, keysErr := client.Get(ctx, "/bench/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			leases, leasesErr := client.Leases(ctx)
			if keysErr == nil && leasesErr == nil && int(keys.Count)+len(leases.Leases) >= after {
				interrupt()
			}
		}
	}()
	return done
}
