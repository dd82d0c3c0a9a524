package history

import (
	"fmt"
	"maps"

	"github.com/hbctl/hbctl/registry"
)

// simReader is a place in which one watcher process runs after another.
type simReader struct {
	w         *world
	number    int
	kind      string // now, view, revision, confirm, program
	life      int
	session   int
	runs      bool
	connected bool
	told      bool // stale was
	stuck     bool
	clock     int64 // of the last record
	head      view  // all that was told
	saved     view  // and acknowledged
	flight    *Batch
}

// view is what a reader knows.
type view struct {
	revision int64
	entries  map[string]registry.Entry
	// With a confirmation window:
	suspects map[string]suspicion
}

type suspicion struct {
	entry   registry.Entry // what it was
	deleted int64
	told    int64 // as deleted; 0 where it was found by comparing
	turn    int
}

func (v view) clone() view {
	return view{v.revision, maps.Clone(v.entries), maps.Clone(v.suspects)}
}

const window = 2 * sec

func (w *world) addReader(number int, kind string) {
	r := &simReader{w: w, number: number, kind: kind}
	w.readers = append(w.readers, r)
	r.start()
}

func (r *simReader) source() string     { return fmt.Sprintf("watcher%d#%d", r.number, r.life) }
func (r *simReader) subscriber() string { return fmt.Sprintf("%s%d", r.kind, r.number) }
func (r *simReader) confirm() int64 {
	if r.kind == "confirm" {
		return window
	}
	return 0
}

func (r *simReader) say(rec Record) {
	rec.Source, rec.Subscriber = r.source(), r.subscriber()
	rec.At = max(r.clock+1, r.w.now+r.w.between(0, 8*ms))
	r.clock = rec.At
	r.w.write(rec)
}

// start runs a process: with a snapshot at first, else from where the one before was.
func (r *simReader) start() {
	w := r.w
	first := r.life == 0
	r.life++
	r.session++
	r.runs, r.connected, r.told, r.stuck, r.flight = true, true, false, false, nil
	w.inject(Record{Kind: Spawn, Target: r.source(), PID: 500 + 10*r.number + r.life})
	r.clock = max(r.clock, w.now)
	r.say(Record{Kind: Started, PID: 500 + 10*r.number + r.life})
	if first || r.kind == "now" {
		r.say(Record{Kind: Watching, From: "now", Confirm: r.confirm()})
		r.snapshot()
		return
	}
	r.head = r.saved.clone()
	if r.kind == "revision" {
		r.say(Record{Kind: Watching, From: "revision", Revision: r.head.revision})
		if w.compacted > r.head.revision {
			r.hand(Batch{Kind: "reset", Revision: r.head.revision, Reason: "compacted"})
			r.snapshot()
			return
		}
	} else {
		from := Record{Kind: Watching, From: "view", Confirm: r.confirm(), Revision: r.safe()}
		if r.kind == "program" {
			from.Revision = 0 // its position is its own
		}
		r.say(from)
	}
	for _, name := range sortedKeys(r.head.suspects) {
		r.watchOver(name, r.head.suspects[name])
	}
	r.catchUp()
	r.hand(Batch{Kind: "bookmark", Revision: r.safe(), Synced: true})
}

func (r *simReader) snapshot() {
	r.head = view{revision: r.w.revision, entries: make(map[string]registry.Entry), suspects: make(map[string]suspicion)}
	for name, e := range r.w.entries {
		r.head.entries[name] = *e
	}
	r.hand(Batch{Kind: "snapshot", Revision: r.w.revision, Synced: true, Rows: r.w.rows()})
}

// hand gives a batch to the reader, who asks for the next one soon.
func (r *simReader) hand(b Batch) {
	r.acknowledge()
	r.say(Record{Kind: Handed, Batch: &b})
	r.flight = &b
	if r.kind == "program" {
		return
	}
	session := r.session
	r.w.after(r.w.between(ms, 20*ms), func() {
		if r.session == session && r.runs {
			r.acknowledge()
		}
	})
}

// acknowledge is called before the head moves on: what was told is what the view has.
func (r *simReader) acknowledge() {
	if r.flight == nil {
		return
	}
	if r.kind != "program" && r.flight.Kind != "reset" {
		r.say(Record{Kind: Acked, Revision: r.flight.Revision})
	}
	r.flight = nil
	r.saved = r.head.clone()
}

// safe gives the position, which passes no open suspect.
func (r *simReader) safe() int64 {
	at := r.head.revision
	for _, s := range r.head.suspects {
		at = min(at, s.deleted-1)
	}
	return at
}

// take tells what a revision did.
func (r *simReader) take(step *revisionLog, live bool) {
	r.acknowledge()
	var events []Event
	for _, name := range step.names {
		before, after := r.head.entries[name], step.after[name]
		before.Name = after.Name
		cause := step.cause
		if !live {
			cause = ""
		}
		events = append(events, r.tell(name, &before, &after, step.revision, cause, false)...)
		r.head.entries[name] = after
	}
	r.head.revision = step.revision
	if len(events) > 0 {
		r.hand(Batch{Kind: "changes", Revision: r.safe(), Events: events})
	} else if r.w.rng.IntN(8) == 0 {
		r.hand(Batch{Kind: "bookmark", Revision: r.safe()})
	}
}

// catchUp tells what was missed: by replay, or by comparing if history is gone.
func (r *simReader) catchUp() {
	w := r.w
	if w.compacted <= r.head.revision {
		for _, step := range w.log {
			if step.revision > r.head.revision {
				r.take(step, false)
			}
		}
		return
	}
	if r.head.revision == w.revision {
		return
	}
	r.acknowledge()
	var events []Event
	for _, name := range sortedKeys(w.entries) {
		before, after := r.head.entries[name], *w.entries[name]
		before.Name = after.Name
		events = append(events, r.tell(name, &before, &after, w.revision, "lost", true)...)
		r.head.entries[name] = after
	}
	r.head.revision = w.revision
	if len(events) > 0 {
		r.hand(Batch{Kind: "changes", Revision: r.safe(), Events: events})
	}
}

func (r *simReader) stale() {
	r.acknowledge()
	r.hand(Batch{Kind: "stale", Revision: r.safe(), Reason: "silence"})
	r.told = true
	r.connected = false
}

func (r *simReader) live() {
	r.acknowledge()
	if r.told {
		r.hand(Batch{Kind: "live", Revision: r.safe()})
	}
	r.told, r.connected = false, true
	r.catchUp()
}

// tell gives the events of one name.
func (r *simReader) tell(name string, before, after *registry.Entry, revision int64, cause string, synthetic bool) []Event {
	row := rowOf(after)
	ev := func(kind string, incarnation int64) Event {
		return Event{Kind: kind, Name: name, Incarnation: incarnation, Synthetic: synthetic, Row: &row}
	}
	was, is := incarnationUp(before), incarnationUp(after)
	if s, open := r.head.suspects[name]; open {
		before, was = &s.entry, s.entry.Alive.Rev
		if is == 0 && !after.Forced() {
			return nil
		}
		delete(r.head.suspects, name)
	}
	out := r.presence(name, before, after, was, is, revision, cause, ev)
	wasRow, isRow := rowOf(before), row
	status := wasRow.Status != nil && isRow.Status != nil && *wasRow.Status != *isRow.Status
	switch {
	case !before.Listed() && !after.Listed():
		return nil
	case after.Listed() && len(out) == 0 && !sameRow(&wasRow, &isRow) && !onlyStatus(wasRow, isRow):
		out = append(out, ev("updated", after.Incarnation()))
	case after.Listed() && len(out) == 0 && !before.Listed():
		out = append(out, ev("updated", after.Incarnation()))
	case !after.Listed():
		return append(out, ev("forgotten", before.Incarnation()))
	}
	if status {
		out = append(out, ev(*isRow.Status, after.Incarnation()))
	}
	return out
}

func onlyStatus(x, y Row) bool {
	x.Status = y.Status
	return sameRow(&x, &y)
}

func incarnationUp(e *registry.Entry) int64 {
	if e.State() == registry.Up {
		return e.Alive.Rev
	}
	return 0
}

// presence gives ends and begins.
func (r *simReader) presence(name string, before, after *registry.Entry, was, is, revision int64, cause string, ev func(string, int64) Event) []Event {
	if was == is {
		if was == 0 && before.Alive.Rev != after.Alive.Rev {
			present := after.Present()
			e := ev("updated", after.Alive.Rev)
			e.Present = &present
			return []Event{e}
		}
		return nil
	}
	var out []Event
	same := before.Alive.Holder.SameProcess(after.Alive.Holder)
	if was != 0 {
		end := ev("down", was)
		end.Cause = r.why(before, after, cause, end.Synthetic)
		if !after.Present() && !end.Synthetic {
			end.DeletedRevision = revision
		}
		unannounced := end.Cause == cause
		switch {
		case r.confirm() > 0 && is != 0 && same:
			back := ev("cleared", is)
			back.Previous = was
			return []Event{back}
		case r.confirm() > 0 && is == 0 && unannounced && !after.Present():
			end.Kind, end.Cause = "suspect", ""
			s := suspicion{entry: *before, deleted: revision, told: end.DeletedRevision}
			r.watchOver(name, s)
			return []Event{end}
		}
		out = append(out, end)
	}
	if is != 0 {
		up := ev("up", is)
		up.Previous = was
		out = append(out, up)
	}
	return out
}

func (r *simReader) why(before, after *registry.Entry, cause string, synthetic bool) string {
	ended := before.Alive.Rev
	switch {
	case after.Present() && after.Alive.Rev == ended:
		return "forced"
	case after.Record.Value != nil && after.Record.Value.Ended != nil && after.Record.Value.Ended.Incarnation == ended:
		return string(after.Record.Value.Ended.Cause)
	case after.Present() && !synthetic:
		return "replaced"
	case after.Admin.Value != nil && after.Admin.Value.Evicted != nil && after.Admin.Value.Evicted.Incarnation == ended:
		return "evicted"
	}
	return cause
}

// watchOver confirms the suspect when the window is over, which runs only while there is contact.
func (r *simReader) watchOver(name string, s suspicion) {
	r.w.turn++
	s.turn = r.w.turn
	r.head.suspects[name] = s
	session := r.session
	r.confirmLater(name, s, session, window+200*ms)
}

func (r *simReader) confirmLater(name string, s suspicion, session int, in int64) {
	r.w.after(in, func() {
		now, open := r.head.suspects[name]
		if r.session != session || !r.runs || !open || now.turn != s.turn {
			return
		}
		if !r.connected {
			r.confirmLater(name, s, session, window)
			return
		}
		r.acknowledge()
		delete(r.head.suspects, name)
		e := r.w.entries[name]
		row := rowOf(e)
		r.hand(Batch{Kind: "changes", Revision: r.safe(), Events: []Event{{
			Kind: "down", Name: name, Incarnation: s.entry.Alive.Rev, DeletedRevision: s.told, Cause: "expired", Row: &row,
		}}})
	})
}

// restartReader kills a watcher, at times in the middle of a batch, and starts it again.
func (w *world) restartReader() {
	r := w.readers[w.rng.IntN(len(w.readers))]
	if !r.runs || r.stuck || w.away || r.kind == "now" {
		return
	}
	if r.flight != nil && w.rng.IntN(2) == 0 {
		r.acknowledge()
	}
	w.now = max(w.now, r.clock+1)
	w.inject(Record{Kind: Killed, Target: r.source()})
	r.runs = false
	w.after(w.between(100*ms, 5*sec), func() { w.startAgain(r) })
}

func (w *world) startAgain(r *simReader) {
	if w.away {
		w.after(300*ms, func() { w.startAgain(r) })
		return
	}
	r.start()
}
