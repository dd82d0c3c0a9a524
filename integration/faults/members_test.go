package faults_test

import (
	"flag"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/watcher"
)

var olderEtcd = flag.String("older-etcd", "", "path of an etcd of the minor version before, for the test of an upgrade")

// Every member is stopped and started in turn. Nobody goes down, and every one holds what it held.
func TestF33RollingRestart(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.StandaloneCluster(t, 3)
	roll(t, etcd, "F33: rolling restart of 3 members", func(*etcdtest.Node) {})
}

// The same, and every member is upgraded by it from the version before. For a while both are in the cluster.
func TestF33RollingUpgrade(t *testing.T) {
	if *olderEtcd == "" {
		t.Skip("an etcd of the version before is not part of this module; name one with -args -older-etcd=PATH")
	}
	etcd := etcdtest.StandaloneOf(t, *olderEtcd, 3)
	program := etcdtest.Binary(t, "go.etcd.io/etcd/server/v3")
	versions := map[string]bool{}
	note := func(node *etcdtest.Node) {
		status, err := etcd.Client().Status(t.Context(), node.Endpoint())
		if err != nil {
			t.Fatal(err)
		}
		versions[status.Version] = true
	}
	note(etcd.Nodes[0])
	roll(t, etcd, "F33: rolling upgrade of 3 members", func(node *etcdtest.Node) { node.Program(program) })
	note(etcd.Nodes[0])
	if len(versions) != 2 {
		t.Errorf("the versions were %v", versions)
	}
	t.Logf("F33: versions %v", versions)
}

func roll(t *testing.T, etcd *etcdtest.Nodes, what string, change func(*etcdtest.Node)) {
	t.Helper()
	const ttl = 5 * time.Second
	c := gather(t, etcd, muster{processes: 3, each: 15, ttl: ttl})
	w := watchAll(t, etcd.Client())
	begin := time.Now()
	for _, node := range etcd.Nodes {
		node.Stop()
		change(node)
		node.Start()
		node.WaitHealthy()
	}
	took := time.Since(begin)
	c.allValid(2 * ttl)
	late := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(999), ttl)
	w.Event(10*time.Second, watcher.Up, hbtest.Node(999), late.Incarnation()-1)
	c.unharmed(w)
	w.Consistent()
	t.Logf("%s in %v, TTL %v: %d false downs of %d, longest gap between renewals %v; the watch was blind %d times and lost nothing",
		what, took.Round(time.Millisecond), ttl, w.Count(watcher.Down, everyone), len(c.regs), c.longestGap(), w.Told(watcher.Stale))
}

// Two members are added and two of the first taken away, one of them the leader; the clients are told of it by SetEndpoints. Nobody
// goes down.
func TestF34MembersChange(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	etcd := etcdtest.StandaloneCluster(t, 3)
	c := gather(t, etcd, muster{processes: 3, each: 15, ttl: ttl})
	watching := etcd.Client()
	w := watchAll(t, watching)
	told := func() {
		for _, network := range c.networks {
			network.SetEndpoints(etcd.Endpoints()...)
		}
		watching.SetEndpoints(etcd.Endpoints()...)
	}
	begin := time.Now()
	etcd.Add()
	etcd.Add()
	told()
	etcd.Remove(etcd.Followers()[0])
	etcd.Remove(etcd.Leader())
	told()
	took := time.Since(begin)
	c.allValid(2 * ttl)
	late := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(999), ttl)
	w.Event(10*time.Second, watcher.Up, hbtest.Node(999), late.Incarnation()-1)
	c.unharmed(w)
	w.Consistent()
	t.Logf("F34: 2 members added and 2 removed, the leader one of them, in %v, TTL %v: %d false downs of %d, longest gap between renewals %v; the watch was blind %d times and lost nothing",
		took.Round(time.Millisecond), ttl, w.Count(watcher.Down, everyone), len(c.regs), c.longestGap(), w.Told(watcher.Stale))
}
