package faults_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// everyone means all instances where a name is asked for.
var everyone registry.Name

// A crowd is many registrations in this process, each on a lease of its own, over several networks.
type crowd struct {
	t        testing.TB
	networks []*etcdtest.Client
	regs     []*registry.Registration
	was      []int64 // incarnations at the start, by index

	mu     sync.Mutex
	events map[registry.EventKind]int
}

// A muster says what crowd to gather.
type muster struct {
	processes int // each with a client, and a registry of another machine
	each      int // registrations of one process
	first     int // number of the first name
	ttl       time.Duration
	client    func() *etcdtest.Client // default: one of all nodes, with a network of its own
}

// gather registers a crowd.
func gather(t testing.TB, etcd *etcdtest.Nodes, m muster) *crowd {
	t.Helper()
	c := &crowd{t: t, events: map[registry.EventKind]int{}}
	if m.client == nil {
		m.client = func() *etcdtest.Client { return etcd.NewClient() }
	}
	c.regs = make([]*registry.Registration, m.processes*m.each)
	var open errgroup.Group
	open.SetLimit(32)
	for p := range m.processes {
		network := m.client()
		c.networks = append(c.networks, network)
		r := hbtest.NewRegistry(t, network.Client, func(cfg *registry.Config) {
			cfg.LeasePerInstance = true
			cfg.OnEvent = c.note
		})
		for i := range m.each {
			index := p*m.each + i
			open.Go(func() error {
				g, err := r.Register(t.Context(), registry.Instance{
					Name: hbtest.Node(m.first + index), TTL: m.ttl, RegisterTimeout: 30 * time.Second,
				})
				c.regs[index] = g
				return err
			})
		}
	}
	if err := open.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, g := range c.regs {
		c.was = append(c.was, g.Incarnation())
	}
	return c
}

func (c *crowd) note(e registry.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events[e.Kind]++
}

// told counts what the registries told of the kind.
func (c *crowd) told(kind registry.EventKind) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events[kind]
}

// allValid waits until every one may act, and says how long it took.
func (c *crowd) allValid(limit time.Duration) time.Duration {
	c.t.Helper()
	return hbtest.Eventually(c.t, limit, "all may act", func() bool {
		return !slices.ContainsFunc(c.regs, func(g *registry.Registration) bool { return !g.Valid() })
	})
}

// same counts the registrations that hold the incarnation they began with.
func (c *crowd) same() int {
	n := 0
	for i, g := range c.regs {
		if g.Incarnation() == c.was[i] {
			n++
		}
	}
	return n
}

// longestGap is the longest time between two answered renewals of any.
func (c *crowd) longestGap() time.Duration {
	var gap time.Duration
	for _, g := range c.regs {
		gap = max(gap, g.Status().LongestGap)
	}
	return gap.Round(time.Millisecond)
}

// unharmed fails the test unless no watcher was told a down, and every one holds what it held.
func (c *crowd) unharmed(w *hbtest.Witness) {
	c.t.Helper()
	for i, g := range c.regs {
		if g.Incarnation() != c.was[i] {
			c.t.Errorf("%s: incarnation %d, was %d", g.Name(), g.Incarnation(), c.was[i])
		}
		if n := w.Count(watcher.Down, g.Name()); n != 0 {
			c.t.Errorf("%s: %d false downs", g.Name(), n)
		}
	}
}

// watchAll starts a witness of raw events on a client of its own.
func watchAll(t testing.TB, client *clientv3.Client) *hbtest.Witness {
	t.Helper()
	return hbtest.Watch(t, client, watcher.Now())
}

// confirmWindow is that of the witnesses whose reader would act on a death.
const confirmWindow = 2 * time.Second

// watchConfirmed starts a witness with a confirmation window.
func watchConfirmed(t testing.TB, client *clientv3.Client) *hbtest.Witness {
	t.Helper()
	return hbtest.Watch(t, client, watcher.Now(), func(cfg *watcher.Config) { cfg.Confirm = confirmWindow })
}

// spread shows the least, the middle and the greatest of some durations.
func spread(durations []time.Duration) string {
	if len(durations) == 0 {
		return "none"
	}
	sorted := slices.Sorted(slices.Values(durations))
	ms := time.Millisecond
	return fmt.Sprintf("min %v, median %v, max %v", sorted[0].Round(ms), sorted[len(sorted)/2].Round(ms), sorted[len(sorted)-1].Round(ms))
}

// mended gives, for each raw down that was followed by an up of the same name, how long that took, and how many were not.
func mended(w *hbtest.Witness) (took []time.Duration, open int) {
	for _, down := range w.Sightings(watcher.Down, everyone) {
		back := time.Duration(-1)
		for _, up := range w.Sightings(watcher.Up, down.Name) {
			if up.Revision > down.Revision || (up.Revision == down.Revision && up.Incarnation > down.Incarnation) {
				back = up.At.Sub(down.At)
				break
			}
		}
		if back < 0 {
			open++
			continue
		}
		took = append(took, back)
	}
	return took, open
}
