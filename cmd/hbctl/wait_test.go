package main

import (
	"testing"
	"time"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// From a reset to what is there again nothing is known: what was there before must not be taken for an answer.
func TestWaitKnowsNothingAfterAReset(t *testing.T) {
	t.Parallel()
	w := &waiting{rows: make(rows), stale: errNoAnswer}
	there := watcher.Batch{Kind: watcher.Snapshot, Synced: true, Services: []registry.Service{{Binary: "web", Host: "n1", State: registry.Up}}}
	gone := watcher.Batch{Kind: watcher.Snapshot, Synced: true}
	for _, step := range []struct {
		batch watcher.Batch
		known bool
		rows  int
	}{
		{there, true, 1},
		{watcher.Batch{Kind: watcher.Reset, Reason: errEnd}, false, 0},
		{gone, true, 0},
		{watcher.Batch{Kind: watcher.Stale, Reason: errEnd}, false, 0},
		{watcher.Batch{Kind: watcher.Live}, true, 0},
	} {
		w.take(&step.batch)
		if (w.stale == nil) != step.known || len(w.rows) != step.rows {
			t.Errorf("after %s: known %v, %d rows", step.batch.Kind, w.stale == nil, len(w.rows))
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("web/n1", `,"zone":"az1"`)
	w.alive("web/n1")

	o := w.hbctl("wait", "--for", "state=up", "web/n1")
	o.wants(t, exitOK)
	if o.stdout != "web/n1 state=up\n" {
		t.Errorf("told %q", o.stdout)
	}
	w.hbctl("wait", "--for", "status=enabled", "--zone", "az1").wants(t, exitOK)

	// What is not so in time is named; a name that nobody knows is neither up nor down.
	o = w.hbctl("wait", "--for", "state=down", "web/n1", "web/none", "--timeout", "300ms")
	o.wants(t, exitNot, "hbctl: not state=down within 300ms: web/n1, web/none (which has no row)\n")

	// It is told when it becomes so, and all must be so at once.
	told := make(chan outcome, 1)
	go func() { told <- w.hbctl("wait", "--for", "state=up", "web/n1", "web/n2", "--timeout", "20s") }()
	select {
	case o := <-told:
		t.Fatalf("told too early: %+v", o)
	case <-time.After(300 * time.Millisecond):
	}
	w.record("web/n2", "")
	w.alive("web/n2")
	o = <-told
	o.wants(t, exitOK)
	if o.stdout != "web/n1 state=up\nweb/n2 state=up\n" {
		t.Errorf("told %q", o.stdout)
	}
	hbctl(t, "wait", "--for", "state=down", "web/n1", "--endpoints", "127.0.0.1:1").wants(t, exitUnreachable)
}

// A script that waits for a rack to come up must not be told that it is before anything of it is there.
func TestWaitForNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("web/n1", `,"zone":"az1"`)
	for _, condition := range conditions {
		o := w.hbctl("wait", "--for", condition, "--zone", "az2")
		o.wants(t, exitNot, "nothing is selected now")
		if o.stdout != "" {
			t.Errorf("said %q", o.stdout)
		}
	}
}
