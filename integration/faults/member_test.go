package faults_test

import (
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// F8: a follower that is frozen, its connections open and silent, costs nobody a lease.
func TestF08FollowerFrozen(t *testing.T) {
	t.Parallel()
	const ttl, freeze = 5 * time.Second, 12 * time.Second
	etcd := etcdtest.StandaloneCluster(t, 3)
	w := watchAll(t, etcd.Client())
	c := gather(t, etcd, muster{processes: 15, each: 3, ttl: ttl}) // a third of them on each member
	for _, node := range etcd.Followers()[:either(1, 2)] {
		node.Freeze()
		hbtest.Sleep(t, freeze)
		node.Thaw()
		node.WaitHealthy()
	}
	c.allValid(hbtest.Slow * 2 * time.Second)
	c.unharmed(w)
	t.Logf("F08: TTL %v, a follower frozen for %v, 45 leases: %d downs, %d lost, %d fences, %d stalls, longest gap between two answers %v",
		ttl, freeze, w.Count(watcher.Down, everyone), len(c.regs)-c.same(), c.told(registry.Fenced), c.told(registry.Stalled), c.longestGap())
	if c.told(registry.Stalled) == 0 {
		t.Error("nobody noticed")
	}
}

// F9: the leader is killed. Who lives stays up, and who died just before is down once the next leader's TTL is over.
func TestF09LeaderKilled(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	etcd := etcdtest.StandaloneCluster(t, 3)
	w := watchAll(t, etcd.Client())
	lives := gather(t, etcd, muster{processes: 20, each: 5, ttl: ttl})
	dies := gather(t, etcd, muster{processes: 5, each: 1, first: 500, ttl: ttl})
	crashed := time.Now()
	for _, network := range dies.networks {
		network.Cut()
	}
	hbtest.Sleep(t, 7*ttl/10)
	leader := etcd.Leader()
	leader.Kill()
	killed := time.Now()
	var after []time.Duration
	for i, g := range dies.regs {
		if cause := w.Down(2*ttl+hbtest.Slow*10*time.Second, g.Name(), dies.was[i]); cause != "expired" && cause != "null" {
			t.Errorf("cause %s, want expired", cause)
		}
		after = append(after, w.Sightings(watcher.Down, g.Name())[0].At.Sub(killed))
	}
	// The election, a whole TTL and the bonus of an election timeout from the next leader, and its look twice a second.
	limit := ttl + 3500*time.Millisecond + hbtest.Slow*1500*time.Millisecond
	for _, took := range after {
		if took > limit {
			t.Errorf("down %v after the leader was killed, want at most %v", took, limit)
		}
	}
	leader.Restart()
	lives.allValid(hbtest.Slow * 2 * time.Second)
	lives.unharmed(w)
	for _, network := range dies.networks {
		network.Heal()
	}
	t.Logf("F09: TTL %v, leader killed %v after 5 crashes: 100 live, %d false downs, %d fences; the 5 are down %s after the kill (at most %v)",
		ttl, killed.Sub(crashed).Round(time.Millisecond), w.Count(watcher.Down, everyone)-len(dies.regs), lives.told(registry.Fenced), spread(after), limit)
}

// F10 and F11: the leader is frozen for longer than the TTL and wakes up. While it sleeps nobody is harmed. When it wakes
// it may revoke leases that it has no right to, and etcd obeys: who asks only for what is confirmed is never told, and who
// asks for everything is told the next moment that they are back.
func TestF10F11LeaderFrozenAndResumed(t *testing.T) {
	t.Parallel()
	const ttl, freeze = 5 * time.Second, 12 * time.Second
	rounds := either(2, 10)
	etcd := etcdtest.StandaloneCluster(t, 3)
	raw, confirmed := watchAll(t, etcd.Client()), watchConfirmed(t, etcd.Client())
	c := gather(t, etcd, muster{processes: 20, each: 5, ttl: ttl})
	var frozen, woken []int
	for range rounds {
		before := raw.Count(watcher.Down, everyone)
		leader := etcd.Leader()
		leader.Freeze()
		hbtest.Sleep(t, freeze)
		asleep := raw.Count(watcher.Down, everyone)
		leader.Thaw()
		hbtest.Sleep(t, 8*time.Second) // it may revoke leases up to 7 s later
		leader.WaitHealthy()
		c.allValid(hbtest.Slow * 5 * time.Second)
		frozen, woken = append(frozen, asleep-before), append(woken, raw.Count(watcher.Down, everyone)-asleep)
		if asleep != before {
			t.Errorf("%d false downs while the leader was frozen", asleep-before)
		}
	}
	took, open := awaitMended(t, raw)
	onlySuspected(t, confirmed)
	raw.Consistent()
	confirmed.Consistent()
	t.Logf("F10: TTL %v, 100 holders, leader frozen for %v: raw downs by round %v, confirmed 0, longest gap between two answers %v", ttl, freeze, frozen, c.longestGap())
	t.Logf("F11: then resumed: raw downs by round %v, %d mended within %s, %d not; with a window of %v: %d suspects, %d cleared, %d downs",
		woken, len(took), spread(took), open, confirmWindow, confirmed.Count(watcher.Suspect, everyone), confirmed.Count(watcher.Cleared, everyone), confirmed.Count(watcher.Down, everyone))
}

// awaitMended waits until every raw down was followed by an up, and fails the test for those that took too long.
func awaitMended(t *testing.T, raw *hbtest.Witness) (took []time.Duration, open int) {
	t.Helper()
	hbtest.Eventually(t, 10*time.Second, "all are up again", func() bool {
		return raw.Count(watcher.Down, everyone) == 0 || raw.Count(watcher.Up, everyone) >= raw.Count(watcher.Down, everyone)
	})
	took, open = mended(raw)
	for _, d := range took {
		if d > hbtest.Slow*time.Second {
			t.Errorf("a false down was mended after %v, want at most %v", d, hbtest.Slow*time.Second)
		}
	}
	if open != 0 {
		t.Errorf("%d false downs were not mended", open)
	}
	return took, open
}

// onlySuspected fails the test if a reader with a confirmation window was told a down, and waits until every suspect is cleared.
func onlySuspected(t *testing.T, confirmed *hbtest.Witness) {
	t.Helper()
	hbtest.Eventually(t, confirmWindow+10*time.Second, "every suspect is cleared", func() bool {
		return confirmed.Count(watcher.Cleared, everyone) >= confirmed.Count(watcher.Suspect, everyone)
	})
	if n := confirmed.Count(watcher.Down, everyone); n != 0 {
		t.Errorf("%d confirmed downs, want none:\n%s", n, confirmed.Story())
	}
}

// F12: all of etcd is killed, and away for longer than the TTL. Nothing is down, and all hold what they held; also those
// whose client the caller made as it comes, with gRPC's own waits of up to two minutes.
func TestF12AllMembersKilled(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{8 * time.Second, 30 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			t.Parallel()
			allMembersKilled(t, away)
		})
	}
}

func allMembersKilled(t *testing.T, away time.Duration) {
	t.Helper()
	const ttl, n = 5 * time.Second, 100
	etcd := etcdtest.StandaloneCluster(t, 3)
	w := watchAll(t, etcd.Client())
	tuned := gather(t, etcd, muster{processes: n, each: 1, ttl: ttl})
	plain := gather(t, etcd, muster{processes: n, each: 1, first: n, ttl: ttl, client: func() *etcdtest.Client { return plainClient(t, etcd) }})
	for _, node := range etcd.Nodes {
		node.Kill()
	}
	hbtest.Sleep(t, away)
	for _, node := range etcd.Nodes {
		node.Start()
	}
	etcd.Leader()
	elected := time.Now()
	limit := ttl + hbtest.Slow*5*time.Second
	first := tuned.allValid(limit)
	plain.allValid(limit)
	second := time.Since(elected)
	hbtest.Sleep(t, ttl+2*time.Second) // what was promoted runs out by then
	tuned.unharmed(w)
	plain.unharmed(w)
	t.Logf("F12: TTL %v, all members killed for %v, %d holders on clients with dial options and %d without: %d false downs; %d and %d hold the same incarnation; all trusted %v and %v after the leader was there",
		ttl, away, n, n, w.Count(watcher.Down, everyone), tuned.same(), plain.same(), first.Round(time.Millisecond), second.Round(time.Millisecond))
}

// plainClient is a client as a caller makes it who knows nothing of dial options.
func plainClient(t testing.TB, etcd *etcdtest.Nodes) *etcdtest.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: etcd.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &etcdtest.Client{Client: client}
}

// F13: all of etcd is frozen. For less than the TTL it does no harm. For longer, etcd deletes everything when it wakes up,
// and no client can help it: all are back the next moment, and nothing is confirmed.
func TestF13AllMembersFrozen(t *testing.T) {
	t.Parallel()
	const ttl, short, lengthy = 5 * time.Second, 2500 * time.Millisecond, 8 * time.Second
	etcd := etcdtest.StandaloneCluster(t, 3)
	raw, confirmed := watchAll(t, etcd.Client()), watchConfirmed(t, etcd.Client())
	c := gather(t, etcd, muster{processes: 20, each: 5, ttl: ttl})
	freezeAll(t, etcd, short)
	hbtest.Sleep(t, 2*time.Second) // etcd looks for expired leases twice a second
	c.allValid(hbtest.Slow * 5 * time.Second)
	c.unharmed(raw)
	t.Logf("F13: TTL %v, 100 holders, all members frozen for %v: %d raw downs", ttl, short, raw.Count(watcher.Down, everyone))

	for range either(1, 5) {
		freezeAll(t, etcd, lengthy)
		hbtest.Sleep(t, 3*time.Second)
		c.allValid(hbtest.Slow * 10 * time.Second)
	}
	took, open := awaitMended(t, raw)
	onlySuspected(t, confirmed)
	raw.Consistent()
	confirmed.Consistent()
	t.Logf("F13: frozen for %v: %d raw downs, %d mended within %s, %d not; with a window of %v: %d suspects, %d cleared, %d downs", lengthy,
		raw.Count(watcher.Down, everyone), len(took), spread(took), open, confirmWindow,
		confirmed.Count(watcher.Suspect, everyone), confirmed.Count(watcher.Cleared, everyone), confirmed.Count(watcher.Down, everyone))
}

func freezeAll(t *testing.T, etcd *etcdtest.Nodes, d time.Duration) {
	t.Helper()
	for _, node := range etcd.Nodes {
		node.Freeze()
	}
	hbtest.Sleep(t, d)
	for _, node := range etcd.Nodes {
		node.Thaw()
	}
	var healthy errgroup.Group
	for _, node := range etcd.Nodes {
		healthy.Go(func() error { node.WaitHealthy(); return nil })
	}
	_ = healthy.Wait()
}

// F14: without a quorum nothing expires. One that dies meanwhile is down a TTL after the quorum is back.
func TestF14QuorumLost(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	lost := either(12*time.Second, 60*time.Second)
	etcd := etcdtest.StandaloneCluster(t, 3)
	w := watchAll(t, etcd.Client())
	lives := gather(t, etcd, muster{processes: 20, each: 5, ttl: ttl})
	dies := gather(t, etcd, muster{processes: 1, each: 1, first: 500, ttl: ttl})
	gone := []*etcdtest.Node{etcd.Leader(), etcd.Followers()[0]}
	for _, node := range gone {
		node.Kill()
	}
	hbtest.Sleep(t, lost/2)
	dies.networks[0].Cut()
	hbtest.Sleep(t, lost/2)
	if n := w.Count(watcher.Down, everyone); n != 0 {
		t.Errorf("%d downs without a quorum", n)
	}
	for _, node := range gone {
		node.Start()
	}
	etcd.Leader()
	back := time.Now()
	w.Down(ttl+hbtest.Slow*10*time.Second, dies.regs[0].Name(), dies.was[0])
	took := w.Sightings(watcher.Down, dies.regs[0].Name())[0].At.Sub(back)
	// A TTL and an election timeout from the new leader, its look twice a second, and the cause is asked for.
	if limit := ttl + 1750*time.Millisecond + hbtest.Slow*time.Second; took > limit {
		t.Errorf("the dead one is down %v after the leader was there, want at most %v", took, limit)
	}
	lives.allValid(hbtest.Slow * 5 * time.Second)
	lives.unharmed(w)
	dies.networks[0].Heal()
	t.Logf("F14: TTL %v, quorum lost for %v, 100 live: %d false downs, %d hold the same incarnation; the one that died meanwhile is down %v after the leader was there",
		ttl, lost, w.Count(watcher.Down, everyone)-1, lives.same(), took.Round(time.Millisecond))
}

// F15: a leader that is cut off from the other members, and not from its clients.
func TestF15LeaderIsolated(t *testing.T) {
	const ttl, apart = 3 * time.Second, 8 * time.Second
	etcd := etcdtest.Cluster(t, 3)
	w := watchAll(t, etcd.Client())
	c := gather(t, nil, muster{processes: 15, each: 3, ttl: ttl, client: func() *etcdtest.Client { return etcd.NewClient() }})
	leader := etcd.Leader()
	etcd.Part(leader)
	hbtest.Sleep(t, apart)
	gap := c.longestGap()
	etcd.Mend(leader)
	etcd.Leader()
	hbtest.Sleep(t, 2*time.Second) // it is told what it missed, and may revoke what it thinks has run out
	c.allValid(hbtest.Slow * 5 * time.Second)
	c.unharmed(w)
	w.Consistent()
	t.Logf("F15: TTL %v, leader cut off from its followers for %v, 45 leases: %d false downs, %d hold the same incarnation, %d fences, longest gap between two answers %v",
		ttl, apart, w.Count(watcher.Down, everyone), c.same(), c.told(registry.Fenced), gap)
}

// F35: the member that a watch is with is frozen: the reader is told that contact is lost, and then, by another member, what
// happened meanwhile.
func TestF35WatchedMemberFrozen(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	etcd := etcdtest.StandaloneCluster(t, 3)
	leader, followers := etcd.Leader(), etcd.Followers()
	w := watchAll(t, etcd.NewClient(followers...).Client) // on one of the two
	dies := gather(t, etcd, muster{processes: 2, each: 1, ttl: ttl, client: func() *etcdtest.Client { return etcd.NewClient(leader) }})
	var stale, live []time.Duration
	for i, node := range followers {
		before := w.Told(watcher.Stale)
		node.Freeze()
		frozen := time.Now()
		dies.networks[i].Cut()
		w.Down(watcher.DefaultStaleAfter+ttl+hbtest.Slow*5*time.Second, dies.regs[i].Name(), dies.was[i])
		if w.Told(watcher.Stale) > before {
			stale = append(stale, w.ToldAt(watcher.Stale)[before].Sub(frozen))
			live = append(live, w.ToldAt(watcher.Live)[before].Sub(frozen))
		}
		node.Thaw()
		node.WaitHealthy()
		dies.networks[i].Heal()
	}
	if len(stale) == 0 {
		t.Fatalf("of two members each was frozen, and the reader was never told:\n%s", w.Story())
	}
	for i := range stale {
		if limit := watcher.DefaultStaleAfter + hbtest.Slow*time.Second; stale[i] > limit || live[i] > limit+hbtest.Slow*4*time.Second {
			t.Errorf("stale %v and live %v after the member froze, want stale within %v, and live soon after", stale[i], live[i], limit)
		}
	}
	w.Consistent()
	t.Logf("F35: watched member frozen: told stale after %s, on another member after %s; of 2 deaths meanwhile 2 were told", spread(stale), spread(live))
}
