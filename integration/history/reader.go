package history

import (
	"fmt"
	"slices"
)

// state is what a reader was told of a name.
type state int

const (
	down state = iota
	up
	suspect
)

// told is all that a reader was told of a name.
type told struct {
	state       state
	incarnation int64 // of up and suspect; of down: the last that was told up
	deleted     int64 // of suspect
	listed      bool
	row         Row
	flight      []told // what it was before the batches that are not acknowledged
	doubt       []told // what it may be too, since a restart: the view may be older than what was in flight
}

// reader is one subscriber through all its restarts.
type reader struct {
	c          *checker
	subscriber string
	confirm    int64
	names      map[string]*told
	position   int64
	acked      int64           // the position that was last acknowledged
	handed     *Record         // the batch before
	acks       bool            // it records when it asks for the next batch
	flying     map[string]bool // names with a flight
	doubted    map[string]bool // names with a doubt
	positions  []int64         // of the batches that are not acknowledged

	process   *process
	since     int64 // when the session began
	virgin    bool  // nothing may come but a snapshot
	reset     bool
	restarted bool // nothing but words on the stream came since the restart
	guess     bool // the position of the restart is not known
	synced    bool
	stale     bool
	contact   int64 // since when contact can be expected
	waiting   int64 // since when the reader waits; forever: it does not

	touched []*track // names that may differ from the truth
	visit   int
	open    int // suspects
}

// readers judges all that was told.
func (c *checker) readers() {
	c.counts.lives(c.truth.lives)
	visit := 0
	for _, subscriber := range sortedKeys(c.subscribers) {
		r := &reader{
			c: c, subscriber: subscriber, waiting: forever, visit: visit,
			names: make(map[string]*told), flying: make(map[string]bool), doubted: make(map[string]bool),
		}
		r.acks = slices.ContainsFunc(c.subscribers[subscriber], func(rec *Record) bool { return rec.Kind == Acked })
		for _, rec := range c.subscribers[subscriber] {
			switch rec.Kind {
			case Watching:
				r.watching(rec)
			case Handed:
				if rec.Batch != nil {
					r.handle(rec)
				}
			case Acked:
				r.acknowledge(rec)
			}
		}
		r.silence(c.scene.end, nil)
		visit = r.visit + 1
	}
}

// fail takes down what is wrong with a batch.
func (r *reader) fail(i Invariant, rec *Record, name, format string, args ...any) {
	r.c.fail(i, evidence{record: rec, name: name, subscriber: r.subscriber, problem: r.subscriber + ": " + fmt.Sprintf(format, args...)})
}

// watching begins a session.
func (r *reader) watching(rec *Record) {
	r.silence(rec.At, nil)
	first := r.handed == nil
	r.since = rec.At
	r.confirm, r.process = rec.Confirm, r.c.scene.process(rec.Source)
	r.virgin, r.reset, r.stale, r.synced, r.guess = false, false, false, false, false
	r.waiting, r.contact, r.restarted = rec.At, forever, !first
	switch {
	case rec.From == "now", first && rec.Revision == 0:
		r.forget()
		r.virgin = true
	case rec.From == "revision":
		r.c.checked(MissesNothing)
		r.put(rec.Revision)
		r.acked = rec.Revision
	case r.confirm > 0:
		r.c.checked(MissesNothing)
		r.doubtFlight()
	case rec.Revision == 0:
		r.c.checked(MissesNothing)
		r.guess = true
	default:
		r.c.checked(MissesNothing)
		r.resumeAt(rec)
	}
}

// resumeAt goes on from a view. It must be one that was acknowledged, or the batch in flight.
func (r *reader) resumeAt(rec *Record) {
	if rec.Revision < r.acked {
		r.fail(MissesNothing, rec, "", "resumed from a view at %d, but had acknowledged %d", rec.Revision, r.acked)
	}
	if rec.Revision > r.position {
		r.advance(rec.Revision)
		r.compare(rec, rec.Revision, MissesNothing)
	}
	r.put(rec.Revision)
	r.acked = rec.Revision
}

// doubtFlight goes on from a view that may or may not have what was in flight.
func (r *reader) doubtFlight() {
	r.position = r.acked
	r.touchUpTo(r.position, forever-1)
	for name := range r.flying {
		t := r.names[name]
		t.doubt, t.flight = append(t.doubt, t.flight...), nil
		r.doubted[name] = true
		r.touch(r.c.truth.tracks[name])
	}
	clear(r.flying)
}

// put makes the reader one who was told all up to the revision.
func (r *reader) put(revision int64) {
	acked := r.acked
	r.forget()
	for name, tr := range r.c.truth.tracks {
		m := tr.at(revision)
		if t := m.told(); t != nil {
			r.names[name] = t
		}
	}
	r.position, r.acked = revision, acked
}

// told gives what somebody knows who was told the moment.
func (m *moment) told() *told {
	if !m.listed {
		return nil
	}
	t := &told{listed: true, row: m.row}
	if m.up() {
		t.state, t.incarnation = up, m.alive
	}
	return t
}

func (r *reader) forget() {
	clear(r.names)
	clear(r.flying)
	clear(r.doubted)
	r.touched, r.positions, r.open, r.position, r.acked = nil, nil, 0, 0, 0
	r.visit++
}

// name gives what was told of a name.
func (r *reader) name(name string) *told {
	t := r.names[name]
	if t == nil {
		t = &told{}
		r.names[name] = t
	}
	return t
}

// acknowledge takes what was handed over out of flight.
func (r *reader) acknowledge(rec *Record) {
	r.acked, r.positions = max(r.acked, rec.Revision), r.positions[:0]
	if r.waiting == forever {
		r.waiting = rec.At
	}
	for name := range r.flying {
		if t := r.names[name]; t != nil {
			t.flight = nil
		}
	}
	clear(r.flying)
}

// touch notes that a name may differ from the truth.
func (r *reader) touch(tr *track) {
	if tr != nil && tr.visit != r.visit {
		tr.visit = r.visit
		r.touched = append(r.touched, tr)
	}
}

// advance moves the truth on to the revision.
func (r *reader) advance(revision int64) {
	if revision > r.position {
		r.touchUpTo(r.position, revision)
		r.position = revision
	}
}

func (r *reader) touchUpTo(from, to int64) {
	steps := r.c.truth.steps
	for i := r.c.truth.next(from); i < len(steps) && steps[i].revision <= to; i++ {
		for _, tr := range steps[i].changed {
			r.touch(tr)
		}
	}
}

// untouched forgets which names were touched: they were compared.
func (r *reader) untouched() {
	r.touched = r.touched[:0]
	r.visit++
}

// compare sees whether what was told is what is true at the revision. What is not is mended, so that one fault is found once.
func (r *reader) compare(rec *Record, revision int64, otherwise Invariant) {
	r.c.checked(AddsUp)
	for _, tr := range r.touched {
		m := tr.at(revision)
		t := r.names[tr.name]
		if t == nil {
			t = &told{}
		}
		if r.agrees(t, m) {
			continue
		}
		was := incarnationOf(t)
		switch is := m.incarnation(); {
		case was == is:
			r.fail(otherwise, rec, tr.name, "at revision %d %s is told %s, but is %s", revision, tr.name, t.text(), m.text())
		case was != 0 && is != was:
			r.fail(OneDown, rec, tr.name, "incarnation %d of %s was told up and is over at revision %d, but no end of it was told", was, tr.name, revision)
			if otherwise == MissesNothing {
				r.fail(MissesNothing, rec, tr.name, "the resume skipped what became of %s", tr.name)
			}
		default:
			r.fail(otherwise, rec, tr.name, "incarnation %d of %s is up at revision %d, which was not told", is, tr.name, revision)
		}
		if now := m.told(); now != nil {
			r.names[tr.name] = now
		} else {
			delete(r.names, tr.name)
		}
	}
	r.untouched()
}

// agrees compares. With a confirmation window rows may differ, incarnations may not.
func (r *reader) agrees(t *told, m *moment) bool {
	if r.confirm == 0 {
		return t.listed == m.listed && incarnationOf(t) == m.incarnation() && (!t.listed || sameRow(&t.row, &m.row))
	}
	if incarnationOf(t) == m.incarnation() {
		return true
	}
	return slices.ContainsFunc(t.doubt, func(d told) bool { return incarnationOf(&d) == m.incarnation() })
}

func incarnationOf(t *told) int64 {
	if t == nil || t.state == down {
		return 0
	}
	return t.incarnation
}

func (t *told) text() string {
	if !t.listed {
		return "not there"
	}
	return rowText(&t.row)
}

func (m *moment) text() string {
	if !m.listed {
		return "not there"
	}
	return rowText(&m.row)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
