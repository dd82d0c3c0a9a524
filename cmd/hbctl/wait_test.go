package main

import (
	"testing"
	"time"
)

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
