package faults_test

import (
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// One name is started by two processes at the same moment, and later by a third that is told to take it over. One of the two gets it and
// the other is refused; the third ends the first; and no incarnation is told up twice.
func TestF38StartedTwice(t *testing.T) {
	const ttl = 3 * time.Second
	rounds := either(3, 20)
	etcd := etcdtest.Standalone(t)
	w := watchAll(t, etcd.Client())
	for round := range rounds {
		name := hbtest.Node(round)
		line := registering(t, name, ttl)
		two := []*hbtest.Program{hbtest.Start(t, etcd.Endpoints(), line...), hbtest.Start(t, etcd.Endpoints(), line...)}
		up, _ := w.Event(15*time.Second, watcher.Up, name, 0)
		var winner *hbtest.Program
		select {
		case <-two[0].Over:
			winner = two[1]
		case <-two[1].Over:
			winner = two[0]
		case <-time.After(20 * time.Second):
			t.Fatal("both hold the name")
		}
		for _, p := range two {
			if p != winner && p.Ends(time.Second) != 1 {
				t.Errorf("the second ended with %d, want 1:\n%s", p.Ends(time.Second), p.Said())
			}
		}
		if s := hbtest.List(t, etcd.Client())[name]; s.State != registry.Up || *s.Incarnation != up.Incarnation {
			t.Errorf("after the second was refused the first is %s", s.State)
		}
		third := hbtest.Start(t, etcd.Endpoints(), registering(t, name, ttl, "--on-conflict", "takeover")...)
		if cause := w.Down(15*time.Second, name, up.Incarnation); cause != "replaced" {
			t.Errorf("cause %s, want replaced", cause)
		}
		w.Event(5*time.Second, watcher.Up, name, up.Incarnation)
		if code := winner.Ends(10 * time.Second); code != 1 {
			t.Errorf("the one that was replaced ended with %d, want 1:\n%s", code, winner.Said())
		}
		third.Kill()
	}
	seen := map[int64]int{}
	for _, up := range w.Sightings(watcher.Up, everyone) {
		seen[up.Incarnation]++
	}
	for incarnation, times := range seen {
		if times != 1 {
			t.Errorf("incarnation %d was told up %d times", incarnation, times)
		}
	}
	if len(seen) != 2*rounds {
		t.Errorf("%d incarnations, want %d", len(seen), 2*rounds)
	}
	w.Consistent()
	t.Logf("F38: %d names started twice at once and then taken over: one holder each, the other refused with 1, the replaced one ended with 1; %d incarnations, each up once",
		rounds, len(seen))
}
