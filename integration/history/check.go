package history

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hbctl/hbctl/registry"
)

// Check judges a history. The records may be in any order; those of one moment must be in the order in which they were written.
// It reads no clock and does no I/O.
func Check(records []Record, o Options) *Report {
	c := newChecker(records, o.withDefaults())
	c.holders()
	c.readers()
	c.lists()
	c.detection()
	c.fences()
	c.ends()
	c.mistakes()
	c.resources()
	c.recovery()
	return c.report()
}

// checker is one judgement under way.
type checker struct {
	o       Options
	all     []*Record // in the order of time
	scene   *scene
	truth   *truth
	keys    registry.Keys
	results map[Invariant]*Result
	worst   map[Invariant]evidence
	counts  Counts
	quality quality

	subscribers map[string][]*Record // Watching, Handed, Acked
	listed      []*Record
	memory      []*Record
	seen        map[int64]account // what raw readers were told of each revision
	deaths      map[int64]int     // leases whose processes died, by time; see crashed
	falses      map[int64]int     // false deletes, by time; see falseAround
}

// evidence is where a violation is, for its context.
type evidence struct {
	record           *Record
	problem          string
	name, subscriber string
}

func newChecker(records []Record, o Options) *checker {
	c := &checker{
		o: o, results: make(map[Invariant]*Result), worst: make(map[Invariant]evidence),
		subscribers: make(map[string][]*Record), seen: make(map[int64]account),
	}
	for _, i := range Invariants() {
		c.results[i] = &Result{Invariant: i, Verdict: Pass}
	}
	c.all = make([]*Record, len(records))
	for i := range records {
		c.all[i] = &records[i]
	}
	byTime := func(x, y *Record) int { return cmp.Compare(x.At, y.At) }
	if !slices.IsSortedFunc(c.all, byTime) {
		slices.SortStableFunc(c.all, byTime)
	}
	prefix := o.Prefix
	var audits []*Record
	for _, rec := range c.all {
		switch rec.Kind {
		case Begin:
			prefix = cmp.Or(rec.Prefix, prefix)
		case Audit:
			audits = append(audits, rec)
		case Watching, Handed, Acked:
			c.subscribers[rec.Subscriber] = append(c.subscribers[rec.Subscriber], rec)
		case Listed:
			c.listed = append(c.listed, rec)
		case Memory:
			c.memory = append(c.memory, rec)
		}
	}
	keys, err := registry.NewKeys(prefix)
	if err != nil {
		keys, _ = registry.NewKeys("")
	}
	c.keys = keys
	c.scene = stage(c.all, o)
	audits = c.inOrder(audits)
	c.truth = replay(keys, audits, c.earlier(audits))
	c.counts.take(c)
	return c
}

// inOrder checks that the auditor got every revision once and in order. What is not is left out.
func (c *checker) inOrder(audits []*Record) []*Record {
	out := audits[:0:0]
	last := int64(0)
	for _, rec := range audits {
		c.checked(InOrder)
		if rec.Revision <= last {
			c.fail(InOrder, evidence{record: rec, problem: fmt.Sprintf("the auditor got revision %d after %d", rec.Revision, last)})
			continue
		}
		last = rec.Revision
		out = append(out, rec)
	}
	return out
}

// checked counts one test of an invariant.
func (c *checker) checked(i Invariant) { c.results[i].Checked++ }

// fail takes down a violation. The earliest is shown.
func (c *checker) fail(i Invariant, e evidence) {
	r := c.results[i]
	r.Verdict = Fail
	r.Violations++
	if first, there := c.worst[i]; !there || e.record.At < first.record.At {
		c.worst[i] = e
	}
}

// unless makes a result unknown that was never put to the test.
func (c *checker) unless(i Invariant, why string) {
	if r := c.results[i]; r.Checked == 0 && r.Verdict == Pass {
		r.Verdict, r.Why = Unknown, why
	}
}

func (c *checker) report() *Report {
	for i, why := range missing {
		c.unless(i, why)
	}
	if len(c.truth.steps) == 0 {
		for _, r := range c.results {
			if r.Verdict == Pass && r.Invariant != Bounded && r.Invariant != CleanExit {
				r.Verdict, r.Why = Unknown, "no auditor"
			}
		}
	}
	out := &Report{Counts: c.counts, Quality: c.quality.sum(c)}
	for _, i := range Invariants() {
		r := c.results[i]
		if e, failed := c.worst[i]; failed {
			r.First = &Violation{Record: *e.record, Problem: e.problem, Context: c.context(e)}
		}
		out.Results = append(out.Results, *r)
	}
	out.Verdict = out.verdict(c.o.Required)
	return out
}

// missing says what a history lacks that never put an invariant to the test.
var missing = map[Invariant]string{
	Detected:      "nobody was killed",
	OneDown:       "nobody who was told up ended",
	FencedFirst:   "no incarnation expired whose holder lived",
	NeverValid:    "nobody asked Valid of an incarnation that expired",
	InOrder:       "no batches",
	MissesNothing: "no reader was resumed",
	AddsUp:        "no raw reader and no list",
	NoGhosts:      "nothing came up",
	RightCause:    "no end was told",
	NoFalseDown:   "nobody lived",
	MendedSoon:    "no false delete",
	NoFlap:        "no reader was resumed or live again",
	Agreement:     "no two raw readers were told of the same revision",
	StaleTold:     "no reader was out of contact, nor waited",
	Bounded:       "no memory was recorded",
	NoLapse:       "nobody held a lease through a time without faults",
	CleanExit:     "no clean end was recorded",
	BackAgain:     "no settled end",
}
