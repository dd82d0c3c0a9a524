package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

var topTime = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// crowded is a screen with n instances, of which every third is down.
func crowded(n int) *topModel {
	m := newTopModel(topTime)
	b := watcher.Batch{Kind: watcher.Snapshot, Cluster: 0xabc, Revision: 7, Synced: true}
	for i := range n {
		s := registry.Service{
			Binary: "web", Host: fmt.Sprintf("n%02d", i), Zone: ptr(fmt.Sprintf("az%d", i%2)), Status: ptr(registry.Enabled),
			State: registry.Up, Present: true, Since: ptr(topTime.Add(-time.Duration(i) * time.Minute)),
		}
		if i%3 == 0 {
			s.State, s.Present, s.Cause = registry.Down, false, ptr(registry.CauseExpired)
		}
		b.Services = append(b.Services, s)
	}
	m.take(&b)
	return m
}

func (m *topModel) keys(keys ...string) {
	for _, k := range keys {
		m.key(k, k)
	}
}

func TestTopScreen(t *testing.T) {
	t.Parallel()
	m := crowded(12)
	m.resize(78, 12)
	m.keys("down", "down")
	golden(t, "top.screen", m.draw(false)+"\n")
	for _, line := range strings.Split(m.draw(false), "\n") {
		if columnsOf(line) > 78 {
			t.Errorf("too wide: %q", line)
		}
	}
	if n := strings.Count(m.draw(false), "\n"); n != 11 {
		t.Errorf("%d lines on a screen of 12", n+1)
	}
}

func TestTopFollowsWhatHappens(t *testing.T) {
	t.Parallel()
	m := crowded(4)
	m.resize(120, 30)
	m.keys("down") // n01
	gone := m.rows[m.selected]
	gone.State, gone.Cause = registry.Down, ptr(registry.CauseLeft)
	m.take(&watcher.Batch{Kind: watcher.Changes, Cluster: 0xabc, Revision: 9, ObservedAt: topTime, Events: []watcher.Event{
		{Kind: watcher.Down, Name: m.selected, Incarnation: 5, Cause: gone.Cause, Service: gone},
		{Kind: watcher.Warning, Warning: &registry.Warning{Key: "k"}},
	}})
	screen := m.draw(false)
	for _, want := range []string{"revision 9", "4 instances: 1 up, 3 down, 0 disabled, 1 warnings", "> web     n01   az1   enabled  down   60s    left"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
	m.keys("enter")
	if opened := m.draw(false); !strings.Contains(opened, "2026-11-23T10:00:00Z down cause=left incarnation=5") || !strings.Contains(opened, "\nweb/n01") {
		t.Errorf("opened:\n%s", opened)
	}
	m.take(&watcher.Batch{Kind: watcher.Changes, ObservedAt: topTime, Events: []watcher.Event{{Kind: watcher.Forgotten, Name: m.selected}}})
	if opened := m.draw(false); !strings.Contains(opened, "it is gone") || !strings.Contains(opened, "forgotten") {
		t.Errorf("forgotten while it is open:\n%s", opened)
	}
	m.take(&watcher.Batch{Kind: watcher.Stale, Since: topTime.Add(-5 * time.Second), Reason: errEnd})
	if screen := m.draw(true); !strings.Contains(screen, yellow+"STALE for 5s: contact with etcd is lost (the end)") {
		t.Errorf("stale:\n%s", screen)
	}
	m.take(&watcher.Batch{Kind: watcher.Live})
	m.take(&watcher.Batch{Kind: watcher.Reset})
	if screen := m.draw(false); !strings.Contains(screen, "reading what is there") || strings.Contains(screen, "STALE") {
		t.Errorf("after a reset:\n%s", screen)
	}
}

var errEnd = fmt.Errorf("the end")

func TestTopKeys(t *testing.T) {
	t.Parallel()
	shown := func(m *topModel) string {
		var hosts []string
		for _, n := range m.shown {
			hosts = append(hosts, n.Host)
		}
		return strings.Join(hosts, " ")
	}
	m := crowded(6)
	m.resize(100, 7) // three rows
	for _, test := range []struct {
		keys     string
		shown    string
		selected string
	}{
		{"", "n00 n01 n02 n03 n04 n05", "n00"},
		{"end", "n00 n01 n02 n03 n04 n05", "n05"},
		{"pgup", "n00 n01 n02 n03 n04 n05", "n02"},
		{"r", "n05 n04 n03 n02 n01 n00", "n02"},
		{"r s", "n00 n02 n04 n01 n03 n05", "n02"},
		{"s", "n00 n03 n01 n02 n04 n05", "n02"},
		{"s", "n00 n01 n02 n03 n04 n05", "n02"},
		{"s d", "n00 n03", "n03"},
		{"d / 0 4", "n04", "n04"},
		{"backspace backspace a z 1 enter", "n01 n03 n05", "n05"},
		{"esc", "n00 n01 n02 n03 n04 n05", "n05"},
		{"home up", "n00 n01 n02 n03 n04 n05", "n00"},
		{"unknown", "n00 n01 n02 n03 n04 n05", "n00"},
	} {
		m.keys(strings.Fields(test.keys)...)
		if got := shown(m); got != test.shown || m.selected.Host != test.selected {
			t.Errorf("after %q: %s, %s selected; want %s, %s", test.keys, got, m.selected.Host, test.shown, test.selected)
		}
	}
	if !m.key("q", "q") || !m.key("ctrl+c", "") || !m.key("esc", "") {
		t.Error("no way out")
	}
	m.keys("enter")
	if m.key("q", "q") || m.open {
		t.Error("q must close what is open first")
	}
	m.keys("/")
	if m.key("q", "q") || m.filter != "q" {
		t.Error("a letter is typed into the filter")
	}
	if !m.key("ctrl+c", "") {
		t.Error("no way out while typing")
	}
}
