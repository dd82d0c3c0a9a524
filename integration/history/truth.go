package history

import (
	"fmt"
	"slices"
	"sort"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/registry"
)

// truth is what etcd held at every revision, as the auditor saw it.
type truth struct {
	steps       []step
	tracks      map[string]*track // by BINARY/HOST
	lives       []*life           // in the order of their begin
	nextVisible []int             // of a step: the first from it on that changed what lists show
}

// step is what one revision did.
type step struct {
	revision, at int64
	visible      bool
	changed      []*track
	record       *Record
}

// track is one name through all revisions.
type track struct {
	name    string
	moments []moment
	lives   []*life
	visit   int // see reader.touch
}

// moment is what a name was from one revision on, until the next moment.
type moment struct {
	revision, at int64
	listed       bool
	row          Row
	alive        int64 // ModRevision of the alive key; 0: it is not there
	lease        int64
	ended        *registry.Ended // as the record says, whatever the alive key
	evicted      int64
}

func (m *moment) up() bool { return m.listed && m.row.Present && !m.row.Forced }

// incarnation gives the one that is up, or 0.
func (m *moment) incarnation() int64 {
	if !m.up() {
		return 0
	}
	return m.alive
}

var never moment

// at gives what the name was at the revision.
func (t *track) at(revision int64) *moment {
	n := sort.Search(len(t.moments), func(i int) bool { return t.moments[i].revision > revision })
	if n == 0 {
		return &never
	}
	return &t.moments[n-1]
}

// life gives the incarnation, or nil.
func (t *track) life(incarnation int64) *life {
	if t == nil {
		return nil
	}
	n, found := slices.BinarySearchFunc(t.lives, incarnation, func(l *life, rev int64) int {
		switch {
		case l.incarnation < rev:
			return -1
		case l.incarnation > rev:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return t.lives[n]
}

// next gives the first step after the revision.
func (t *truth) next(revision int64) int {
	return sort.Search(len(t.steps), func(i int) bool { return t.steps[i].revision > revision })
}

// replay derives the truth from the auditor's records, which are in the order of revisions.
func replay(keys registry.Keys, audits []*Record, at map[int64]int64) *truth {
	t := &truth{tracks: make(map[string]*track)}
	entries := make(map[string]*registry.Entry)
	for _, rec := range audits {
		st := step{revision: rec.Revision, at: at[rec.Revision], record: rec}
		for i := range rec.Writes {
			w := &rec.Writes[i]
			family, name, err := keys.Parse([]byte(w.Key))
			if err != nil {
				continue
			}
			text := name.String()
			tr, e := t.tracks[text], entries[text]
			if tr == nil {
				tr, e = &track{name: text}, &registry.Entry{Name: name}
				t.tracks[text], entries[text] = tr, e
			}
			if w.Delete {
				e.Delete(family)
			} else {
				e.Put(family, &mvccpb.KeyValue{Key: []byte(w.Key), Value: []byte(w.Value), ModRevision: rec.Revision, Lease: leaseOf(w.Lease)})
			}
			if !slices.Contains(st.changed, tr) {
				st.changed = append(st.changed, tr)
			}
		}
		for _, tr := range st.changed {
			st.visible = t.move(tr, entries[tr.name], rec, st.at) || st.visible
		}
		t.steps = append(t.steps, st)
	}
	t.nextVisible = make([]int, len(t.steps)+1)
	t.nextVisible[len(t.steps)] = len(t.steps)
	for i := len(t.steps) - 1; i >= 0; i-- {
		if t.nextVisible[i] = i; !t.steps[i].visible {
			t.nextVisible[i] = t.nextVisible[i+1]
		}
	}
	return t
}

// move adds a moment, and says whether lists show the difference.
func (t *truth) move(tr *track, e *registry.Entry, rec *Record, at int64) bool {
	m := moment{revision: rec.Revision, at: at, listed: e.Listed(), alive: e.Alive.Rev, lease: e.Alive.Lease}
	if m.listed {
		service := e.Service()
		m.row = RowOf(&service)
	}
	if e.Record.Value != nil {
		m.ended = e.Record.Value.Ended
	}
	if e.Admin.Value != nil && e.Admin.Value.Evicted != nil {
		m.evicted = e.Admin.Value.Evicted.Incarnation
	}
	before := tr.at(rec.Revision)
	visible := before.listed != m.listed || (m.listed && !sameRow(&before.row, &m.row))
	if before.alive != m.alive {
		t.live(tr, before, &m, e, rec)
	}
	tr.moments = append(tr.moments, m)
	return visible
}

// live ends a life and begins the next.
func (t *truth) live(tr *track, before, m *moment, e *registry.Entry, rec *Record) {
	if n := len(tr.lives); n > 0 && tr.lives[n-1].endRevision == 0 && before.alive != 0 {
		tr.lives[n-1].end(m, rec)
	}
	if m.alive == 0 {
		return
	}
	l := &life{track: tr, incarnation: m.alive, lease: m.lease, begin: m.at, record: rec}
	if h := e.Alive.Holder; h != nil {
		l.registration, l.pid = h.Registration, h.PID
		if h.PID != 0 && h.ProcessStart != "" {
			l.process = fmt.Sprint(h.PID, h.ProcessStart, h.MachineID, h.BootID, h.PIDNamespace)
		}
	}
	if n := len(tr.lives); n > 0 {
		tr.lives[n-1].next = l
	}
	if r := e.Record.Value; r != nil {
		l.ttl = r.TTLSeconds * 1e9
	}
	tr.lives, t.lives = append(tr.lives, l), append(t.lives, l)
}

func leaseOf(text string) int64 {
	id, err := strconv.ParseInt(text, 16, 64)
	if err != nil {
		return 0
	}
	return id
}

// sameRow compares what readers must agree on. Nothing and nothing known are the same here.
func sameRow(x, y *Row) bool {
	return x.Name == y.Name && samePtr(x.Zone, y.Zone) && samePtr(x.Status, y.Status) && x.State == y.State && x.Present == y.Present &&
		x.Forced == y.Forced && x.Incarnation == y.Incarnation && sameMap(x.Labels, y.Labels) && slices.Equal(x.Endpoints, y.Endpoints)
}

func samePtr(x, y *string) bool {
	if x == nil || y == nil {
		return x == y
	}
	return *x == *y
}

func sameMap(x, y map[string]string) bool {
	if len(x) != len(y) {
		return false
	}
	for k, v := range x {
		if w, there := y[k]; !there || v != w {
			return false
		}
	}
	return true
}
