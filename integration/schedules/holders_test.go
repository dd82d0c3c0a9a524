package schedules_test

import (
	"errors"
	"reflect"
	"strconv"
	"time"

	"github.com/hbctl/hbctl/registry"
)

const (
	// repairLimit is by when a holder that reaches etcd has put back what was deleted.
	repairLimit = time.Second
	// aftermath is how long a holder may feel a trouble that is over: a stream has to be opened anew, which may hit a backoff.
	aftermath = 3 * time.Second
)

// holding gives the registration that put an alive key.
func (w *world) holding(name registry.Name, key registry.AliveKey) *holding {
	if p := w.owner(key.Holder); p != nil {
		return p.holdings[name]
	}
	return nil
}

// judgeHolders checks what holders may do and know.
func (w *world) judgeHolders(ends map[life]*end) {
	for _, e := range ends {
		h := w.holding(e.name, e.alive)
		if h == nil {
			continue // its first put was not answered before its call gave up
		}
		switch e.how {
		case expired:
			w.mayExpire(h, e)
		case operated:
			w.putsBack(h, e)
		case announced:
			w.wasTold(h, e)
		case replaced:
			if w.owner(e.next.Holder) == h.process {
				w.problem("r%d: %s put its own key anew, which nobody had deleted", e.revision, h)
			}
		}
	}
	for _, h := range w.holdings {
		w.endedRightly(h)
	}
	w.nobodyMeddles()
}

// mayExpire: a lease runs out only if its holder was away, and the holder knew before.
func (w *world) mayExpire(h *holding, e *end) {
	if last := w.trusted[e.life]; !last.Before(e.at) {
		w.problem("r%d: %s as %d may act at %v, and expired at %v", e.revision, h, e.incarnation, last.Sub(w.begin), e.at.Sub(w.begin))
	}
	w.tally.lead(e.at.Sub(w.trusted[e.life]))
	ttl := w.plan.TTL
	endedAt, _ := h.told.get()
	away := h.process.way.lasting(ttl/2, e.at.Add(-ttl), e.at) || !h.process.crashed.IsZero() && h.process.crashed.Before(e.at)
	if !away && endedAt.IsZero() {
		w.problem("r%d: %s as %d expired although its process lived and was not cut off", e.revision, h, e.incarnation)
	}
}

// putsBack: what was deleted by mistake is put back within a second, by who can.
func (w *world) putsBack(h *holding, e *end) {
	from, to := e.at.Add(-aftermath), e.at.Add(repairLimit)
	p := h.process
	endedAt, _ := h.told.get()
	switch {
	case p.way.within(from, to), w.etcd.within(from, to), !p.crashed.IsZero() && p.crashed.Before(to):
		return
	case !endedAt.IsZero() && endedAt.Before(to), w.operator.evicted[e.name] >= e.incarnation:
		return
	}
	a := w.auditor
	for r := e.revision + 1; r < int64(len(a.tables)); r++ {
		if is := a.alive(e.name, r); is.Rev == r {
			if took := a.at[r].Sub(e.at); took > repairLimit {
				w.problem("r%d: %s as %d was deleted, and is back after %v", e.revision, h, e.incarnation, took)
			}
			w.tally.add("put back")
			return
		}
	}
	w.problem("r%d: %s as %d was deleted, and never came back", e.revision, h, e.incarnation)
}

// wasTold: an end is announced by who was told to end, and as he was told.
func (w *world) wasTold(h *holding, e *end) {
	_, cause := h.told.get()
	switch {
	case e.announced == registry.CauseEvicted && w.operator.evicted[e.name] >= e.incarnation:
	case cause == e.announced:
	case cause == "" && e.announced == registry.CauseLeft && errors.Is(h.Err(), registry.ErrClosed): // closed with its process at the end
	default:
		w.problem("r%d: %s as %d announced the end %s, and was told %q", e.revision, h, e.incarnation, e.announced, cause)
	}
}

// endedRightly: a registration ends for the reasons that it may end for, and no other.
func (w *world) endedRightly(h *holding) {
	at, _ := h.told.get()
	switch err := h.Err(); {
	case err == nil:
		w.problem("%s has not ended although its process was closed", h)
	case errors.Is(err, registry.ErrReplaced):
		if !w.othersHeld(h) {
			w.problem("%s ended as replaced, and nobody else ever had the name", h)
		}
	case errors.Is(err, registry.ErrEvicted):
		if w.operator.evicted[h.Name()] == 0 {
			w.problem("%s ended as evicted, and nobody was", h)
		}
	case errors.Is(err, registry.ErrClosed):
	default:
		w.problem("%s ended at %v: %v", h, at, err)
	}
}

func (w *world) othersHeld(h *holding) bool {
	for _, table := range w.auditor.tables[1:] {
		if e := table.Entries[h.Name()]; e != nil && e.Alive.Rev != 0 && w.owner(e.Alive.Holder) != h.process {
			return true
		}
	}
	return false
}

// nobodyMeddles: who lost a name never takes it back, nor writes its record.
func (w *world) nobodyMeddles() {
	a := w.auditor
	for r := int64(2); r < int64(len(a.tables)); r++ {
		for name, e := range a.tables[r].Entries {
			if e.Alive.Rev == r && e.Alive.Holder != nil {
				w.tookRightly(name, r)
			}
			if e.Record.Rev == r && e.Record.Value != nil && e.Alive.Rev != 0 && w.operator.did[r] == "" {
				w.wroteOwn(e, a.tables[r-1].Entries[name], r)
			}
		}
	}
}

// tookRightly checks that a name which another process holds is taken only by who was told to, or by a new process on the
// machine of a dead one.
func (w *world) tookRightly(name registry.Name, r int64) {
	was, is := w.auditor.alive(name, r-1), w.auditor.alive(name, r)
	loser, winner := w.owner(was.Holder), w.owner(is.Holder)
	if was.Rev == 0 || loser == winner {
		return
	}
	gone := winner.machine == loser.machine && !loser.crashed.IsZero()
	if winner.policy != registry.Takeover && !gone {
		w.problem("r%d: process %d took %s from process %d, which held it", r, winner.pid-firstPID, name, loser.pid-firstPID)
	}
	w.tally.add("taken over")
	for before := r - 1; before > 0; before-- {
		if w.owner(w.auditor.alive(name, before).Holder) == winner {
			w.problem("r%d: process %d took %s back from process %d", r, winner.pid-firstPID, name, loser.pid-firstPID)
			return
		}
	}
}

// wroteOwn checks that a record was written by who holds the name. The same words again are no harm: that is how a put that
// may still be under way is made to fail.
func (w *world) wroteOwn(e, before *registry.Entry, r int64) {
	if before != nil && reflect.DeepEqual(before.Record.Value, e.Record.Value) {
		return
	}
	if pid := strconv.Itoa(e.Alive.Holder.PID); e.Record.Value.Labels[writer] != pid {
		w.problem("r%d: the record of %s, held by %s, was written by %s", r, e.Name, pid, e.Record.Value.Labels[writer])
	}
}
