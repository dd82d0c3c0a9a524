package integration_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// hbctl starts the built program against the endpoints. It is killed at the end of the test.
func hbctl(t testing.TB, endpoints []string, args ...string) *hbtest.Program {
	t.Helper()
	return hbtest.Start(t, endpoints, append([]string{etcdtest.Binary(t, "./cmd/hbctl")}, args...)...)
}

// hold starts `hbctl register` for the name and waits until it is told up, after the revision.
func hold(t testing.TB, etcd *etcdtest.Nodes, w *hbtest.Witness, name registry.Name, ttl time.Duration, after int64) (*hbtest.Program, int64) {
	t.Helper()
	p := hbctl(t, etcd.Endpoints(), "register", "--binary", name.Binary, "--host", name.Host, "--ttl", ttl.String(), "--report-interval", "0")
	up, _ := w.Event(15*time.Second, watcher.Up, name, after)
	return p, up.Incarnation
}

// The three ends of a process, told apart.
func TestProcessEnds(t *testing.T) {
	const ttl = 3 * time.Second
	etcd := etcdtest.Standalone(t)
	w := hbtest.Watch(t, etcd.Client(), watcher.Now())

	t.Run("SIGKILL is expired", func(t *testing.T) {
		p, incarnation := hold(t, etcd, w, hbtest.Node(1), ttl, 0)
		killed := time.Now()
		p.Signal(syscall.SIGKILL)
		if cause := w.Down(10*time.Second, hbtest.Node(1), incarnation); cause != "expired" {
			t.Errorf("cause %s, want expired", cause)
		}
		t.Logf("TTL %v: down %v after SIGKILL", ttl, time.Since(killed).Round(time.Millisecond))
	})
	t.Run("SIGTERM is left", func(t *testing.T) {
		p, incarnation := hold(t, etcd, w, hbtest.Node(2), ttl, 0)
		stopped := time.Now()
		p.Signal(syscall.SIGTERM)
		if cause := w.Down(10*time.Second, hbtest.Node(2), incarnation); cause != "left" {
			t.Errorf("cause %s, want left", cause)
		}
		t.Logf("down %v after SIGTERM", time.Since(stopped).Round(time.Millisecond))
		if code := p.Ends(5 * time.Second); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
	t.Run("SIGKILL and restart is replaced", func(t *testing.T) {
		const long = 60 * time.Second // nobody may wait for it
		p, incarnation := hold(t, etcd, w, hbtest.Node(3), long, 0)
		p.Kill()
		restarted := time.Now()
		_, again := hold(t, etcd, w, hbtest.Node(3), long, incarnation)
		if cause := w.Down(10*time.Second, hbtest.Node(3), incarnation); cause != "replaced" {
			t.Errorf("cause %s, want replaced", cause)
		}
		if again <= incarnation {
			t.Errorf("incarnation %d after %d", again, incarnation)
		}
		t.Logf("TTL %v: down (replaced) and up %v after the restart", long, time.Since(restarted).Round(time.Millisecond))
	})
	t.Run("a second process with the name is refused", func(t *testing.T) {
		_, incarnation := hold(t, etcd, w, hbtest.Node(4), ttl, 0)
		second := hbctl(t, etcd.Endpoints(), "register", "--binary", "vol", "--host", "node004", "--ttl", ttl.String())
		if code := second.Ends(15 * time.Second); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		if !strings.Contains(second.Said(), fmt.Sprint(incarnation)) {
			t.Errorf("the holder's incarnation %d is not named in: %s", incarnation, second.Said())
		}
		if w.Count(watcher.Down, hbtest.Node(4)) != 0 {
			t.Error("the holder was hurt")
		}
	})
	w.Consistent()
}

// etcd itself is killed at 0.7 TTL. What lives stays up, and what died meanwhile is told once.
func TestEtcdKilledAndRestarted(t *testing.T) {
	const ttl = 5 * time.Second
	etcd := etcdtest.Standalone(t)
	w := hbtest.Watch(t, etcd.Client(), watcher.Now())
	_, lives := hold(t, etcd, w, hbtest.Node(1), ttl, 0)
	p, dies := hold(t, etcd, w, hbtest.Node(2), ttl, 0)
	p.Signal(syscall.SIGKILL)
	hbtest.Sleep(t, 7*ttl/10)
	etcd.Nodes[0].Kill()
	etcd.Nodes[0].Restart()
	restarted := time.Now()
	if cause := w.Down(20*time.Second, hbtest.Node(2), dies); cause != "expired" && cause != "null" {
		t.Errorf("cause %s", cause)
	}
	t.Logf("TTL %v: the dead one is down %v after etcd was back", ttl, time.Since(restarted).Round(time.Millisecond))
	if n := w.Count(watcher.Down, hbtest.Node(1)); n != 0 {
		t.Errorf("%d false downs", n)
	}
	if s := hbtest.List(t, etcd.Client())[hbtest.Node(1)]; s.State != registry.Up || *s.Incarnation != lives {
		t.Errorf("the living one is %s", s.State)
	}
}

const starvedFor = "HBCTL_TEST_STARVED"

// A registrant whose processors are all taken holds a short lease: the beat has a goroutine of its own and shares no lock with
// the application.
func TestStarvedHolder(t *testing.T) {
	if endpoints := os.Getenv(starvedFor); endpoints != "" {
		starve(t, endpoints)
		return
	}
	etcd := etcdtest.Standalone(t)
	w := hbtest.Watch(t, etcd.Client(), watcher.Now())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestStarvedHolder$", "-test.v")
	cmd.Dir = filepath.Dir(self)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", starvedFor+"="+strings.Join(etcd.Endpoints(), ","))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the holder: %v", err)
	}
	t.Logf("%s", out)
	if n := w.Count(watcher.Down, hbtest.Node(1)); n != 1 {
		t.Errorf("%d downs, want the one at the end:\n%s", n, w.Story())
	}
}

// starve is the holder, in a process of its own.
func starve(t *testing.T, endpoints string) {
	const spinners, ttl, period = 4, 2 * time.Second, 60 * time.Second
	client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(endpoints, ",")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	g := hbtest.Register(t, hbtest.NewRegistry(t, client), hbtest.Node(1), ttl)
	was := g.Incarnation()
	ctx, cancel := context.WithTimeout(t.Context(), period)
	defer cancel()
	var spinning sync.WaitGroup
	for range spinners {
		spinning.Go(func() {
			for n := 0; ; n++ {
				if n%(1<<20) == 0 && ctx.Err() != nil {
					return
				}
			}
		})
	}
	spinning.Wait()
	s := g.Status()
	t.Logf("GOMAXPROCS=%d, %d hot loops, TTL %v, %v: %d renewals, longest gap between answers %v, %d fences",
		runtime.GOMAXPROCS(0), spinners, s.TTL, period, s.Renewals, s.LongestGap.Round(time.Millisecond), s.Fences)
	if s.Incarnation != was || s.Fences != 0 || !g.Valid() {
		t.Errorf("incarnation %d, was %d; %d fences", s.Incarnation, was, s.Fences)
	}
	if err := hbtest.CloseWithin(5*time.Second, g.Close); err != nil {
		t.Error(err)
	}
}
