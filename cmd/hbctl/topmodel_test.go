package main

import (
	"context"
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
	m.take(b)
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
	m.take(watcher.Batch{Kind: watcher.Changes, Cluster: 0xabc, Revision: 9, ObservedAt: topTime, Events: []watcher.Event{
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
	m.take(watcher.Batch{Kind: watcher.Changes, ObservedAt: topTime, Events: []watcher.Event{{Kind: watcher.Forgotten, Name: m.selected}}})
	if opened := m.draw(false); !strings.Contains(opened, "it is gone") || !strings.Contains(opened, "forgotten") {
		t.Errorf("forgotten while it is open:\n%s", opened)
	}
	m.take(watcher.Batch{Kind: watcher.Stale, Since: topTime.Add(-5 * time.Second), Reason: errEnd})
	if screen := m.draw(true); !strings.Contains(screen, yellow+"STALE for 5s: contact with etcd is lost (the end)") {
		t.Errorf("stale:\n%s", screen)
	}
	m.take(watcher.Batch{Kind: watcher.Live})
	m.take(watcher.Batch{Kind: watcher.Reset})
	if screen := m.draw(false); !strings.Contains(screen, "reading what is there") || strings.Contains(screen, "STALE") {
		t.Errorf("after a reset:\n%s", screen)
	}
}

var errEnd = fmt.Errorf("the end")

// One long name must not push what matters off the screen, and the screen is full at any size.
func TestTopFitsAnyScreen(t *testing.T) {
	t.Parallel()
	m := crowded(8)
	m.take(watcher.Batch{Kind: watcher.Changes, ObservedAt: topTime, Events: []watcher.Event{{
		Kind: watcher.Up, Name: registry.Name{Binary: "nova-" + strings.Repeat("x", 80), Host: strings.Repeat("東", 60)},
		Service: registry.Service{Binary: "nova-" + strings.Repeat("x", 80), Host: strings.Repeat("東", 60), State: registry.Up},
	}}})
	m.resize(80, 24)
	screen := m.draw(false)
	for _, want := range []string{"ZONE  STATUS   STATE  SINCE  CAUSE\n", "az0   enabled  down   0s     expired\n", "xx…  東東", "-     -        up     -      -\n"} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%s", want, screen)
		}
	}
	m.keys("end")
	for _, stale := range []bool{false, true} {
		for _, width := range []int{1, 2, 3, 5, 20, 40, 52, 53, 60, 79, 80, 100, 200} {
			for height := 1; height <= 16; height++ {
				m.stale = stale
				m.resize(width, height)
				for _, key := range []string{"", "enter", "enter"} {
					m.keys(key)
					lines := strings.Split(m.draw(false), "\n")
					if len(lines) != height {
						t.Fatalf("%dx%d: %d lines", width, height, len(lines))
					}
					for _, line := range lines {
						if columnsOf(line) > width {
							t.Fatalf("%dx%d: too wide: %q", width, height, line)
						}
					}
					m.draw(true)
				}
				if shown := strings.Contains(m.draw(false), ">"); !shown && height > 1 && width > 1 {
					t.Fatalf("%dx%d: the selected row is not on the screen:\n%s", width, height, m.draw(false))
				}
			}
		}
	}
}

// Nobody writes down when a service died that said nothing; who saw it go knows, until it is back.
func TestTopKnowsWhenItSawADeath(t *testing.T) {
	t.Parallel()
	m := crowded(2)
	m.resize(120, 30)
	row := m.rows[registry.Name{Binary: "web", Host: "n01"}]
	happens := func(kind watcher.Kind, cause *registry.Cause, synthetic bool, seconds time.Duration, want string) {
		t.Helper()
		s := row
		s.Since = nil
		s.State = registry.Down
		m.take(watcher.Batch{Kind: watcher.Changes, ObservedAt: topTime.Add(seconds * time.Second), Events: []watcher.Event{
			{Kind: kind, Name: s.Name(), Cause: cause, Synthetic: synthetic, Service: s},
		}})
		m.now = topTime.Add(time.Minute)
		if got := age(m.rows[s.Name()].Since, m.now); got != want {
			t.Errorf("%s: since %s, want %s", kind, got, want)
		}
	}
	happens(watcher.Down, ptr(registry.CauseExpired), false, 20, "40s")
	happens(watcher.Disabled, nil, false, 30, "40s")
	m.take(watcher.Batch{Kind: watcher.Changes, Events: []watcher.Event{{Kind: watcher.Up, Name: row.Name(), Service: row}}})
	happens(watcher.Down, nil, false, 40, "-")                       // told late
	happens(watcher.Down, ptr(registry.CauseExpired), true, 50, "-") // found by comparing
}

// What came while the screen was busy is taken at once, in order; who waits for more ends with the context.
func TestTopInbox(t *testing.T) {
	t.Parallel()
	inbox := newTopInbox()
	ctx, cancel := context.WithCancel(t.Context())
	for revision := range int64(3) {
		inbox.put(watcher.Batch{Revision: revision})
	}
	batches, _ := inbox.next(ctx)().([]watcher.Batch)
	if len(batches) != 3 || batches[0].Revision != 0 || batches[2].Revision != 2 {
		t.Errorf("got %v", batches)
	}
	waiting := make(chan any, 1)
	go func() { waiting <- inbox.next(ctx)() }()
	inbox.put(watcher.Batch{Revision: 9})
	if batches, _ := (<-waiting).([]watcher.Batch); len(batches) != 1 || batches[0].Revision != 9 {
		t.Errorf("got %v", batches)
	}
	cancel()
	if msg := inbox.next(ctx)(); msg != nil {
		t.Errorf("got %v after the end", msg)
	}
}

// A name may be that of a state.
func TestTopColoursStates(t *testing.T) {
	t.Parallel()
	m := crowded(1)
	m.resize(100, 12)
	m.take(watcher.Batch{Kind: watcher.Changes, Events: []watcher.Event{{Kind: watcher.Disabled, Name: registry.Name{Binary: "down", Host: "up"}, Service: registry.Service{
		Binary: "down", Host: "up", State: registry.Up, Status: ptr(registry.Disabled),
	}}}})
	m.keys("end")
	screen := m.draw(true)
	for _, want := range []string{
		"  down    up    -     " + yellow + "disabled" + reset + "  " + green + "up" + reset + "     -      -\n",
		inverse + "> web     n00   az0   enabled   down   0s     expired" + reset,
		"r reverse  d down  q leave",
	} {
		if !strings.Contains(screen, want) {
			t.Errorf("no %q in\n%q", want, screen)
		}
	}
}

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
