package history

import (
	"fmt"
	"slices"
)

func (e *edit) record(will func(rec *Record) bool) (int, bool) {
	indices := make([]int, len(e.records))
	for i := range indices {
		indices[i] = i
	}
	return pick(e, indices, func(i int) bool { return will(&e.records[i]) })
}

// indexOf finds a record of the good history.
func (e *edit) indexOf(rec *Record) int {
	for i := range e.records {
		if &e.records[i] == rec {
			return i
		}
	}
	return -1
}

func (l *life) text() string { return fmt.Sprintf("incarnation %d of %s", l.incarnation, l.name()) }

func lateFence(e *edit) (string, bool) {
	l, ok := pick(e, e.fences, func(*life) bool { return true })
	if !ok {
		return "", false
	}
	at, _ := l.known()
	for _, f := range l.fenced {
		late := *f
		late.At = at + 1 + e.rng.Int64N(1e9)
		e.change(e.indexOf(f), late)
	}
	return l.text(), true
}

func noFence(e *edit) (string, bool) {
	l, ok := pick(e, e.fences, func(*life) bool { return true })
	if !ok {
		return "", false
	}
	for _, f := range l.fenced {
		e.drop(e.indexOf(f))
	}
	return l.text(), true
}

func needlessFence(e *edit) (string, bool) {
	at := int64(0)
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool {
		if l.owner == nil || l.ttl == 0 || l.leaving != nil || len(l.fenced) > 0 || e.c.scene.did(l, 0, forever, OpRevoke) {
			return false
		}
		at = l.begin + 2*l.ttl
		from := at - l.ttl - 1e9
		_, out := l.owner.out.overlaps(from, at)
		_, disturbed := e.c.scene.disturbed.overlaps(from, at)
		return !out && !disturbed && at < min(l.endsAt(), l.owner.dead, l.owner.asked, e.c.scene.end)
	})
	if !ok {
		return "", false
	}
	e.added = append(e.added, Record{At: at, Kind: Fenced, Source: l.owner.source, Name: l.name(), Incarnation: l.incarnation})
	return l.text(), true
}

func validAfterEnd(e *edit) (string, bool) {
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool { return l.how == gone && l.why.expired() && l.owner != nil && !e.c.unknowable(l) })
	if !ok {
		return "", false
	}
	at, _ := l.known()
	e.added = append(e.added, Record{At: at + 1 + e.rng.Int64N(1e9), Kind: Valid, Source: l.owner.source, Name: l.name(), Incarnation: l.incarnation, Yes: true})
	return l.text(), true
}

func validAfterWaking(e *edit) (string, bool) {
	var no *Record
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool {
		if l.how != gone || l.why != froze {
			return false
		}
		at, _ := l.known()
		x, out := l.owner.frozenAt(at)
		i := slices.IndexFunc(l.valids, func(v *Record) bool { return v.At >= x.to })
		if !out || i < 0 || l.valids[i].Yes {
			return false
		}
		no = l.valids[i]
		return true
	})
	if !ok {
		return "", false
	}
	yes := *no
	yes.Yes = true
	e.change(e.indexOf(no), yes)
	return l.text(), true
}

func leftButThere(e *edit) (string, bool) {
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool {
		return l.owner != nil && l.left == nil && (l.endRevision == 0 || l.how == gone && l.endAt-l.begin > 2e9)
	})
	if !ok {
		return "", false
	}
	e.added = append(e.added, Record{At: l.begin + 1e9, Kind: Left, Source: l.owner.source, Name: l.name(), Incarnation: l.incarnation})
	return l.text(), true
}

// lateDetection kills a process sooner than its keys went for it.
func lateDetection(e *edit) (string, bool) {
	early := func(l *life) int64 { return l.ttl/2 + int64(grid+e.o.Slack) + 5e8 }
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool {
		if p := l.owner; p == nil || p.killed == nil || l.how != gone || l.why != died || l.ttl == 0 || l.begin > p.dead-early(l) || l.endsAt() <= p.dead {
			return false
		}
		_, disturbed := e.c.scene.disturbed.overlaps(l.owner.dead-early(l)-l.ttl, l.endAt)
		return !disturbed && e.c.crashed(l) < 100
	})
	if !ok {
		return "", false
	}
	sooner := *l.owner.killed
	sooner.At -= early(l)
	e.change(e.indexOf(l.owner.killed), sooner)
	return l.text(), true
}

// causeless takes away what explains an end: that the holder was killed, or cut off.
func causeless(e *edit) (string, bool) {
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool {
		if l.how != gone || l.why != cutOff || l.owner.killed != nil || len(l.owner.frozen) > 0 || len(l.owner.starved) > 0 {
			return false
		}
		_, etcd := e.c.scene.revoking.overlaps(l.endAt, l.endAt)
		return !etcd && !e.c.letGo(l, l.endAt)
	})
	if !ok {
		return "", false
	}
	for i := range e.records {
		if rec := &e.records[i]; (rec.Kind == FaultOn || rec.Kind == FaultOff) && rec.Target == l.owner.source {
			e.drop(i)
		}
	}
	return l.text(), true
}

// unmended takes a name off after a false delete: the holder lives, but never puts its key back.
func unmended(e *edit) (string, bool) {
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool {
		if l.how != gone || l.owner == nil || !l.why.mistaken() || l.next == nil || !l.sameProcess(l.next) {
			return false
		}
		checked := e.c.results[MendedSoon].Checked
		e.c.mended(l)
		return e.c.results[MendedSoon].Checked > checked && !e.c.letGo(l, l.next.begin+10e9) && e.c.scene.end > l.endAt+30e9
	})
	if !ok {
		return "", false
	}
	e.withoutFrom(l.name(), l.endRevision)
	return l.text(), true
}

// neverBack takes a name off for good, shortly before all faults are over.
func neverBack(e *edit) (string, bool) {
	s := e.c.scene
	_, complete := e.c.patience()
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool {
		return complete && l.owner != nil && l.begin < s.settled && l.why != operated && l.how == gone && l.next != nil && l.next.begin < s.settled &&
			l.sameProcess(l.next) && l.owner.dead > s.settled && l.owner.asked > s.settled+int64(e.o.Back) && !e.c.letGo(l, s.settled+int64(e.o.Back+e.o.Slack))
	})
	if !ok {
		return "", false
	}
	e.withoutFrom(l.name(), l.endRevision)
	return l.text(), true
}

// withoutFrom drops all writes to the keys of a name after the revision.
func (e *edit) withoutFrom(name string, revision int64) {
	for i := range e.records {
		if rec := e.records[i]; rec.Kind == Audit && rec.Revision > revision {
			rec.Writes = slices.DeleteFunc(slices.Clone(rec.Writes), func(w Write) bool {
				_, n, err := e.c.keys.Parse([]byte(w.Key))
				return err == nil && n.String() == name
			})
			e.change(i, rec)
		}
	}
}

func unleasedKey(e *edit) (string, bool) {
	l, ok := pick(e, e.c.truth.lives, func(l *life) bool { return l.lease != 0 && l.owner != nil })
	if !ok {
		return "", false
	}
	rec := *l.record
	rec.Writes = slices.Clone(rec.Writes)
	for i := range rec.Writes {
		if _, n, err := e.c.keys.Parse([]byte(rec.Writes[i].Key)); err == nil && n.String() == l.name() {
			rec.Writes[i].Lease = ""
		}
	}
	e.change(e.indexOf(l.record), rec)
	return l.text(), true
}

func ghost(e *edit) (string, bool) {
	i, ok := e.record(func(rec *Record) bool { return rec.Kind == Registered })
	if ok {
		rec := e.records[i]
		rec.Incarnation++
		e.change(i, rec)
	}
	return fmt.Sprintf("record %d", i), ok
}

func leak(e *edit) (string, bool) {
	i, ok := e.record(func(rec *Record) bool { return rec.Kind == Exited })
	if ok {
		rec := e.records[i]
		rec.Leaks = 1 + e.rng.IntN(3)
		e.change(i, rec)
	}
	return fmt.Sprintf("record %d", i), ok
}

func leaseLeft(e *edit) (string, bool) {
	i, ok := e.record(func(rec *Record) bool { return rec.Kind == Final && rec.Leases != nil })
	if ok {
		rec := e.records[i]
		rec.Leases = append(slices.Clone(rec.Leases), formatLease(e.rng.Int64()|1))
		e.change(i, rec)
	}
	return fmt.Sprintf("record %d", i), ok
}

func tooMuchMemory(e *edit) (string, bool) {
	i, ok := e.record(func(rec *Record) bool { return rec.Kind == Memory })
	if ok {
		rec := e.records[i]
		rec.Bytes += e.o.Memory
		e.change(i, rec)
	}
	return fmt.Sprintf("record %d", i), ok
}
