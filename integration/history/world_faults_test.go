package history

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hbctl/hbctl/registry"
)

func sortWrites(writes []Write) {
	slices.SortFunc(writes, func(x, y Write) int { return cmp.Compare(x.Key, y.Key) })
}

// fault lets something happen, and the next thing later.
func (w *world) fault() {
	if w.ending {
		return
	}
	defer w.after(w.between(100*ms, 1500*ms), w.fault)
	if w.away {
		return
	}
	faults := []func(){
		w.kill, w.kill, w.killAndRestart, w.freeze, w.blackhole, w.blackhole, w.leaves, w.deleted, w.deleted, w.force, w.able, w.update, w.evict,
		w.takeover, w.junk, w.compact, w.restartReader, w.restartReader, w.restartReader, w.member, w.awake, w.outage, w.deleteRecord,
	}
	faults[w.rng.IntN(len(faults))]()
}

// idle gives a holder to which nothing is being done, and claims it.
func (w *world) idle() *simHolder {
	h := w.holders[w.rng.IntN(len(w.holders))]
	if !h.runs || h.busy || w.now-h.since < 3*h.ttl {
		return nil
	}
	for _, g := range h.regs {
		if g.doubted || g.incarnation == 0 && !g.over {
			return nil
		}
	}
	return h
}

// one gives a registration that is up, of an idle holder.
func (w *world) one() *simReg {
	h := w.idle()
	if h == nil || len(h.regs) == 0 {
		return nil
	}
	g := h.regs[w.rng.IntN(len(h.regs))]
	if g.over || g.incarnation == 0 {
		return nil
	}
	return g
}

func (h *simHolder) names() []string {
	var names []string
	for _, g := range h.regs {
		if !g.over {
			names = append(names, g.name)
		}
	}
	return names
}

func (w *world) kill() {
	if h := w.idle(); h != nil {
		h.kill()
		names := h.names()
		w.after(w.between(h.ttl/2, 3*h.ttl), func() { h.start(names) })
	}
}

func (w *world) killAndRestart() {
	if h := w.idle(); h != nil {
		h.kill()
		names := h.names()
		w.after(w.between(20*ms, 200*ms), func() { h.start(names) })
	}
}

func (h *simHolder) kill() {
	w := h.w
	w.inject(Record{Kind: FaultOn, Fault: "F1", Target: h.source()})
	w.inject(Record{Kind: Killed, Target: h.source()})
	w.inject(Record{Kind: Died, Target: h.source(), At: w.now + ms})
	h.unrenewed(func() bool { return true })
	h.runs = false
}

func (w *world) freeze() {
	h := w.idle()
	if h == nil {
		return
	}
	h.busy, h.frozen = true, true
	w.inject(Record{Kind: Stopped, Target: h.source()})
	h.away++
	turn := h.away
	h.unrenewed(func() bool { return h.frozen && h.away == turn })
	long := w.between(h.ttl/4, h.ttl/2)
	if w.rng.IntN(3) > 0 {
		long = w.between(2*h.ttl, 3*h.ttl)
	}
	source := h.source()
	w.after(long, func() {
		w.inject(Record{Kind: Resumed, Target: source})
		h.frozen = false
		h.answer()
		w.after(w.between(20*ms, 200*ms), h.whenBack)
	})
}

// whenBack is contact again, once there is somebody to have it with.
func (h *simHolder) whenBack() {
	if h.w.away {
		h.w.after(100*ms, h.whenBack)
		return
	}
	h.back()
}

func (w *world) blackhole() {
	h := w.idle()
	if h == nil {
		return
	}
	h.busy, h.cut = true, true
	fault, source := []string{"F6", "F7"}[w.rng.IntN(2)], h.source()
	w.inject(Record{Kind: FaultOn, Fault: fault, Target: source})
	h.away++
	turn := h.away
	h.unrenewed(func() bool { return h.cut && h.away == turn })
	long := w.between(h.ttl/8, h.ttl/3)
	if w.rng.IntN(3) > 0 {
		long = w.between(2*h.ttl, 3*h.ttl)
	}
	w.after(long, func() {
		w.inject(Record{Kind: FaultOff, Fault: fault, Target: source})
		h.cut = false
		w.after(w.between(20*ms, 400*ms), h.whenBack)
	})
}

func (w *world) leaves() {
	g := w.one()
	if g == nil {
		return
	}
	g.leave([]registry.Cause{registry.CauseLeft, registry.CauseFailed, registry.CauseUnhealthy}[w.rng.IntN(3)])
	again := &simReg{h: g.h, name: g.name, id: w.nextID("registration")}
	h, life := g.h, g.h.life
	w.after(w.between(sec, 3*sec), func() {
		if h.life == life && h.runs && !h.busy {
			h.regs = append(slices.DeleteFunc(h.regs, func(x *simReg) bool { return x == g }), again)
			again.put()
		}
	})
}

// deleted is the key deleted by hand, or by a revoke.
func (w *world) deleted() {
	g := w.one()
	if g == nil {
		return
	}
	w.inject(Record{Kind: FaultOn, Fault: OpDelete, Name: g.name})
	w.now += ms
	w.falseDelete("deleted", g)
}

// falseDelete deletes keys whose holder lives. It puts them back soon.
func (w *world) falseDelete(cause string, regs ...*simReg) {
	var writes []Write
	for _, g := range regs {
		writes = append(writes, Write{Key: w.key(registry.FamilyAlive, g.name), Delete: true})
		g.doubted = true
		life := g.h.life
		w.after(w.between(30*ms, 600*ms), func() {
			if g.h.life != life || !g.h.runs || g.h.frozen {
				return
			}
			g.say(Lost, func(r *Record) { r.Reason = "the key is gone" })
			g.put()
		})
	}
	sortWrites(writes)
	w.commit(cause, writes...)
}

func (w *world) force() {
	g := w.one()
	if g == nil {
		return
	}
	op, on := OpForceDown, true
	if w.entries[g.name].Forced() {
		op, on = OpForceUp, false
	}
	w.inject(Record{Kind: FaultOn, Fault: op, Name: g.name})
	w.now += ms
	w.commit("", w.admin(g.name, func(a *registry.Admin) {
		if a.ForcedDown = nil; on {
			a.ForcedDown = &registry.Word{Reason: "evacuated"}
		}
	}))
}

func (w *world) able() {
	g := w.one()
	if g == nil {
		return
	}
	op := OpDisable
	if a := w.entries[g.name].Admin.Value; a != nil && a.Disabled != nil {
		op = OpEnable
	}
	w.inject(Record{Kind: FaultOn, Fault: op, Name: g.name})
	w.now += ms
	w.commit("", w.admin(g.name, func(a *registry.Admin) {
		if a.Disabled = nil; op == OpDisable {
			a.Disabled = &registry.Word{Reason: "disk"}
		}
	}))
}

func (w *world) update() {
	if g := w.one(); g != nil {
		w.commit("", w.record(g.name, func(r *registry.Record) {
			r.Zone = fmt.Sprintf("az%d", w.rng.IntN(4))
			r.Labels = map[string]string{"rack": fmt.Sprint(w.rng.IntN(3))}
		}))
	}
}

func (w *world) deleteRecord() {
	g := w.one()
	if g == nil {
		return
	}
	w.inject(Record{Kind: FaultOn, Fault: OpDeleteRecord, Name: g.name})
	back := w.record(g.name, func(*registry.Record) {})
	w.now += ms
	w.commit("", Write{Key: w.key(registry.FamilyRecord, g.name), Delete: true})
	life := g.h.life
	w.after(w.between(30*ms, 400*ms), func() {
		if g.h.life == life && g.h.runs && g.incarnation != 0 && !w.away && !g.h.cut && !g.h.frozen {
			w.commit("", back)
		}
	})
}

func (w *world) evict() {
	g := w.one()
	if g == nil {
		return
	}
	w.inject(Record{Kind: FaultOn, Fault: OpEvict, Name: g.name})
	w.now += ms
	w.commit("", w.admin(g.name, func(a *registry.Admin) { a.Evicted = &registry.Evict{Incarnation: g.incarnation} }),
		Write{Key: w.key(registry.FamilyAlive, g.name), Delete: true})
	w.now += 2 * ms
	g.say(Ended, func(r *Record) { r.Reason = "evicted" })
	g.over = true
	again := &simReg{h: g.h, name: g.name, id: w.nextID("registration")}
	h, life := g.h, g.h.life
	w.after(w.between(sec, 3*sec), func() {
		if h.life == life && h.runs && !h.busy {
			h.regs = append(slices.DeleteFunc(h.regs, func(x *simReg) bool { return x == g }), again)
			again.put()
		}
	})
}

// takeover gives a name to another holder.
func (w *world) takeover() {
	g, other := w.one(), w.idle()
	if g == nil || other == nil || other == g.h || len(other.regs) > 6 {
		return
	}
	w.inject(Record{Kind: FaultOn, Fault: OpTakeover, Name: g.name})
	next := &simReg{h: other, name: g.name, id: w.nextID("registration")}
	other.regs = append(other.regs, next)
	w.now += ms
	next.put()
	w.now += ms
	g.say(Ended, func(r *Record) { r.Reason = "replaced" })
	g.over = true
}

func (w *world) junk() {
	w.inject(Record{Kind: FaultOn, Fault: "F37"})
	w.now += ms
	w.commit("", Write{Key: w.keys.Prefix() + "stray/key", Value: "junk"})
}
