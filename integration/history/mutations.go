package history

import (
	"fmt"
	"slices"
)

// mutations are all kinds.
var mutations = map[string]func(*edit) (string, bool){
	"drop an event":                dropEvent,
	"drop a batch":                 dropBatch,
	"duplicate a batch":            duplicateBatch,
	"swap two batches":             swapBatches,
	"split a revision":             splitRevision,
	"lower a revision":             lowerRevision,
	"wrong incarnation":            wrongIncarnation,
	"wrong deleted revision":       wrongDeletedRevision,
	"late fence":                   lateFence,
	"no fence":                     noFence,
	"needless fence":               needlessFence,
	"valid after the end":          validAfterEnd,
	"valid after waking":           validAfterWaking,
	"invented down":                inventedDown,
	"crash as left":                crashAsLeft,
	"left as crash":                leftAsCrash,
	"left but there":               leftButThere,
	"list row":                     listRow,
	"snapshot row":                 snapshotRow,
	"known up told up":             knownUp,
	"readers disagree":             readersDisagree,
	"resume skips":                 resumeSkips,
	"stale is not told":            untoldStale,
	"stale for ever":               staleForEver,
	"suspect without an end":       lostConfirmation,
	"suspect not cleared":          lostClearing,
	"confirmed though it lived":    falseConfirmation,
	"position passes a suspect":    passedSuspect,
	"death detected late":          lateDetection,
	"key without a lease":          unleasedKey,
	"holder believes in a ghost":   ghost,
	"goroutines left over":         leak,
	"lease left over":              leaseLeft,
	"too much memory":              tooMuchMemory,
	"false delete never mended":    unmended,
	"live name never comes back":   neverBack,
	"expiry without a fault":       causeless,
	"list older than its question": oldList,
}

func dropEvent(e *edit) (string, bool) {
	h, ev, ok := e.raw("up", "down", "forgotten")
	if ok {
		e.batch(h.index, func(b *Batch) { b.Events = slices.Delete(b.Events, h.at, h.at+1) })
		return tell(&e.records[h.index], ev), true
	}
	return "", false
}

// follows says that the same session goes on with something that shows what is missing.
func (h handing) follows() bool {
	return h.after != nil && (h.after.Batch.Kind == "changes" || h.after.Batch.Kind == "bookmark")
}

func moves(b *Batch) bool {
	return slices.ContainsFunc(b.Events, func(ev Event) bool { return ev.Kind == "up" || ev.Kind == "down" })
}

func dropBatch(e *edit) (string, bool) {
	h, ok := pick(e, e.handed, func(h handing) bool {
		b := e.records[h.index].Batch
		return h.raw && !h.again && b.Kind == "changes" && moves(b) && h.follows() && h.after.Batch.Revision > b.Revision
	})
	if ok {
		e.drop(h.index)
	}
	return fmt.Sprintf("record %d", h.index), ok
}

// plain draws a batch of a raw reader that tells one revision.
func (e *edit) plain(will func(h handing, b *Batch) bool) (handing, *Batch, bool) {
	h, ok := pick(e, e.handed, func(h handing) bool {
		b := e.records[h.index].Batch
		return h.raw && b.Kind == "changes" && !synthetic(b) && will(h, b)
	})
	if !ok {
		return h, nil, false
	}
	return h, e.records[h.index].Batch, true
}

func duplicateBatch(e *edit) (string, bool) {
	h, b, ok := e.plain(func(handing, *Batch) bool { return true })
	if !ok {
		return "", false
	}
	again := e.records[h.index]
	again.At++
	e.added = append(e.added, again)
	return fmt.Sprintf("%s, revision %d", again.Subscriber, b.Revision), true
}

func swapBatches(e *edit) (string, bool) {
	h, b, ok := e.plain(func(h handing, b *Batch) bool {
		return h.after != nil && h.after.Batch.Kind == "changes" && h.after.Batch.Revision > b.Revision
	})
	if !ok {
		return "", false
	}
	other := slices.IndexFunc(e.handed, func(x handing) bool { return &e.records[x.index] == h.after })
	x, y := e.records[h.index], e.records[e.handed[other].index]
	x.Batch, y.Batch = y.Batch, x.Batch
	e.change(h.index, x)
	e.change(e.handed[other].index, y)
	return fmt.Sprintf("%s, revisions %d and %d", x.Subscriber, b.Revision, x.Batch.Revision), true
}

func splitRevision(e *edit) (string, bool) {
	h, b, ok := e.plain(func(_ handing, b *Batch) bool { return len(b.Events) > 1 })
	if !ok {
		return "", false
	}
	at := 1 + e.rng.IntN(len(b.Events)-1)
	second := e.records[h.index]
	rest := *b
	rest.Events = b.Events[at:]
	second.Batch, second.At = &rest, second.At+1
	e.batch(h.index, func(b *Batch) { b.Events = b.Events[:at] })
	e.added = append(e.added, second)
	return fmt.Sprintf("%s, revision %d", second.Subscriber, b.Revision), true
}

func lowerRevision(e *edit) (string, bool) {
	h, b, ok := e.plain(func(h handing, _ *Batch) bool { return h.before != nil && h.before.Batch.Revision > 1 })
	if !ok {
		return "", false
	}
	to := 1 + e.rng.Int64N(h.before.Batch.Revision-1)
	e.batch(h.index, func(b *Batch) { b.Revision = to })
	return fmt.Sprintf("record %d: %d for %d", h.index, to, b.Revision), true
}

func wrongIncarnation(e *edit) (string, bool) {
	h, ev, ok := e.raw("up", "down")
	if !ok {
		return "", false
	}
	e.set(h, func(ev *Event) { ev.Incarnation += 1 + e.rng.Int64N(3) })
	return tell(&e.records[h.index], ev), true
}

func wrongDeletedRevision(e *edit) (string, bool) {
	h, ev, ok := e.event(func(_ handing, _ *Batch, ev *Event) bool {
		return (ev.Kind == "down" || ev.Kind == "suspect") && ev.DeletedRevision != 0
	})
	if !ok {
		return "", false
	}
	e.set(h, func(ev *Event) { ev.DeletedRevision++ })
	return tell(&e.records[h.index], ev), true
}

func inventedDown(e *edit) (string, bool) {
	var victim *track
	h, b, ok := e.plain(func(_ handing, b *Batch) bool {
		victim = nil
		for _, name := range sortedKeys(e.c.truth.tracks) {
			tr := e.c.truth.tracks[name]
			if tr.at(b.Revision).up() && !slices.ContainsFunc(b.Events, func(ev Event) bool { return ev.Name == name }) {
				victim = tr
			}
		}
		return victim != nil
	})
	if !ok {
		return "", false
	}
	m := victim.at(b.Revision)
	row := m.row
	ev := Event{Kind: "down", Name: victim.name, Incarnation: m.alive, Cause: "expired", DeletedRevision: b.Revision, Row: &row}
	e.batch(h.index, func(b *Batch) { b.Events = append(b.Events, ev) })
	return tell(&e.records[h.index], &ev), true
}

func knownUp(e *edit) (string, bool) {
	var victim *track
	h, b, ok := e.plain(func(_ handing, b *Batch) bool {
		victim = nil
		for _, name := range sortedKeys(e.c.truth.tracks) {
			tr := e.c.truth.tracks[name]
			if tr.at(b.Revision).up() && tr.at(b.Revision-1).up() && !slices.ContainsFunc(b.Events, func(ev Event) bool { return ev.Name == name }) {
				victim = tr
			}
		}
		return victim != nil
	})
	if !ok {
		return "", false
	}
	m := victim.at(b.Revision)
	row := m.row
	ev := Event{Kind: "up", Name: victim.name, Incarnation: m.alive, Row: &row}
	e.batch(h.index, func(b *Batch) { b.Events = append(b.Events, ev) })
	return tell(&e.records[h.index], &ev), true
}

func crashAsLeft(e *edit) (string, bool) {
	h, ev, ok := e.event(func(_ handing, _ *Batch, ev *Event) bool {
		l := e.life(ev)
		return ev.Kind == "down" && ev.Cause != "forced" && l != nil && l.how == gone
	})
	if !ok {
		return "", false
	}
	e.set(h, func(ev *Event) { ev.Cause = announcedCauses[e.rng.IntN(len(announcedCauses))] })
	return tell(&e.records[h.index], ev), true
}

func leftAsCrash(e *edit) (string, bool) {
	h, ev, ok := e.event(func(_ handing, b *Batch, ev *Event) bool {
		return ev.Kind == "down" && slices.Contains(announcedCauses, ev.Cause) && !ev.Synthetic
	})
	if !ok {
		return "", false
	}
	e.set(h, func(ev *Event) { ev.Cause = []string{"expired", "deleted", ""}[e.rng.IntN(3)] })
	return tell(&e.records[h.index], ev), true
}

func readersDisagree(e *edit) (string, bool) {
	h, ev, ok := e.event(func(h handing, b *Batch, ev *Event) bool {
		return h.raw && ev.Kind == "up" && !synthetic(b) && e.shared[b.Revision] > 2 && e.watchedBy(b.Revision) > 1
	})
	if !ok {
		return "", false
	}
	e.set(h, func(ev *Event) { ev.Previous++ })
	return tell(&e.records[h.index], ev), true
}

// watchedBy counts the raw readers that were told of a revision.
func (e *edit) watchedBy(revision int64) int {
	readers := make(map[string]bool)
	for _, h := range e.handed {
		if rec := &e.records[h.index]; h.raw && rec.Batch.Revision == revision && rec.Batch.Kind == "changes" {
			readers[rec.Subscriber] = true
		}
	}
	return len(readers)
}

func resumeSkips(e *edit) (string, bool) {
	h, ok := pick(e, e.handed, func(h handing) bool {
		b := e.records[h.index].Batch
		return h.raw && !h.again && h.before == nil && h.watching.From != "now" && h.watching.Revision > 0 && b.Kind == "changes" && moves(b) && h.follows() &&
			h.after.Batch.Revision > b.Revision
	})
	if ok {
		e.drop(h.index)
	}
	return fmt.Sprintf("record %d", h.index), ok
}
