package faults_test

import (
	"bufio"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// Many die together. With a lease each, etcd revokes a thousand a second; on shared leases, a thousand to one, each lease goes in one
// revision. Every one is told down once either way.
func TestF31ManyCrashes(t *testing.T) {
	const ttl = 5 * time.Second
	n := either(2000, 10_000)
	etcd := etcdtest.Standalone(t)
	w := watchAll(t, etcd.Client())
	each := gather(t, etcd, muster{processes: 4, each: n / 4, ttl: ttl})
	t.Cleanup(each.revive) // or leaving would take them as long as it may
	ownFirst, ownLast := crash(t, w, each.networks, n, 0, ttl)

	shared := &crowd{t: t}
	for range 2 {
		network := etcd.NewClient()
		shared.networks = append(shared.networks, network)
		r := hbtest.NewRegistry(t, network.Client)
		var open errgroup.Group
		open.SetLimit(256)
		for i := range n / 2 {
			name := hbtest.Node(n + n/2*len(shared.networks) + i)
			open.Go(func() error {
				_, err := r.Register(t.Context(), registry.Instance{Name: name, TTL: ttl})
				return err
			})
		}
		if err := open.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(shared.revive)
	sharedFirst, sharedLast := crash(t, w, shared.networks, n, n, ttl)
	// A thousand revokes a second, and as much again for a busy machine.
	if spread := ownLast - ownFirst; spread > time.Duration(n)*2*hbtest.Slow*time.Millisecond {
		t.Errorf("with a lease each from the first down to the last %v", spread)
	}
	if spread := sharedLast - sharedFirst; spread > ttl/2+hbtest.Slow*time.Second {
		t.Errorf("on shared leases from the first down to the last %v", spread)
	}
	w.Consistent()
	ms := time.Millisecond
	t.Logf("F31: %d die at once, TTL %v: with a lease each the first is told down after %v and the last after %v (%.0f/s); on shared leases %v to %v; each told once",
		n, ttl, ownFirst.Round(ms), ownLast.Round(ms), float64(n)/(ownLast-ownFirst).Seconds(), sharedFirst.Round(ms), sharedLast.Round(ms))
}

// revive mends the networks.
func (c *crowd) revive() {
	for _, network := range c.networks {
		network.Break()
		network.Heal()
	}
}

// crash cuts the networks and says when the first and the last was told down.
func crash(t *testing.T, w *hbtest.Witness, networks []*etcdtest.Client, n, before int, ttl time.Duration) (first, last time.Duration) {
	t.Helper()
	begin := time.Now()
	for _, network := range networks {
		network.Cut()
	}
	limit := 2*ttl + time.Duration(n)*2*hbtest.Slow*time.Millisecond
	hbtest.Eventually(t, limit, "all are told down", func() bool { return w.Count(watcher.Down, everyone) >= before+n })
	downs := w.Sightings(watcher.Down, everyone)
	if len(downs) != before+n {
		t.Errorf("%d downs of %d", len(downs), before+n)
	}
	for _, d := range downs[before:] {
		if d.Cause == nil || *d.Cause != registry.CauseExpired {
			t.Errorf("%s: cause %v, want expired", d.Name, d.Cause)
			break
		}
	}
	return downs[before].At.Sub(begin), downs[len(downs)-1].At.Sub(begin)
}

// etcd freezes until every lease has run out, so all holders lose theirs at once, and return as fast as etcd lets them: within five
// seconds, spread so that it is no single wave, and without a second wave of expiries.
func TestF32ThunderingReturn(t *testing.T) {
	const ttl, processes = 5 * time.Second, 20
	n := either(1000, 10_000)
	etcd := etcdtest.Standalone(t)
	c := gather(t, etcd, muster{processes: processes, each: n / processes, ttl: ttl})
	w := watchAll(t, etcd.Client())
	grants := countGrants(t, etcd.Nodes[0].Endpoint())
	etcd.Nodes[0].Freeze()
	hbtest.Sleep(t, ttl+2*time.Second)
	etcd.Nodes[0].Thaw()
	thawed := time.Now()
	hbtest.Eventually(t, 60*time.Second, "the leases are lost", func() bool { return w.Count(watcher.Down, everyone) >= n*9/10 })
	c.allValid(60 * time.Second)
	back := time.Since(thawed)
	hbtest.Sleep(t, ttl+2*time.Second) // a second wave would come a TTL later
	took, open := mended(w)
	downs := w.Count(watcher.Down, everyone)
	peak, sum := grants()
	slices.Sort(took)
	if open != 0 || downs > n || len(took) == 0 {
		t.Fatalf("%d downs of %d holders, %d of them not back: a second wave", downs, n, open)
	}
	// etcd takes a thousandth of a second for each to expire, and no holder is to be blamed for that: what counts is its own way back.
	if p99 := took[len(took)*99/100]; p99 > 5*time.Second {
		t.Errorf("99 of 100 were back within %v, want 5s", p99)
	}
	if limit := 5*time.Second + time.Duration(n)*time.Millisecond*hbtest.Slow; back > limit {
		t.Errorf("all were back %v after etcd was, want %v", back, limit)
	}
	if downsAfter := c.lapsed(); downsAfter != 0 {
		t.Errorf("%d may not act a TTL later", downsAfter)
	}
	w.Consistent()
	t.Logf("F32: %d leases lost at once: all %d trusted again %v after etcd was back, each back %s after its down; %d downs, no second wave within a TTL; peak %d grants/s of %d",
		n, n, back.Round(time.Millisecond), spread(took), downs, peak, sum)
}

// lapsed counts those that may not act.
func (c *crowd) lapsed() int {
	n := 0
	for _, g := range c.regs {
		if !g.Valid() {
			n++
		}
	}
	return n
}

// countGrants samples how many leases etcd has granted, until the answer is asked for: the most within a second, and how many in all.
func countGrants(t *testing.T, endpoint string) (result func() (peak, sum int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var counts []int
	var sampling sync.WaitGroup
	sampling.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if n, ok := metric(ctx, endpoint, "etcd_debugging_lease_granted_total"); ok {
				counts = append(counts, n)
			}
		}
	})
	t.Cleanup(func() { cancel(); sampling.Wait() })
	return func() (peak, sum int) {
		cancel()
		sampling.Wait()
		for i := range counts {
			peak = max(peak, counts[i]-counts[max(0, i-10)])
		}
		if len(counts) > 0 {
			sum = counts[len(counts)-1] - counts[0]
		}
		return peak, sum
	}
}

// metric reads one of etcd's counters.
func metric(ctx context.Context, endpoint, name string) (int, bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			n, err := strconv.ParseFloat(value, 64)
			return int(n), err == nil
		}
	}
	return 0, false
}
