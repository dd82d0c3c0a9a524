package history

import "fmt"

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
