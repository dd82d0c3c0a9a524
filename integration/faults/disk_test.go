package faults_test

import (
	"context"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// delaySync makes every fsync of a node take longer, until undo is called or the test ends.
func delaySync(t testing.TB, node *etcdtest.Node, by time.Duration) (undo func()) {
	t.Helper()
	undo, err := node.DelaySync(by)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(undo)
	return undo
}

// F16: disks that take 400 ms to sync delay what is written, and renewals are not.
func TestF16SlowSync(t *testing.T) {
	t.Parallel()
	const ttl, by = 5 * time.Second, 400 * time.Millisecond
	period := either(12*time.Second, time.Minute)
	etcd := etcdtest.StandaloneCluster(t, 3, "--unsafe-no-fsync=false")
	w := watchAll(t, etcd.Client())
	c := gather(t, etcd, muster{processes: 20, each: 5, ttl: ttl})
	for _, node := range etcd.Nodes {
		delaySync(t, node, by)
	}
	begin := time.Now()
	late := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(500), ttl)
	registering := time.Since(begin)
	hbtest.Sleep(t, period)
	gap := c.longestGap()
	c.allValid(hbtest.Slow * 2 * time.Second)
	c.unharmed(w)
	if registering < by {
		t.Errorf("registered within %v: the disk was not slow", registering)
	}
	if n := w.Count(watcher.Down, late.Name()); n != 0 || !late.Valid() {
		t.Errorf("%d downs of the one that was registered meanwhile", n)
	}
	t.Logf("F16: TTL %v, fsync +%v on all members for %v, 100 holders: %d downs, %d fences, longest gap between two answers %v; one more registered within %v",
		ttl, by, period, w.Count(watcher.Down, everyone), c.told(registry.Fenced), gap, registering.Round(time.Millisecond))
}

// newestTerm is the newest term that any member knows of.
func newestTerm(t *testing.T, etcd *etcdtest.Nodes) uint64 {
	t.Helper()
	client := etcd.Client()
	newest := uint64(0)
	for _, endpoint := range etcd.Endpoints() {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if status, err := client.Status(ctx, endpoint); err == nil {
			newest = max(newest, status.RaftTerm)
		}
		cancel()
	}
	return newest
}

// F17: the leader's disk hangs for longer than the TTL, and then goes on. As with a frozen leader nobody is harmed meanwhile,
// and nothing is confirmed afterwards.
func TestF17SyncHangs(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	hang := either(12*time.Second, 30*time.Second)
	etcd := etcdtest.StandaloneCluster(t, 3, "--unsafe-no-fsync=false")
	raw, confirmed := watchAll(t, etcd.Client()), watchConfirmed(t, etcd.Client())
	c := gather(t, etcd, muster{processes: 20, each: 5, ttl: ttl})
	leader, term := etcd.Leader(), newestTerm(t, etcd)
	undo := delaySync(t, leader, 2*hang)
	begin := time.Now()
	late := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(500), ttl) // something to sync
	registering := time.Since(begin)
	hbtest.Sleep(t, hang-registering)
	asleep := raw.Count(watcher.Down, everyone)
	if newestTerm(t, etcd) == term {
		t.Error("the members have not replaced the leader: its disk did not hang")
	}
	if asleep != 0 {
		t.Errorf("%d false downs while the leader's disk hung", asleep)
	}
	undo()
	hbtest.Sleep(t, 8*time.Second) // it may revoke leases up to 7 s later
	leader.WaitHealthy()
	c.allValid(hbtest.Slow * 5 * time.Second)
	took, open := awaitMended(t, raw)
	onlySuspected(t, confirmed)
	raw.Consistent()
	confirmed.Consistent()
	if n := confirmed.Count(watcher.Down, late.Name()); n != 0 {
		t.Errorf("%d downs of the one that was registered meanwhile", n)
	}
	t.Logf("F17: TTL %v, fsync of the leader hung for %v, 100 holders: %d raw downs meanwhile, one more registered within %v, longest gap between two answers %v; afterwards %d raw downs, %d mended within %s, %d not; with a window of %v: %d suspects, %d cleared, %d downs",
		ttl, hang, asleep, registering.Round(time.Millisecond), c.longestGap(), raw.Count(watcher.Down, everyone)-asleep, len(took), spread(took), open,
		confirmWindow, confirmed.Count(watcher.Suspect, everyone), confirmed.Count(watcher.Cleared, everyone), confirmed.Count(watcher.Down, everyone))
}
