package watcher

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/hbctl/hbctl/registry"
)

// A change is one name before and after one revision, or before and after a time in which nobody looked. All rules on what
// is told of it are here. Entries are set; an empty one means that no key was there.
//
// With open suspects what the reader believes differs from what is there: a suspect is up until its down is told. So changes are
// found by comparing what was believed with what is to be believed, and rows are told as they are.
type change struct {
	known, seen   *registry.Entry  // what was there, and what is
	before, after *registry.Entry  // what the reader believed, and is to believe
	was, is       registry.Service // rows of what is believed
	row           registry.Service // of what is there
	revision      int64
	live          bool // seen as it happened, so asking about a lease still tells why a key went
	synthetic     bool // found by comparing
	suspicious    bool // the reader asks for confirmation
	confirmed     bool // the window of the suspect is over
	held          *suspect
	opened        bool // held is new: it became a suspect by this
	returned      bool // another incarnation of the same process
}

// believe says what the reader believed and is to believe.
func (c *change) believe(known, seen *cell, held *suspect) {
	c.held, c.before, c.after = held, c.known, c.seen
	process := known.identity()
	if held != nil {
		before := *c.known
		before.Alive, process = held.cell().entry(c.known.Name).Alive, held.process
		c.before = &before
	}
	b, a := &c.before.Alive, &c.seen.Alive
	c.returned = (held != nil || c.suspicious) && c.before.Present() && c.seen.Present() && a.Rev != b.Rev &&
		sameProcess(b, a, process, seen.process)
	if c.returned {
		_, _, announced := c.announced(c.seen)
		c.returned = !announced // it was down, and said so
	}
	if c.undecided() {
		after := *c.seen
		after.Alive = c.before.Alive
		c.after = &after
	}
}

// undecided says that a key went, and nobody announced it: the reader shall go on believing in it for a while.
func (c *change) undecided() bool {
	b := c.before
	if b.State() != registry.Up || c.seen.Alive.Rev != 0 || c.confirmed || c.held == nil && !c.suspicious {
		return false
	}
	_, _, announced := c.announced(c.seen)
	return !announced
}

// suspects says whether a suspect is opened or closed by this. Head is the revision up to which all was told before.
func (c *change) suspects(head int64, known *cell) (opened *suspect, closed bool) {
	open := c.after != c.seen && c.after.State() == registry.Up
	switch {
	case open && c.held == nil:
		opened = suspectOf(known)
		if c.synthetic {
			lost := registry.CauseLost
			opened.safe = head
			opened.cause.Store(&lost)
		} else {
			opened.deleted, opened.safe = c.revision, c.revision-1
		}
		c.held, c.opened = opened, true
		return opened, false
	case !open && c.held != nil:
		return nil, true
	}
	return nil, false
}

// events gives what is told, in this order: the end of one incarnation, the begin of the next, other changes, status,
// forgotten, warnings. They are appended to out, which is empty.
func (c *change) events(keys registry.Keys, out []Event) []Event {
	c.was, c.is = c.before.Service(), c.after.Service()
	if c.row = c.is; c.after != c.seen {
		c.row = c.seen.Service()
	}
	out = c.presence(out)
	wasRow, isRow := c.before.Listed(), c.after.Listed()
	if c.is.State == registry.Down {
		isRow = c.seen.Listed() // it is believed in no longer
	}
	switch {
	case wasRow && isRow:
		kind := c.status()
		if len(out) == 0 && c.differs(kind != "") {
			out = append(out, c.event(Updated, c.row, c.after.Incarnation()))
		}
		if kind != "" {
			out = append(out, c.event(kind, c.row, c.after.Incarnation()))
		}
	case isRow && len(out) == 0:
		out = append(out, c.event(Updated, c.row, c.after.Incarnation()))
	case wasRow && !isRow:
		out = append(out, c.event(Forgotten, c.absent(), c.before.Incarnation()))
	}
	return append(out, c.warnings(keys)...)
}

// presence tells ends and begins. An up and a down alternate, and every incarnation that was told up gets exactly one down, or is
// the previous one of a cleared: from here, and from nowhere else. What a force hides is told as updated.
func (c *change) presence(out []Event) []Event {
	b, a := c.before, c.after
	wasUp, isUp := c.was.State == registry.Up, c.is.State == registry.Up
	same := b.Present() == a.Present() && (!a.Present() || a.Alive.Rev == b.Alive.Rev)
	gone := a != c.seen // believed in, but not there
	switch {
	case wasUp && isUp && gone && b.Alive.Rev == c.known.Alive.Rev:
		return append(out, c.suspect())
	case wasUp && isUp && same:
		return out
	case wasUp && isUp && c.returned:
		return append(out, c.cleared())
	case wasUp && isUp:
		return append(out, c.down(), c.up())
	case wasUp && (gone || a.Present() && !same): // gone or replaced, and forced down in the same breath or before it was known
		hidden := c.hidden()
		if !gone {
			hidden.Cause, hidden.CauseReason = nil, nil // the down tells it
		}
		return append(out, c.down(), hidden)
	case wasUp:
		return append(out, c.down())
	case isUp:
		return append(out, c.up())
	case !same:
		return append(out, c.hidden())
	}
	return out
}

func (c *change) up() Event {
	e := c.event(Up, c.row, c.after.Alive.Rev)
	if previous := c.before.Incarnation(); previous != e.Incarnation {
		e.PreviousIncarnation = previous
	}
	return e
}

// suspect tells that a key went for which nobody said why.
func (c *change) suspect() Event {
	row := c.row
	if !c.seen.Listed() {
		row = c.absent()
	}
	e := c.event(Suspect, row, c.before.Alive.Rev)
	c.explain(&e, c.seen)
	e.suspect = c.held
	return e
}

// cleared tells that the process of a suspect is back, or that a process put its own key anew: it was never down.
func (c *change) cleared() Event {
	e := c.event(Cleared, c.row, c.after.Alive.Rev)
	e.PreviousIncarnation = c.before.Alive.Rev
	return e
}

func (c *change) down() Event {
	row := c.row
	if c.seen.Present() && c.seen.Alive.Rev != c.before.Alive.Rev || !c.seen.Listed() {
		row = c.absent()
	}
	e := c.event(Down, row, c.before.Alive.Rev)
	c.explain(&e, c.after)
	return e
}

// hidden tells that an instance came or went while an operator's force kept it down.
func (c *change) hidden() Event {
	present := c.seen.Present()
	e := c.event(Updated, c.row, c.seen.Alive.Rev)
	e.Present = &present
	if !present {
		e.Incarnation = c.before.Alive.Rev
		if !c.seen.Listed() {
			e.Service = c.absent()
		}
	}
	if c.before.Present() {
		if present {
			e.PreviousIncarnation = c.before.Alive.Rev
		}
		c.explain(&e, c.seen)
	}
	return e
}

// announced gives the end that somebody said the incarnation before has had, if the entry tells one.
func (c *change) announced(a *registry.Entry) (cause registry.Cause, reason string, yes bool) {
	ended := c.before.Alive.Rev
	if r := a.Record.Value; r != nil && r.Ended != nil && r.Ended.Incarnation == ended {
		return r.Ended.Cause, r.Ended.Reason, true
	}
	if a.Present() && !c.synthetic {
		return "", "", false // whatever was said of it since, it was replaced
	}
	if v := a.Admin.Value; v != nil && v.Evicted != nil && (v.Evicted.Incarnation == ended || v.Evicted.Incarnation > ended && !c.synthetic) {
		return registry.CauseEvicted, v.Evicted.Reason, true
	}
	return "", "", false
}

// explain says why the incarnation before ended, given what is there now. Order matters: the first that is proven wins.
func (c *change) explain(e *Event, a *registry.Entry) {
	if a.Present() && a.Alive.Rev == c.before.Alive.Rev { // it is still there, or believed to be: somebody said that it is down
		e.because(registry.CauseForced, a.Admin.Value.ForcedDown.Reason)
		e.showCause()
		return
	}
	if c.held != nil {
		e.DeletedRevision = c.held.deleted
	} else if a.Alive.Rev == 0 && !c.synthetic {
		e.DeletedRevision = c.revision
	}
	cause, reason, announced := c.announced(a)
	switch {
	case announced:
		e.because(cause, reason)
	case c.held != nil && !c.opened:
		e.suspect = c.held // the key went before this, and why may be known by then
	case a.Present() && !c.synthetic:
		e.because(registry.CauseReplaced, "")
	case a.Alive.Rev != 0 && !a.Present():
		e.because(registry.CauseUnleased, "the alive key was put again without a lease")
	case c.synthetic:
		e.because(registry.CauseLost, "")
	case c.live:
		e.lease = c.before.Alive.Lease
	}
	e.showCause()
}

// status tells whether an operator changed what is wanted: Enabled, Disabled or "". A status that can't be read is no
// change of it.
func (c *change) status() Kind {
	switch was, is := c.was.Status, c.is.Status; {
	case is == nil || (was != nil && *was == *is):
		return ""
	case *is == registry.Disabled:
		return Disabled
	}
	return Enabled
}

// differs says that the row changed in what is worth telling. A report alone is not: it would make every beat of every
// service an event.
func (c *change) differs(statusTold bool) bool {
	a, b := &c.was, &c.is
	return a.Binary != b.Binary || a.Host != b.Host || a.State != b.State || a.Present != b.Present ||
		!equal(a.Zone, b.Zone) || !equal(a.ForcedDown, b.ForcedDown) || !equal(a.ForcedReason, b.ForcedReason) ||
		!equal(a.ForcedBy, b.ForcedBy) || !equal(a.ForcedAt, b.ForcedAt) || !equal(a.Cause, b.Cause) ||
		!equal(a.CauseReason, b.CauseReason) || !equal(a.Since, b.Since) || !equal(a.CreatedAt, b.CreatedAt) ||
		!equal(a.TTLSeconds, b.TTLSeconds) || !equal(a.Incarnation, b.Incarnation) || !equal(a.Lease, b.Lease) ||
		!equal(a.Expiring, b.Expiring) || (a.Labels == nil) != (b.Labels == nil) || !maps.Equal(a.Labels, b.Labels) ||
		(a.Endpoints == nil) != (b.Endpoints == nil) || !slices.Equal(a.Endpoints, b.Endpoints) ||
		!statusTold && c.statusDiffers()
}

// statusDiffers says that what an operator wants, or what he said of it, is not what it was.
func (c *change) statusDiffers() bool {
	a, b := &c.was, &c.is
	return !equal(a.Status, b.Status) || !equal(a.DisabledReason, b.DisabledReason) ||
		!equal(a.DisabledBy, b.DisabledBy) || !equal(a.DisabledAt, b.DisabledAt)
}

// equal compares what is not known where it is nil. Times of rows are all in UTC.
func equal[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// absent gives the row without its alive key. A record that went in the same revision still tells the zone.
func (c *change) absent() registry.Service {
	e := registry.Entry{Name: c.seen.Name, Record: c.seen.Record, Admin: c.seen.Admin}
	if e.Record.Rev == 0 {
		e.Record = c.before.Record
	}
	return e.Service()
}

// warnings tells each key that is wrong now and was not before.
func (c *change) warnings(keys registry.Keys) []Event {
	now := problems(c.seen.Warnings(keys))
	if len(now) == 0 {
		return nil
	}
	var out []Event
	before := problems(c.known.Warnings(keys))
	for key, problem := range now {
		if _, told := before[key]; !told {
			out = append(out, Event{
				Kind: Warning, Name: c.seen.Name, Synthetic: c.synthetic,
				Warning: &registry.Warning{Key: key, Problem: problem},
			})
		}
	}
	slices.SortFunc(out, func(x, y Event) int { return cmp.Compare(x.Warning.Key, y.Warning.Key) })
	return out
}

// problems joins what is wrong with each key.
func problems(warnings []registry.Warning) map[string]string {
	if len(warnings) == 0 {
		return nil
	}
	byKey := make(map[string]string, len(warnings))
	for _, w := range warnings {
		byKey[w.Key] = strings.TrimPrefix(byKey[w.Key]+"; "+w.Problem, "; ")
	}
	return byKey
}

func (c *change) event(kind Kind, row registry.Service, incarnation int64) Event {
	return Event{
		Kind: kind, Name: c.seen.Name, Zone: row.Zone, Incarnation: incarnation,
		Synthetic: c.synthetic, Service: row,
	}
}

// because sets the cause.
func (e *Event) because(cause registry.Cause, reason string) {
	e.Cause = &cause
	if reason != "" {
		e.CauseReason = &reason
	}
}

// showCause makes the row say what the event says. What an operator forced stays forced.
func (e *Event) showCause() {
	if e.Service.State == registry.Down && (e.Service.ForcedDown == nil || !*e.Service.ForcedDown) {
		e.Service.Cause, e.Service.CauseReason = e.Cause, e.CauseReason
	}
}
