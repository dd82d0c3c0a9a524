package history

import (
	"fmt"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// simHolder is a place in which one holder process runs after another.
type simHolder struct {
	w      *world
	number int
	runs   bool
	pid    int
	life   int // how many processes there were
	ttl    int64
	lease  int64
	frozen bool
	cut    bool
	fenced bool
	away   int  // how often it was
	busy   bool // something is being done to it
	since  int64
	regs   []*simReg
}

// simReg is one registration.
type simReg struct {
	h           *simHolder
	name, id    string
	incarnation int64 // 0: not up
	over        bool
	doubted     bool // deleted, and the holder does not know it yet
}

func (h *simHolder) source() string { return fmt.Sprintf("holder%d#%d", h.number, h.life) }

func (w *world) addHolder(number int) {
	h := &simHolder{w: w, number: number, ttl: []int64{2, 3, 4, 5}[number%4] * sec}
	w.holders = append(w.holders, h)
	var names []string
	for i := range 3 {
		names = append(names, fmt.Sprintf("svc%d/node%d", i, number))
	}
	h.start(names)
}

// start runs a new process that registers the names.
func (h *simHolder) start(names []string) {
	w := h.w
	h.life++
	h.pid = 1000 + 100*h.number + h.life
	h.runs, h.frozen, h.cut, h.fenced, h.busy, h.regs = true, false, false, false, false, nil
	h.lease, h.since = w.rng.Int64()|1, w.now
	w.inject(Record{Kind: Spawn, Target: h.source(), PID: h.pid})
	w.write(Record{Kind: Started, Source: h.source(), PID: h.pid, At: w.now + 5*ms})
	for _, name := range names {
		g := &simReg{h: h, name: name, id: w.nextID("registration")}
		h.regs = append(h.regs, g)
		w.after(w.between(10*ms, 60*ms), func() { g.put() })
	}
}

// put begins an incarnation.
func (g *simReg) put() {
	h, w := g.h, g.h.w
	if !h.runs || h.frozen || g.over {
		return
	}
	if w.away || h.cut {
		w.after(200*ms, g.put)
		return
	}
	n, _ := registry.ParseName(g.name)
	value, _ := registry.EncodeHolder(&registry.Holder{Schema: 1, Registration: g.id, PID: h.pid, Since: time.Unix(1e9, 0)})
	alive := Write{Key: w.keys.Alive(n), Lease: formatLease(h.lease), Value: string(value)}
	record := w.record(g.name, func(r *registry.Record) { r.TTLSeconds, r.Ended = h.ttl/sec, nil })
	g.incarnation = w.commit("", record, alive)
	g.doubted = false
	w.write(Record{At: w.now + w.between(ms, 5*ms), Kind: Registered, Source: h.source(), Name: g.name, Incarnation: g.incarnation, Lease: formatLease(h.lease), TTL: h.ttl})
}

// answer asks Valid of all registrations.
func (h *simHolder) answer() {
	if !h.runs || h.frozen {
		return
	}
	for _, g := range h.regs {
		if g.incarnation != 0 && !g.doubted {
			h.w.write(Record{Kind: Valid, Source: h.source(), Name: g.name, Incarnation: g.incarnation, Yes: !h.fenced, Until: h.w.now + 1000})
		}
	}
}

func (g *simReg) say(kind Kind, change func(*Record)) {
	rec := Record{Kind: kind, Source: g.h.source(), Name: g.name, Incarnation: g.incarnation}
	change(&rec)
	g.h.w.write(rec)
}

func nothing(*Record) {}

// unrenewed lets the lease run out from now on, unless the holder is back before: what it takes is to be the same process, of
// the same lease, as long as away says so.
func (h *simHolder) unrenewed(away func() bool) {
	w, lease, life := h.w, h.lease, h.life
	renewed := w.now - w.between(0, h.ttl/4)
	ours := func() bool { return h.lease == lease && h.life == life && h.runs && away() }
	margin := max(250*ms, h.ttl/10)
	w.after(renewed+h.ttl-margin-w.now, func() {
		if ours() {
			h.fence()
		}
	})
	w.after(renewed+h.ttl+w.between(0, 500*ms)-w.now, func() { h.expire(lease, life, away) })
}

// expire deletes the keys of the lease.
func (h *simHolder) expire(lease int64, life int, away func() bool) {
	w := h.w
	if w.away {
		w.after(h.ttl, func() { h.expire(lease, life, away) }) // promoted anew
		return
	}
	if h.life == life && h.runs && !away() {
		return
	}
	var writes []Write
	for name, e := range w.entries {
		if e.Alive.Rev != 0 && e.Alive.Lease == lease {
			writes = append(writes, Write{Key: w.key(registry.FamilyAlive, name), Delete: true})
		}
	}
	sortWrites(writes)
	if len(writes) > 0 {
		w.commit("expired", writes...)
	}
	if h.life == life && h.runs {
		h.lease = 0
	}
}

// fence ends the trusted period.
func (h *simHolder) fence() {
	if h.fenced || !h.runs {
		return
	}
	h.fenced = true
	if h.frozen {
		return // nobody runs to say so
	}
	for _, g := range h.regs {
		if g.incarnation != 0 {
			g.say(Fenced, nothing)
		}
	}
}

// back is contact again, after a freeze or a cut.
func (h *simHolder) back() {
	w := h.w
	if !h.runs {
		return
	}
	if h.lease == 0 {
		h.lease = w.rng.Int64() | 1
		for _, g := range h.regs {
			if g.over || g.incarnation == 0 {
				continue
			}
			g.say(Lost, func(r *Record) { r.Reason = "the lease is gone" })
			g.incarnation = 0
			w.after(w.between(10*ms, 300*ms), g.put)
		}
	} else if h.fenced {
		for _, g := range h.regs {
			if g.incarnation != 0 {
				g.say(Trusted, nothing)
			}
		}
	}
	h.fenced, h.busy = false, false
}

// leave ends a registration cleanly.
func (g *simReg) leave(cause registry.Cause) {
	w := g.h.w
	if g.incarnation == 0 {
		g.over = true
		return
	}
	g.say(Leaving, func(r *Record) { r.Cause = string(cause) })
	record := w.record(g.name, func(r *registry.Record) {
		r.Ended = &registry.Ended{Cause: cause, Incarnation: g.incarnation, At: time.Unix(1e9, 0)}
	})
	w.now += ms
	w.commit("", record, Write{Key: w.key(registry.FamilyAlive, g.name), Delete: true})
	w.now += 3 * ms
	g.say(Left, nothing)
	g.over, g.incarnation = true, 0
}

func (h *simHolder) exit() {
	w := h.w
	w.inject(Record{Kind: Asked, Target: h.source()})
	for _, g := range h.regs {
		if !g.over {
			w.now += ms
			g.leave(registry.CauseLeft)
		}
	}
	w.now += 5 * ms
	w.write(Record{Kind: Exited, Source: h.source()})
	w.inject(Record{Kind: Died, Target: h.source(), At: w.now + ms})
	h.runs = false
}
