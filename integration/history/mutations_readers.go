package history

import (
	"fmt"
	"slices"
)

// flip breaks one row of a list.
func (e *edit) flip(rows []Row) []Row {
	rows = slices.Clone(rows)
	i := e.rng.IntN(len(rows))
	row := rows[i]
	switch e.rng.IntN(4) {
	case 0:
		if row.State = "up"; rows[i].State == "up" {
			row.State = "down"
		}
	case 1:
		zone := "elsewhere"
		row.Zone = &zone
	case 2:
		row.Incarnation++
	default:
		return slices.Delete(rows, i, i+1)
	}
	rows[i] = row
	return rows
}

func listRow(e *edit) (string, bool) {
	i, ok := e.record(func(rec *Record) bool { return rec.Kind == Listed && len(rec.Rows) > 0 })
	if ok {
		rec := e.records[i]
		rec.Rows = e.flip(rec.Rows)
		e.change(i, rec)
	}
	return fmt.Sprintf("record %d", i), ok
}

func oldList(e *edit) (string, bool) {
	older := int64(0)
	i, ok := e.record(func(rec *Record) bool {
		n := e.c.truth.next(rec.Revision) - 1
		if rec.Kind != Listed || n < 1 || e.c.truth.steps[n].at >= rec.At {
			return false
		}
		older = e.c.truth.steps[n-1].revision
		return true
	})
	if !ok {
		return "", false
	}
	rec := e.records[i]
	rec.Revision, rec.Rows = older, nil
	for _, name := range sortedKeys(e.c.truth.tracks) {
		if m := e.c.truth.tracks[name].at(older); m.listed {
			rec.Rows = append(rec.Rows, m.row)
		}
	}
	e.change(i, rec)
	return fmt.Sprintf("record %d", i), true
}

func snapshotRow(e *edit) (string, bool) {
	h, ok := pick(e, e.handed, func(h handing) bool {
		b := e.records[h.index].Batch
		return b.Kind == "snapshot" && len(b.Rows) > 0
	})
	if ok {
		e.batch(h.index, func(b *Batch) { b.Rows = e.flip(b.Rows) })
	}
	return fmt.Sprintf("record %d", h.index), ok
}

// untoldStale drops a Stale and its Live, where something happened that came late for that.
func untoldStale(e *edit) (string, bool) {
	h, ok := pick(e, e.handed, func(h handing) bool { return e.hidden(h) != nil })
	if !ok {
		return "", false
	}
	e.drop(h.index)
	e.drop(e.indexOf(e.hidden(h)))
	return fmt.Sprintf("%s at %s", e.records[h.index].Subscriber, seconds(e.records[h.index].At)), true
}

// hidden gives the Live after a Stale without which the reader would have been blind for too long.
func (e *edit) hidden(h handing) *Record {
	rec, live := &e.records[h.index], h.after
	if !h.raw || rec.Batch.Kind != "stale" || live == nil || live.Batch.Kind != "live" || h.before == nil {
		return nil
	}
	next := e.after(live)
	t := e.c.truth
	i := t.nextVisible[t.next(h.before.Batch.Revision)]
	if next == nil || i == len(t.steps) || next.Batch.Kind == "stale" {
		return nil
	}
	from := max(t.steps[i].at, e.taken(h)+1e9)
	p := e.c.scene.process(rec.Source)
	r := &reader{process: p}
	if next.At-from <= int64(e.o.StaleAfter+e.o.Slack) || r.hindered(from, next.At) || !e.synced(h) {
		return nil
	}
	return live
}

// taken gives when the reader had done with the batch before, as far as it said so: it may have been busy with it.
func (e *edit) taken(h handing) int64 {
	for i := e.indexOf(h.before) + 1; i < h.index; i++ {
		if rec := &e.records[i]; rec.Kind == Acked && rec.Subscriber == h.before.Subscriber {
			return rec.At
		}
	}
	return h.before.At
}

// synced says that the start of the session was complete before.
func (e *edit) synced(h handing) bool {
	return slices.ContainsFunc(e.handed, func(x handing) bool {
		return x.session == h.session && x.index < h.index && e.records[x.index].Batch.Synced
	})
}

// after gives the next batch of the same session.
func (e *edit) after(rec *Record) *Record {
	for i := range e.handed {
		if &e.records[e.handed[i].index] == rec {
			return e.handed[i].after
		}
	}
	return nil
}

// staleForEver tells a reader that contact is lost, and never that it is back.
func staleForEver(e *edit) (string, bool) {
	until, complete := e.c.patience()
	h, ok := pick(e, e.handed, func(h handing) bool {
		rec := &e.records[h.index]
		return complete && rec.Batch.Kind != "stale" && rec.At < until && (h.after == nil || h.after.At > until) &&
			e.c.scene.process(rec.Source).dead > until && e.lastSession(rec.Subscriber) == h.session
	})
	if !ok {
		return "", false
	}
	rec := e.records[h.index]
	e.added = append(e.added, Record{At: rec.At + 1, Kind: Handed, Source: rec.Source, Subscriber: rec.Subscriber, Batch: &Batch{Kind: "stale", Revision: rec.Batch.Revision}})
	for _, other := range e.handed {
		if other.index > h.index && other.session == h.session {
			e.drop(other.index)
		}
	}
	return fmt.Sprintf("%s at %s", rec.Subscriber, seconds(rec.At)), true
}

func (e *edit) lastSession(subscriber string) int {
	for _, h := range slices.Backward(e.handed) {
		if e.records[h.index].Subscriber == subscriber {
			return h.session
		}
	}
	return -1
}

// suspected draws an event that ends a suspicion of the same session, which goes on beyond.
func (e *edit) suspected(kind string) (happened, *Event, bool) {
	return e.event(func(h handing, _ *Batch, ev *Event) bool {
		if h.raw || ev.Kind != kind {
			return false
		}
		number := ev.Incarnation
		if kind == "cleared" {
			number = ev.Previous
		}
		deleted, passed := int64(0), false
		for _, x := range e.handed {
			if x.session != h.session {
				continue
			}
			b := e.records[x.index].Batch
			if x.index > h.index {
				passed = passed || deleted != 0 && b.Revision >= deleted && (b.Kind == "changes" || b.Kind == "bookmark")
				continue
			}
			for i := range b.Events {
				if s := &b.Events[i]; s.Kind == "suspect" && s.Name == ev.Name && s.Incarnation == number {
					deleted = s.DeletedRevision
				}
			}
		}
		return passed
	})
}

func lostConfirmation(e *edit) (string, bool) { return e.unresolved("down") }

func lostClearing(e *edit) (string, bool) { return e.unresolved("cleared") }

func (e *edit) unresolved(kind string) (string, bool) {
	h, ev, ok := e.suspected(kind)
	if !ok {
		return "", false
	}
	if len(e.records[h.index].Batch.Events) == 1 {
		e.drop(h.index)
	} else {
		e.batch(h.index, func(b *Batch) { b.Events = slices.Delete(b.Events, h.at, h.at+1) })
	}
	return tell(&e.records[h.index], ev), true
}

func falseConfirmation(e *edit) (string, bool) {
	h, ev, ok := e.event(func(h handing, _ *Batch, ev *Event) bool {
		if h.raw || ev.Kind != "cleared" {
			return false
		}
		previous := e.c.truth.tracks[ev.Name].life(ev.Previous)
		return previous != nil && previous.how == gone && e.c.lived(previous, e.records[h.index].At)
	})
	if !ok {
		return "", false
	}
	e.batch(h.index, func(b *Batch) {
		up := b.Events[h.at]
		up.Kind = "up"
		down := Event{Kind: "down", Name: up.Name, Incarnation: up.Previous, Cause: "expired", Row: up.Row}
		b.Events = slices.Replace(b.Events, h.at, h.at+1, down, up)
	})
	return tell(&e.records[h.index], ev), true
}

func passedSuspect(e *edit) (string, bool) {
	h, ev, ok := e.event(func(h handing, b *Batch, ev *Event) bool {
		return !h.raw && ev.Kind == "suspect" && ev.DeletedRevision > 0 && b.Revision < ev.DeletedRevision
	})
	if !ok {
		return "", false
	}
	e.batch(h.index, func(b *Batch) { b.Revision = ev.DeletedRevision })
	return tell(&e.records[h.index], ev), true
}
