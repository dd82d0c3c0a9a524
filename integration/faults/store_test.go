package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// etcd ends itself when its disk is full. Who was up stays up, may act until the fence, and is the same incarnation when there is
// room again.
func TestF18DiskFull(t *testing.T) {
	const ttl, n = 5 * time.Second, 20
	disk := smallDisk(t, 192<<20) // room for two segments of etcd's log, and no more
	etcd := etcdtest.Standalone(t, "--data-dir="+filepath.Join(disk, "data"))
	c := gather(t, etcd, muster{processes: 1, each: n, ttl: ttl})
	w := watchAll(t, etcd.Client())
	ballast := fill(t, disk)
	refused := fillStore(t, etcd.Client(), 256<<10)
	full := time.Now()
	_, err := registerWithin(t, etcd.Client(), hbtest.Node(n), 2*time.Second)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), ":") {
		t.Errorf("a registration meanwhile: %v, want the deadline and a reason", err)
	}
	hbtest.Eventually(t, 2*ttl, "all are fenced", func() bool { return c.told(registry.Fenced) >= n })
	fenced := time.Since(full)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	etcd.Nodes[0].Restart()
	back := c.allValid(10 * hbtest.Slow * time.Second)
	c.unharmed(w)
	t.Logf("F18: disk full: etcd said %q and was gone; %d holders fenced %v later (TTL %v); a new registration got %q; all %d trusted again %v after the restart, same incarnations %d, downs %d",
		refused, n, fenced.Round(time.Millisecond), ttl, err, n, back.Round(time.Millisecond), c.same(), w.Count(watcher.Down, everyone))
}

// smallDisk mounts a file system of a few bytes for this test alone.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes all the room that is left and gives the file that holds it.
func fill(t *testing.T, disk string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	block := bytes.Repeat([]byte{1}, 64<<10)
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return f.Name()
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// fillStore puts values until etcd refuses one, and gives the refusal.
func fillStore(t *testing.T, client *clientv3.Client, size int) error {
	t.Helper()
	value := strings.Repeat("x", size)
	for i := range 4096 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := client.Put(ctx, fmt.Sprintf("/elsewhere/%d", i), value)
		cancel()
		if err != nil {
			return err
		}
	}
	t.Fatal("etcd took everything")
	return nil
}

// registerWithin tries to register the name in a registry of its own.
func registerWithin(t *testing.T, client *clientv3.Client, name registry.Name, limit time.Duration) (*registry.Registration, error) {
	t.Helper()
	return hbtest.NewRegistry(t, client).Register(t.Context(), registry.Instance{Name: name, TTL: 5 * time.Second, RegisterTimeout: limit})
}

// A store at its quota takes no writes, yet leases are renewed and run out. Whoever needs a write is told why it does not come,
// and has it when there is room again.
func TestF19NoSpaceAlarm(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	etcd := etcdtest.Standalone(t, "--quota-backend-bytes=2097152")
	admin := etcd.Client()
	w := watchAll(t, etcd.Client())
	holds := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(1), ttl)
	was := holds.Incarnation()
	dying := etcd.NewClient()
	dies := hbtest.Register(t, hbtest.NewRegistry(t, dying.Client), hbtest.Node(2), ttl)
	dead := dies.Incarnation()
	loses := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(3), ttl)
	lost := loses.Incarnation()
	if err := fillStore(t, admin, 64<<10); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("filling the store ended with %v", err)
	}

	dying.Cut()
	if cause := w.Down(4*ttl, hbtest.Node(2), dead); cause != "expired" {
		t.Errorf("cause %s, want expired", cause)
	}
	if _, err := admin.Revoke(t.Context(), clientv3.LeaseID(loses.Status().Lease)); err != nil {
		t.Fatal(err)
	}
	w.Down(4*ttl, hbtest.Node(3), lost)
	hbtest.Eventually(t, 5*time.Second, "why it can't come back is told", func() bool {
		return errors.Is(loses.Status().Why, rpctypes.ErrNoSpace)
	})
	why := loses.Status().Why
	_, err := registerWithin(t, etcd.Client(), hbtest.Node(4), 2*time.Second)
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Errorf("a new registration: %v, want the quota as the reason", err)
	}
	hbtest.Eventually(t, 4*ttl, "renewed for longer than two TTLs under the alarm", func() bool {
		return time.Since(holds.Status().Since) > 2*ttl && holds.Status().Renewals > 8
	})
	s := holds.Status()
	if !holds.Valid() || s.Fences != 0 || s.Incarnation != was || w.Count(watcher.Down, hbtest.Node(1)) != 0 {
		t.Errorf("the holder under the alarm: valid %v, %+v", holds.Valid(), s)
	}
	makeRoom(t, etcd, admin)
	w.Event(10*hbtest.Slow*time.Second, watcher.Up, hbtest.Node(3), lost)
	back := hbtest.Eventually(t, 10*hbtest.Slow*time.Second, "it may act", loses.Valid)
	w.Consistent()
	t.Logf("F19: under the alarm: %d renewals, 0 fences; a death told as expired; refused: %q; can't come back: %q; back %v after the room was made",
		s.Renewals, err, why, back.Round(time.Millisecond))
}

// makeRoom deletes what filled the store and disarms the alarm.
func makeRoom(t *testing.T, etcd *etcdtest.Nodes, client *clientv3.Client) {
	t.Helper()
	if _, err := client.Delete(t.Context(), "/elsewhere/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	etcd.Compact(0)
	for _, endpoint := range etcd.Endpoints() {
		if _, err := client.Defragment(t.Context(), endpoint); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
}

// History is compacted ten times a second while instances come and go. A watch that runs misses nothing and is never reset; one
// that resumes from its view, always behind the compaction, adds up to the same.
func TestF20CompactionStorm(t *testing.T) {
	etcd := etcdtest.Standalone(t)
	steady := watchAll(t, etcd.Client())
	client := etcd.Client()
	r := hbtest.NewRegistry(t, etcd.Client())
	ctx, stop := context.WithTimeout(t.Context(), either(8*time.Second, time.Minute))
	defer stop()
	var running sync.WaitGroup
	compactions := 0
	running.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			if now, err := client.Get(ctx, "any", clientv3.WithCountOnly()); err == nil {
				if _, err := client.Compact(ctx, now.Header.Revision); err == nil {
					compactions++
				}
			}
		}
	})
	changes := 0
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			g, err := r.Register(ctx, registry.Instance{Name: hbtest.Node(i % 10), TTL: 5 * time.Second})
			if err != nil {
				return // the storm is over
			}
			_ = hbtest.CloseWithin(5*time.Second, g.Close)
			changes += 2
		}
	})
	view, resumes, synthetic := comeAndGo(ctx, t, etcd)
	running.Wait()
	last := hbtest.Register(t, r, hbtest.Node(99), 5*time.Second)
	steady.Event(10*time.Second, watcher.Up, hbtest.Node(99), last.Incarnation()-1)
	final := hbtest.Watch(t, etcd.Client(), watcher.From(view))
	final.Event(10*time.Second, watcher.Up, hbtest.Node(99), 0)
	steady.Consistent()
	if n := steady.Told(watcher.Reset); n != 0 {
		t.Errorf("the steady watch was reset %d times", n)
	}
	ups, downs := steady.Count(watcher.Up, everyone), steady.Count(watcher.Down, everyone)
	if ups+downs < changes || compactions == 0 || synthetic == 0 {
		t.Errorf("%d ups and %d downs of %d changes, %d compactions, %d synthetic events", ups, downs, changes, compactions, synthetic)
	}
	t.Logf("F20: %d compactions under %d changes: the steady watch was told %d ups and %d downs and no reset; %d resumes from a view behind the compaction, %d synthetic events",
		compactions, changes, ups, downs, resumes, synthetic)
}

// comeAndGo watches from a view for a moment, again and again, and checks that what it is told goes on where it left off.
func comeAndGo(ctx context.Context, t *testing.T, etcd *etcdtest.Nodes) (view *watcher.View, resumes, synthetic int) {
	t.Helper()
	up := map[registry.Name]int64{}
	from := watcher.Now()
	for ctx.Err() == nil {
		w, err := watcher.New(etcd.Client(), watcher.Config{})
		if err != nil {
			t.Fatal(err)
		}
		moment, done := context.WithTimeout(ctx, 400*time.Millisecond)
		for batch, err := range w.Watch(moment, from) {
			if err != nil {
				t.Fatal(err)
			}
			synthetic += follow(t, up, batch)
		}
		done()
		if v := w.View(); v != nil {
			view, from = v, watcher.From(v)
			resumes++
		}
		hbtest.Sleep(t, 250*time.Millisecond) // long enough for a compaction to pass by
	}
	return view, resumes, synthetic
}

// follow keeps who is up, checks that each event fits, and counts what was found by comparing.
func follow(t *testing.T, up map[registry.Name]int64, batch watcher.Batch) (synthetic int) {
	t.Helper()
	for i := range batch.Services {
		if s := &batch.Services[i]; s.State == registry.Up {
			up[s.Name()] = *s.Incarnation
		}
	}
	for _, e := range batch.Events {
		if e.Synthetic {
			synthetic++
		}
		switch e.Kind {
		case watcher.Up:
			if up[e.Name] != 0 {
				t.Errorf("up of %s as %d while %d was up", e.Name, e.Incarnation, up[e.Name])
			}
			up[e.Name] = e.Incarnation
		case watcher.Down:
			if up[e.Name] != e.Incarnation {
				t.Errorf("down of %s as %d, but %d was up", e.Name, e.Incarnation, up[e.Name])
			}
			delete(up, e.Name)
		default:
		}
	}
	if batch.Kind == watcher.Reset {
		t.Errorf("a reset, though there was a view: %v", batch.Reason)
	}
	return synthetic
}

// A defragmentation stops the leader while it copies its whole store. Nobody goes down.
func TestF21Defragmentation(t *testing.T) {
	const ttl = 5 * time.Second
	size := either(48, 256) // MB, on each member
	etcd := etcdtest.StandaloneCluster(t, 3)
	c := gather(t, etcd, muster{processes: 3, each: 15, ttl: ttl})
	w := watchAll(t, etcd.Client())
	client := etcd.Client()
	value := strings.Repeat("x", 1<<20)
	for i := range size {
		if _, err := client.Put(t.Context(), fmt.Sprintf("/elsewhere/%d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	leader := etcd.Leader()
	begin := time.Now()
	if _, err := client.Defragment(t.Context(), leader.Endpoint()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	c.allValid(2 * ttl)
	c.unharmed(w)
	t.Logf("F21: defragmenting %d MB on the leader took %v: %d downs of %d, longest gap between renewals %v, %d fences",
		size, took.Round(time.Millisecond), w.Count(watcher.Down, everyone), len(c.regs), c.longestGap(), c.told(registry.Fenced))
}
