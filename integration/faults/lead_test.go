package faults_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
)

const (
	sharing = 5                     // holders on one network
	stagger = 10 * time.Millisecond // between two networks that fall silent: etcd expires no more than 1,000 leases a second

	// settle is until everybody has renewed: until its first answer a session thinks of its lease as one of 5 s, and would be
	// told seconds late.
	settle = 3 * time.Second
)

// F6: holders whose network falls silent, without a word from anybody, have stopped to act before the first reader can see
// them down. Beside it the same for the sessions of etcd's own client, which count from when an answer was received.
func TestF06HolderBlackholed(t *testing.T) {
	n := *holders
	if n == 0 {
		n = either(200, 1000)
	}
	t.Run("registrations", func(t *testing.T) {
		leads := blackhole(t, n, registrations)
		leads.show(t, "registrations", n)
		if leads.late(0) != 0 || leads.acting != 0 {
			t.Errorf("of %d holders %d were seen down before they were told, and Valid said yes for %d that were down", n, leads.late(0), leads.acting)
		}
	})
	t.Run("sessions", func(t *testing.T) { blackhole(t, n, sessions).show(t, "etcd's sessions", n) })
}

// A doomed is a holder that will be cut off.
type doomed struct {
	key   string // bound to its lease
	ttl   time.Duration
	ended <-chan struct{} // closed when it is told that it may not act
	acts  func() bool     // whether it may, asked now
}

// leads are how long before their down holders were told, by TTL. One that is negative was told too late.
type leads struct {
	byTTL  map[time.Duration][]time.Duration
	acting int // may still act when they were seen down
}

// blackhole makes n holders, silences their networks one after the other, and measures.
func blackhole(t *testing.T, n int, enlist func(t *testing.T, network *etcdtest.Client, first int, ttl time.Duration) []doomed) leads {
	t.Helper()
	etcd := etcdtest.Standalone(t)
	var all []doomed
	var networks []*etcdtest.Client
	for first := 0; first < n; first += sharing {
		network := etcd.NewClient()
		networks = append(networks, network)
		all = append(all, enlist(t, network, first, time.Duration(2+first/sharing%4)*time.Second)...)
	}
	var mu sync.Mutex
	told, downs, acting := map[string]time.Time{}, map[string]time.Time{}, 0
	byKey := map[string]doomed{}
	var waiting sync.WaitGroup
	for _, d := range all {
		byKey[d.key] = d
		waiting.Go(func() {
			<-d.ended
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			told[d.key] = now
		})
	}
	complete := make(chan struct{})
	watchDeletes(t, etcd.Client(), func(key string) {
		now := time.Now()
		acts := byKey[key].acts()
		mu.Lock()
		defer mu.Unlock()
		downs[key] = now
		if acts {
			acting++
		}
		if len(downs) == n {
			close(complete)
		}
	})
	hbtest.Sleep(t, settle)
	for _, network := range networks {
		network.Cut()
		hbtest.Sleep(t, stagger)
	}
	select {
	case <-complete:
	case <-time.After(60 * time.Second):
		mu.Lock()
		t.Errorf("%d of %d were down in time", len(downs), n)
		mu.Unlock()
	}
	waiting.Wait()
	for _, network := range networks {
		network.Heal() // who closes waits for etcd
	}
	l := leads{byTTL: map[time.Duration][]time.Duration{}, acting: acting}
	for key, d := range byKey {
		l.byTTL[d.ttl] = append(l.byTTL[d.ttl], downs[key].Sub(told[key]))
	}
	return l
}

// watchDeletes tells of each key that is deleted, as soon as etcd tells.
func watchDeletes(t *testing.T, client *clientv3.Client, gone func(key string)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	answers := client.Watch(ctx, "/", clientv3.WithPrefix(), clientv3.WithCreatedNotify(), clientv3.WithFilterPut())
	<-answers // it is there
	var reading sync.WaitGroup
	reading.Go(func() {
		for answer := range answers {
			for _, ev := range answer.Events {
				gone(string(ev.Kv.Key))
			}
		}
	})
	t.Cleanup(func() { cancel(); reading.Wait() })
}

// registrations are holders of ours, each with a lease of its own.
func registrations(t *testing.T, network *etcdtest.Client, first int, ttl time.Duration) []doomed {
	keys, err := registry.NewKeys("")
	if err != nil {
		t.Fatal(err)
	}
	r := hbtest.NewRegistry(t, network.Client, func(cfg *registry.Config) { cfg.LeasePerInstance = true })
	var all []doomed
	for i := range sharing {
		g := hbtest.Register(t, r, hbtest.Node(first+i), ttl)
		all = append(all, doomed{keys.Alive(g.Name()), ttl, g.Trusted().Done(), g.Valid})
	}
	return all
}

// sessions are holders by etcd's own client.
func sessions(t *testing.T, network *etcdtest.Client, first int, ttl time.Duration) []doomed {
	var all []doomed
	for i := range sharing {
		s, err := concurrency.NewSession(network.Client, concurrency.WithTTL(int(ttl/time.Second)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Orphan)
		key := fmt.Sprint("/sessions/", first+i)
		if _, err := network.Put(t.Context(), key, "", clientv3.WithLease(s.Lease())); err != nil {
			t.Fatal(err)
		}
		all = append(all, doomed{key, ttl, s.Done(), func() bool {
			select {
			case <-s.Done():
				return false
			default:
				return true
			}
		}})
	}
	return all
}

// late counts those who were told after a reader was, of the TTL, or of any when it is 0.
func (l leads) late(ttl time.Duration) int {
	n := 0
	for of, some := range l.byTTL {
		for _, lead := range some {
			if lead <= 0 && (ttl == 0 || of == ttl) {
				n++
			}
		}
	}
	return n
}

// show prints the table.
func (l leads) show(t *testing.T, what string, n int) {
	t.Helper()
	var b strings.Builder
	smallest := time.Hour
	for _, ttl := range slices.Sorted(maps.Keys(l.byTTL)) {
		some := l.byTTL[ttl]
		_, _ = fmt.Fprintf(&b, "; TTL %v: %d/%d late, lead %s", ttl, l.late(ttl), len(some), spread(some))
		smallest = min(smallest, slices.Min(some))
	}
	outcome := fmt.Sprintf("smallest lead %v", smallest.Round(time.Millisecond))
	if smallest <= 0 {
		outcome = fmt.Sprintf("worst %v late", -smallest.Round(time.Millisecond))
	}
	t.Logf("F06: %s: %d/%d seen down before they were told, %d while they could act, %s%s", what, l.late(0), n, l.acting, outcome, b.String())
}
