package main

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// eventsKept is how many events of one instance are shown when it is opened.
const eventsKept = 20

// topModel is what top knows and what of it is shown. It does no I/O and has no clock.
type topModel struct {
	now           time.Time
	width, height int

	cluster  uint64
	revision int64
	rows     rows
	happened map[registry.Name][]happening // the last events, oldest first
	synced   bool
	stale    bool
	since    time.Time // of the last contact, while stale
	reason   string
	warned   int

	filter   string
	typing   bool // the filter is being typed
	onlyDown bool
	sort     int // of topSorts
	reverse  bool

	shown    []registry.Name // in order
	selected registry.Name
	first    int  // line of the first row on the screen
	open     bool // the selected one is opened
}

// happening is one event of an instance.
type happening struct {
	at    time.Time
	event watcher.Event
}

// topSorts are the orders in which rows can be shown. The name decides between equals.
var topSorts = []struct {
	name    string
	compare func(a, b *registry.Service) int
}{
	{"name", func(_, _ *registry.Service) int { return 0 }},
	{"zone", func(a, b *registry.Service) int { return cmp.Compare(deref(a.Zone), deref(b.Zone)) }},
	{"state", func(a, b *registry.Service) int { return cmp.Compare(a.State, b.State) }},
	{"since", func(a, b *registry.Service) int { return later(a.Since, b.Since) }},
}

// later puts the newest first, and what is not known last.
func later(a, b *time.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return b.Compare(*a)
}

func newTopModel(now time.Time) *topModel {
	return &topModel{
		now: now, width: usualWidth, height: 24,
		rows: make(rows), happened: make(map[registry.Name][]happening),
	}
}

func (m *topModel) resize(width, height int) {
	m.width, m.height = max(width, 1), max(height, 1)
	m.arrange()
}

// take takes over what happened.
func (m *topModel) take(batches ...watcher.Batch) {
	for i := range batches {
		m.apply(&batches[i])
	}
	m.arrange()
}

func (m *topModel) apply(b *watcher.Batch) {
	if b.Cluster != 0 {
		m.cluster, m.revision = b.Cluster, b.Revision
	}
	switch b.Kind {
	case watcher.Snapshot:
		m.rows.take(b)
		m.warned, m.synced = len(b.Warnings), true
	case watcher.Reset:
		m.rows.take(b)
		clear(m.happened)
		m.synced = false
	case watcher.Stale:
		m.stale, m.since, m.reason = true, b.Since, ""
		if b.Reason != nil {
			m.reason = inWords(b.Reason)
		}
	case watcher.Live:
		m.stale = false
	case watcher.Changes:
		for i := range b.Events {
			m.event(b.ObservedAt, &b.Events[i])
		}
	case watcher.Bookmark:
	}
}

func (m *topModel) event(at time.Time, e *watcher.Event) {
	was := m.rows[e.Name]
	m.rows.event(e)
	if e.Kind == watcher.Warning {
		m.warned++
		return
	}
	if row, there := m.rows[e.Name]; there {
		m.rows[e.Name] = dated(row, was, at, e)
	}
	events := append(m.happened[e.Name], happening{at, *e})
	m.happened[e.Name] = events[max(0, len(events)-eventsKept):]
}

// dated gives the row after an event. Nobody wrote down when a service died that said nothing, but we saw it go.
func dated(row, was registry.Service, at time.Time, e *watcher.Event) registry.Service {
	switch {
	case row.State != registry.Down || row.Since != nil:
	case e.Kind == watcher.Down && e.Cause != nil && !e.Synthetic:
		row.Since = &at
	case e.Kind != watcher.Down && was.State == registry.Down:
		row.Since = was.Since
	}
	return row
}

// arrange works out what is shown, and in which order.
func (m *topModel) arrange() {
	m.shown = m.shown[:0]
	for name, row := range m.rows {
		if (!m.onlyDown || row.State == registry.Down) && m.matches(&row) {
			m.shown = append(m.shown, name)
		}
	}
	order := topSorts[m.sort].compare
	slices.SortFunc(m.shown, func(a, b registry.Name) int {
		rowA, rowB := m.rows[a], m.rows[b]
		n := cmp.Or(order(&rowA, &rowB), a.Compare(b))
		if m.reverse {
			return -n
		}
		return n
	})
	at := m.index()
	if at < 0 && len(m.shown) > 0 {
		at = min(m.first, len(m.shown)-1)
		if !m.open {
			m.selected = m.shown[at]
		}
	}
	m.scroll(max(at, 0))
}

func (m *topModel) matches(s *registry.Service) bool {
	text := strings.ToLower(strings.Join([]string{s.Name().String(), deref(s.Zone), string(s.State), joinLabels(s.Labels)}, " "))
	return strings.Contains(text, strings.ToLower(m.filter))
}

func (m *topModel) index() int { return slices.Index(m.shown, m.selected) }

// scroll keeps the line at on the screen.
func (m *topModel) scroll(at int) {
	room := m.room()
	m.first = max(0, min(m.first, len(m.shown)-room))
	switch {
	case at < m.first:
		m.first = at
	case at >= m.first+room:
		m.first = at - room + 1
	}
}

// key does what a key says, and reports whether it says to leave. Text is what it types.
func (m *topModel) key(key, text string) (leave bool) {
	if m.typing {
		m.typed(key, text)
		return key == "ctrl+c"
	}
	switch key {
	case "ctrl+c":
		return true
	case "q", "esc":
		if !m.open && (key == "q" || m.filter == "") {
			return true
		}
		if !m.open {
			m.filter = ""
		}
		m.open = false
	case "/":
		m.typing, m.open = true, false
	case "s":
		m.sort = (m.sort + 1) % len(topSorts)
	case "r":
		m.reverse = !m.reverse
	case "d":
		m.onlyDown = !m.onlyDown
	case "enter":
		m.open = !m.open && len(m.shown) > 0
	default:
		m.move(key)
	}
	m.arrange()
	return false
}

func (m *topModel) typed(key, text string) {
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		_, size := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-size]
	default:
		m.filter += text
	}
	m.arrange()
}

func (m *topModel) move(key string) {
	steps, known := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -m.room(), "pgdown": m.room(), "home": -len(m.shown), "end": len(m.shown),
	}[key]
	if !known || len(m.shown) == 0 {
		return
	}
	m.selected = m.shown[min(max(m.index()+steps, 0), len(m.shown)-1)]
}
