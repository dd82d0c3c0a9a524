package watcher

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/hbctl/hbctl/registry"
)

// A change is one name before and after one revision, or before and after a time in which nobody looked. All rules on what
// is told of it are here. Both entries are set; an empty one means that no key was there.
type change struct {
	before, after *registry.Entry
	was, is       registry.Service // their rows
	revision      int64
	live          bool // seen as it happened, so asking about a lease still tells why a key went
	synthetic     bool // found by comparing
}

// events gives what is told, in this order: the end of one incarnation, the begin of the next, other changes, status,
// forgotten, warnings.
func (c *change) events(keys registry.Keys) []Event {
	c.was, c.is = c.before.Service(), c.after.Service()
	out := c.presence()
	wasRow, isRow := c.before.Listed(), c.after.Listed()
	switch {
	case wasRow && isRow:
		kind := c.status()
		if len(out) == 0 && c.differs(kind != "") {
			out = append(out, c.event(Updated, c.is, c.after.Incarnation()))
		}
		if kind != "" {
			out = append(out, c.event(kind, c.is, c.after.Incarnation()))
		}
	case isRow && len(out) == 0:
		out = append(out, c.event(Updated, c.is, c.after.Incarnation()))
	case wasRow && !isRow:
		out = append(out, c.event(Forgotten, c.absent(), c.before.Incarnation()))
	}
	return append(out, c.warnings(keys)...)
}

// presence tells ends and begins. An up and a down alternate, and every incarnation that was told up gets exactly one down:
// from here, and from nowhere else. What a force hides is told as updated.
func (c *change) presence() []Event {
	b, a := c.before, c.after
	wasUp, isUp := c.was.State == registry.Up, c.is.State == registry.Up
	same := b.Present() == a.Present() && (!a.Present() || a.Alive.Rev == b.Alive.Rev)
	switch {
	case wasUp && isUp && same:
		return nil
	case wasUp && isUp:
		return []Event{c.down(), c.up()}
	case wasUp && a.Present() && !same: // replaced, and forced down in the same breath
		hidden := c.hidden()
		hidden.Cause, hidden.CauseReason = nil, nil // the down tells it
		return []Event{c.down(), hidden}
	case wasUp:
		return []Event{c.down()}
	case isUp:
		return []Event{c.up()}
	case !same:
		return []Event{c.hidden()}
	}
	return nil
}

func (c *change) up() Event {
	e := c.event(Up, c.is, c.after.Alive.Rev)
	if previous := c.before.Incarnation(); previous != e.Incarnation {
		e.PreviousIncarnation = previous
	}
	return e
}

func (c *change) down() Event {
	row := c.is
	if c.after.Present() && c.after.Alive.Rev != c.before.Alive.Rev || !c.after.Listed() {
		row = c.absent()
	}
	e := c.event(Down, row, c.before.Alive.Rev)
	c.explain(&e)
	return e
}

// hidden tells that an instance came or went while an operator's force kept it down.
func (c *change) hidden() Event {
	present := c.after.Present()
	e := c.event(Updated, c.is, c.after.Alive.Rev)
	e.Present = &present
	if !present {
		e.Incarnation = c.before.Alive.Rev
		if !c.after.Listed() {
			e.Service = c.absent()
		}
	}
	if c.before.Present() {
		if present {
			e.PreviousIncarnation = c.before.Alive.Rev
		}
		c.explain(&e)
	}
	return e
}

// explain says why the incarnation before ended. Order matters: the first that is proven wins.
func (c *change) explain(e *Event) {
	b, a := c.before, c.after
	ended := b.Alive.Rev
	if a.Alive.Rev == 0 && !c.synthetic {
		e.DeletedRevision = c.revision
	}
	switch {
	case a.Present() && a.Alive.Rev == ended: // it is still there: somebody said that it is down
		e.because(registry.CauseForced, a.Admin.Value.ForcedDown.Reason)
	case a.Record.Value != nil && a.Record.Value.Ended != nil && a.Record.Value.Ended.Incarnation == ended:
		e.because(a.Record.Value.Ended.Cause, a.Record.Value.Ended.Reason)
	case a.Present() && !c.synthetic:
		e.because(registry.CauseReplaced, "")
	case a.Admin.Value != nil && a.Admin.Value.Evicted != nil && (a.Admin.Value.Evicted.Incarnation == ended || a.Admin.Value.Evicted.Incarnation > ended && !c.synthetic):
		e.because(registry.CauseEvicted, a.Admin.Value.Evicted.Reason)
	case a.Alive.Rev != 0 && !a.Present():
		e.because(registry.CauseUnleased, "the alive key was put again without a lease")
	case c.synthetic:
		e.because(registry.CauseLost, "")
	case c.live:
		e.lease = b.Alive.Lease
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
	rows := [2]registry.Service{c.was, c.is}
	for i := range rows {
		rows[i].ReportCount, rows[i].UpdatedAt = nil, nil
		if statusTold {
			rows[i].Status, rows[i].DisabledReason, rows[i].DisabledBy, rows[i].DisabledAt = nil, nil, nil, nil
		}
	}
	return !reflect.DeepEqual(rows[0], rows[1])
}

// absent gives the row without its alive key. A record that went in the same revision still tells the zone.
func (c *change) absent() registry.Service {
	e := registry.Entry{Name: c.after.Name, Record: c.after.Record, Admin: c.after.Admin}
	if e.Record.Rev == 0 {
		e.Record = c.before.Record
	}
	return e.Service()
}

// warnings tells each key that is wrong now and was not before.
func (c *change) warnings(keys registry.Keys) []Event {
	now := problems(c.after.Warnings(keys))
	if len(now) == 0 {
		return nil
	}
	var out []Event
	before := problems(c.before.Warnings(keys))
	for key, problem := range now {
		if _, told := before[key]; !told {
			out = append(out, Event{
				Kind: Warning, Name: c.after.Name, Synthetic: c.synthetic,
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
		Kind: kind, Name: c.after.Name, Zone: row.Zone, Incarnation: incarnation,
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
