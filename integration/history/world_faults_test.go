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
	if h == nil {
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

func (w *world) compact() {
	w.compacted = w.revision
	w.inject(Record{Kind: FaultOn, Fault: "F20", Revision: w.revision})
}

// member freezes the member of a watcher, which finds out.
func (w *world) member() {
	r := w.readers[w.rng.IntN(len(w.readers))]
	if !r.runs || !r.connected || r.stuck || w.busy > w.now {
		return
	}
	long := w.between(5*sec, 8*sec)
	w.busy = w.now + long + sec
	source := r.source()
	w.inject(Record{Kind: FaultOn, Fault: "F35", Target: source})
	w.inject(Record{Kind: Stopped, Target: "etcd1"})
	r.connected, r.stuck = false, true
	session := r.session
	w.after(w.between(2900*ms, 3100*ms), func() {
		if r.session == session && r.runs {
			r.stale()
		}
	})
	w.after(w.between(3500*ms, 4500*ms), func() {
		if r.session == session && r.runs {
			r.live()
		}
		r.stuck = false
	})
	w.after(long, func() {
		w.inject(Record{Kind: Resumed, Target: "etcd1"})
		w.inject(Record{Kind: FaultOff, Fault: "F35", Target: source})
	})
}

// awake freezes the leader for so long that etcd deletes live keys when it wakes.
func (w *world) awake() {
	if w.busy > w.now {
		return
	}
	long := w.between(6*sec, 9*sec)
	w.busy = w.now + long + 2*sec
	w.inject(Record{Kind: FaultOn, Fault: "F11", Target: "etcd0"})
	w.inject(Record{Kind: Stopped, Target: "etcd0"})
	w.after(long, func() {
		w.inject(Record{Kind: Resumed, Target: "etcd0"})
		w.inject(Record{Kind: FaultOff, Fault: "F11", Target: "etcd0"})
		w.now += 15 * ms
		var regs []*simReg
		for _, h := range w.holders {
			if h.runs && !h.busy {
				for _, g := range h.regs {
					if g.incarnation != 0 && !g.over && !g.doubted && w.rng.IntN(2) == 0 {
						regs = append(regs, g)
					}
				}
			}
		}
		if len(regs) > 0 {
			w.falseDelete("", regs...)
		}
	})
}

// outage kills all of etcd, for a time.
func (w *world) outage() {
	if w.busy > w.now || w.rng.IntN(2) == 0 {
		return
	}
	for _, h := range w.holders {
		if h.runs && h.busy {
			return
		}
		for _, g := range h.regs {
			if g.doubted {
				return
			}
		}
	}
	long := w.between(2*sec, 12*sec)
	w.busy = w.now + long + 3*sec
	w.inject(Record{Kind: FaultOn, Fault: "F12"})
	for i := range 3 {
		w.inject(Record{Kind: Killed, Target: fmt.Sprintf("etcd%d", i)})
	}
	w.away = true
	for _, h := range w.holders {
		if h.runs {
			h.busy = true
			h.cut = true
			life := h.life
			w.after(h.ttl-max(250*ms, h.ttl/10)-w.between(0, h.ttl/4), func() {
				if h.life == life && h.cut {
					h.fence()
				}
			})
		}
	}
	for _, r := range w.readers {
		r.connected = false
		session := r.session
		w.after(3*sec+w.between(0, 100*ms), func() {
			if r.session == session && r.runs && w.away {
				r.stale()
			}
		})
	}
	w.after(long, func() {
		for i := range 3 {
			w.inject(Record{Kind: Spawn, Target: fmt.Sprintf("etcd%d", i), PID: 100 + i})
		}
		w.inject(Record{Kind: FaultOff, Fault: "F12"})
		w.after(w.between(500*ms, 1500*ms), func() {
			w.away = false
			for _, h := range w.holders {
				if h.runs && h.cut {
					h.cut = false
					h.back()
				}
			}
			for _, r := range w.readers {
				if r.runs {
					r.live()
				}
			}
		})
	})
}
