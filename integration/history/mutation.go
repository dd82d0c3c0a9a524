package history

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Mutator breaks a good history in one place, to see whether the judge notices. It chooses places where that matters: a
// mutation that yields another good history would be none.
type Mutator struct {
	records []Record // in the order of time
	o       Options
	c       *checker // who judged the good history
	handed  []handing
	fences  []*life // that had to come first
	shared  map[int64]int
}

// handing is one Handed record, and what is around it.
type handing struct {
	index, session int
	raw            bool
	again          bool // it may have been told before the restart, and may as well not come again
	watching       *Record
	before, after  *Record // the neighbours of the same session
}

// NewMutator prepares to break the history. The records are not changed.
func NewMutator(records []Record, o Options) *Mutator {
	m := &Mutator{records: slices.Clone(records), o: o.withDefaults(), shared: make(map[int64]int)}
	slices.SortStableFunc(m.records, func(x, y Record) int { return cmp.Compare(x.At, y.At) })
	m.c = newChecker(m.records, m.o)
	m.c.holders()
	m.c.readers()
	m.index()
	for _, l := range m.c.truth.lives {
		if l.how == gone && l.why.expired() && l.why != died && l.owner != nil {
			if m.c.fencedFirst(l) != math.MaxInt64 {
				m.fences = append(m.fences, l)
			}
		}
	}
	return m
}

// index finds the sessions.
func (m *Mutator) index() {
	last := make(map[string]int) // by subscriber, in handed
	watching := make(map[string]*Record)
	session := make(map[string]int)
	told := make(map[string]int64) // the newest revision
	for i := range m.records {
		rec := &m.records[i]
		switch {
		case rec.Kind == Watching:
			watching[rec.Subscriber] = rec
			session[rec.Subscriber] = i
			delete(last, rec.Subscriber)
		case rec.Kind == Handed && rec.Batch != nil && watching[rec.Subscriber] != nil:
			h := handing{index: i, session: session[rec.Subscriber], watching: watching[rec.Subscriber]}
			h.raw = h.watching.Confirm == 0
			h.again = h.watching.From == "view" && rec.Batch.Revision <= told[rec.Subscriber]
			told[rec.Subscriber] = max(told[rec.Subscriber], rec.Batch.Revision)
			if n, there := last[rec.Subscriber]; there {
				h.before = &m.records[m.handed[n].index]
				m.handed[n].after = rec
			}
			last[rec.Subscriber] = len(m.handed)
			m.handed = append(m.handed, h)
			if h.raw && rec.Batch.Kind == "changes" && !synthetic(rec.Batch) {
				m.shared[rec.Batch.Revision]++
			}
		}
	}
}

// Mutations gives the kinds of mutations.
func Mutations() []string { return sortedKeys(mutations) }

// Mutate makes a mutation of the kind. It is not ok if the history has no place for it.
func (m *Mutator) Mutate(kind string, rng *rand.Rand) (mutated []Record, description string, ok bool) {
	e := &edit{Mutator: m, rng: rng}
	what, ok := mutations[kind](e)
	if !ok {
		return nil, "", false
	}
	return e.apply(), kind + ": " + what, true
}

// edit is one mutation in the making.
type edit struct {
	*Mutator
	rng     *rand.Rand
	drops   map[int]bool
	changes map[int]Record
	added   []Record
}

func (e *edit) apply() []Record {
	out := make([]Record, 0, len(e.records)+len(e.added))
	for i, rec := range e.records {
		if changed, there := e.changes[i]; there {
			rec = changed
		}
		if !e.drops[i] {
			out = append(out, rec)
		}
	}
	return append(out, e.added...)
}

func (e *edit) drop(i int) {
	if e.drops == nil {
		e.drops = make(map[int]bool)
	}
	e.drops[i] = true
}

func (e *edit) change(i int, rec Record) {
	if e.changes == nil {
		e.changes = make(map[int]Record)
	}
	e.changes[i] = rec
}

// batch changes a copy of the batch of a record.
func (e *edit) batch(i int, change func(*Batch)) {
	rec := e.records[i]
	b := *rec.Batch
	b.Events, b.Rows = slices.Clone(b.Events), slices.Clone(b.Rows)
	change(&b)
	rec.Batch = &b
	e.change(i, rec)
}

// pick draws one of those that will do.
func pick[T any](e *edit, all []T, will func(T) bool) (T, bool) {
	if len(all) > 0 {
		for i, start := 0, e.rng.IntN(len(all)); i < len(all); i++ {
			if x := all[(start+i)%len(all)]; will(x) {
				return x, true
			}
		}
	}
	var none T
	return none, false
}

// happened is one event that was told.
type happened struct {
	handing
	at int // in the batch
}

// event draws an event that was told.
func (e *edit) event(will func(h handing, b *Batch, ev *Event) bool) (happened, *Event, bool) {
	at := 0
	h, ok := pick(e, e.handed, func(h handing) bool {
		b := e.records[h.index].Batch
		if b.Kind != "changes" || len(b.Events) == 0 {
			return false
		}
		for i, start := 0, e.rng.IntN(len(b.Events)); i < len(b.Events); i++ {
			if at = (start + i) % len(b.Events); will(h, b, &b.Events[at]) {
				return true
			}
		}
		return false
	})
	if !ok {
		return happened{}, nil, false
	}
	return happened{h, at}, &e.records[h.index].Batch.Events[at], true
}

// set changes a copy of the event.
func (e *edit) set(h happened, change func(*Event)) {
	e.batch(h.index, func(b *Batch) { change(&b.Events[h.at]) })
}

// raw draws an event of a raw reader, of one of the kinds.
func (e *edit) raw(kinds ...string) (happened, *Event, bool) {
	return e.event(func(h handing, _ *Batch, ev *Event) bool { return h.raw && slices.Contains(kinds, ev.Kind) })
}

func (e *edit) life(ev *Event) *life {
	tr := e.c.truth.tracks[ev.Name]
	return tr.life(ev.Incarnation)
}

func tell(rec *Record, ev *Event) string {
	return fmt.Sprintf("%s at %s: %s", rec.Subscriber, seconds(rec.At), eventText(ev))
}

// Tally says how many mutations of a kind were made, and how many were caught.
type Tally struct {
	Kind         string
	Made, Caught int
	Missed       []string          // descriptions
	By           map[Invariant]int // which invariants caught them
}

// Try makes each kind of mutation so many times, and judges the outcome.
func (m *Mutator) Try(seed uint64, times int) []Tally {
	var out []Tally
	for k, kind := range Mutations() {
		tally := Tally{Kind: kind, By: make(map[Invariant]int)}
		for n := range times {
			rng := rand.New(rand.NewPCG(seed+uint64(n), uint64(k))) //nolint:gosec // the same seed must make the same mutations
			mutated, what, ok := m.Mutate(kind, rng)
			if !ok {
				break
			}
			tally.Made++
			failed := Check(mutated, m.o).Failed()
			if len(failed) == 0 {
				tally.Missed = append(tally.Missed, what)
				continue
			}
			tally.Caught++
			for _, i := range failed {
				tally.By[i]++
			}
		}
		out = append(out, tally)
	}
	return out
}
