package faults_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// registering is the command line that holds a name.
func registering(t testing.TB, name registry.Name, ttl time.Duration, more ...string) []string {
	t.Helper()
	return append([]string{etcdtest.Binary(t, "./cmd/hbctl"), "register", "--binary", name.Binary, "--host", name.Host, "--ttl", ttl.String(), "--report-interval", "0"}, more...)
}

// A holder with as few descriptors as the program starts with lives with them: it opens none for a renewal, and comes back after etcd was away. With too few to
// start with, the program says so and ends.
func TestF27DescriptorsExhausted(t *testing.T) {
	t.Parallel()
	const ttl, limit = 3 * time.Second, 32
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Skip("there is no prlimit here to take descriptors away")
	}
	etcd := etcdtest.Standalone(t)
	w := watchAll(t, etcd.Client())
	limited := func(n int, line ...string) []string {
		return append([]string{prlimit, fmt.Sprintf("--nofile=%d", n), "--"}, line...)
	}
	p := hbtest.Start(t, etcd.Endpoints(), limited(limit, registering(t, hbtest.Node(1), ttl)...)...)
	up, _ := w.Event(15*time.Second, watcher.Up, hbtest.Node(1), 0)
	before := descriptors(t, p.Cmd.Process.Pid)
	hbtest.Sleep(t, 2*ttl)
	etcd.Nodes[0].Restart()
	hbtest.Sleep(t, 2*ttl) // longer than etcd would forgive one that does not come back
	after := descriptors(t, p.Cmd.Process.Pid)
	if s := hbtest.List(t, etcd.Client())[hbtest.Node(1)]; s.State != registry.Up || *s.Incarnation != up.Incarnation {
		t.Errorf("the holder is %s", s.State)
	}
	if n := w.Count(watcher.Down, everyone); n != 0 || after > before {
		t.Errorf("%d downs, %d descriptors before and %d after", n, before, after)
	}
	few, said := outOfFiles(t, etcd, limited)
	t.Logf("F27: with %d descriptors, of which it uses %d before and %d after a restart of etcd: 0 downs in %v at TTL %v; with %d `hbctl list` ends and says %q; with one more it works",
		limit, before, after, 4*ttl, ttl, few, said)
}

// outOfFiles gives the program fewer and fewer descriptors until it refuses to work, which it must say, and soon.
func outOfFiles(t *testing.T, etcd *etcdtest.Nodes, limited func(int, ...string) []string) (few int, said string) {
	t.Helper()
	for few = 40; few > 3; few-- {
		list := hbtest.Start(t, etcd.Endpoints(), limited(few, etcdtest.Binary(t, "./cmd/hbctl"), "list")...)
		if list.Ends(20*time.Second) == 0 {
			continue
		}
		said, _, _ = strings.Cut(strings.TrimSpace(list.Said()), "\n")
		if !strings.Contains(said, "may open no more than") {
			t.Errorf("with %d descriptors it says %q", few, said)
		}
		return few, said
	}
	t.Error("it works without descriptors")
	return few, said
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no /proc here to count descriptors by")
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
