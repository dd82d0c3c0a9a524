package schedules_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// do makes one thing happen. It waits for nothing that a process or a reader was told to do.
func (w *world) do(s step) {
	name := w.name(s.Who)
	switch s.Kind {
	case crash:
		w.newest(name).process.crash()
	case restart:
		w.restart(w.newest(name).process)
	case leave, fail, update:
		h := w.newest(name)
		if s.How%4 == 3 {
			h = w.earlier(name, s.How)
		}
		w.call(h, s.Kind)
	case cut:
		w.newest(name).process.cut(s.How, s.For)
	case suspend:
		w.newest(name).process.suspend(s.For)
	case usurp:
		w.usurp(name, s)
	case takeover:
		p := w.process("")
		w.calls.Go(func() { w.registered(p, p.register(name, registry.Takeover)) })
	case contest:
		w.contest(name, registry.Policy(s.How%2))
	case readerCut, readerView, readerBare, readerSlow:
		w.trouble(w.readers[s.Who%2], s)
	default:
		w.operate(name, s)
	}
}

// operate is what happens to etcd, or by the hand of an operator.
func (w *world) operate(name registry.Name, s step) {
	o, keys := w.operator, w.operator.keys
	record, alive := clientv3.OpDelete(keys.Record(name)), clientv3.OpDelete(keys.Alive(name))
	switch s.Kind {
	case evict:
		o.evict(name)
	case forceDown:
		o.say(name, func(a *registry.Admin) { a.ForcedDown = &registry.Word{Reason: "forced"} })
	case forceUp:
		o.say(name, func(a *registry.Admin) { a.ForcedDown = nil })
	case disable:
		o.say(name, func(a *registry.Admin) { a.Disabled = &registry.Word{Reason: "disabled"} })
	case enable:
		o.say(name, func(a *registry.Admin) { a.Disabled = nil })
	case deleteAlive:
		o.do("delete", alive)
	case deleteRecord:
		o.do("delete", record)
	case deleteBoth:
		o.do("delete", record, alive)
	case deletePrefix:
		o.deletePrefix()
	case revoke:
		o.revoke(name)
	case junk:
		o.junk(name, s.How)
	case compact:
		o.compact()
	case restartEtcd:
		w.present()
		w.etcd.begin()
		w.server.Stop()
		w.started()
	case etcdAway:
		if w.back.IsZero() {
			w.etcd.begin()
			w.server.Stop()
		}
		w.back = time.Now().Add(s.For)
	case nothing:
	default:
		w.t.Fatalf("nobody knows how to %s", s.Kind)
	}
}

// call tells a registration something, and does not wait for it.
func (w *world) call(h *holding, what kind) {
	zone := fmt.Sprintf("z%d", w.tally.next())
	w.calls.Go(func() {
		switch what {
		case leave:
			h.end(registry.CauseLeft)
		case fail:
			h.end(registry.CauseFailed)
		default:
			h.change(zone)
		}
	})
}

// restart kills the process and starts another one on its machine, which registers the same names and need not wait for its
// own ghost.
func (w *world) restart(old *process) {
	if old.followed {
		return
	}
	old.followed = true
	old.crash()
	p := w.process(old.machine)
	old.mu.Lock()
	defer old.mu.Unlock()
	for name, h := range old.holdings {
		if w.newest(name) == h {
			w.calls.Go(func() { w.registered(p, p.register(name, registry.Wait)) })
		}
	}
}

// registered looks at the outcome of a registration that may fail.
func (w *world) registered(p *process, err error) {
	switch {
	case err == nil:
		w.tally.add("registered later")
	case errors.Is(err, registry.ErrConflict):
		w.tally.add("conflict refused")
	case !errors.Is(err, context.DeadlineExceeded):
		w.problem("process %d registers: %v", p.pid-firstPID, err)
	}
}

// usurp lets another process take over from a holder that is cut off, and that is told something that can't reach etcd, or
// whose answer can't reach it: before the takeover or after.
func (w *world) usurp(name registry.Name, s step) {
	h := w.newest(name)
	h.process.cut(s.How, s.For)
	what, early := [4]kind{leave, fail, update, nothing}[s.How/3], s.Who >= 2
	tell := func() {
		if what != nothing {
			w.call(h, what)
		}
	}
	if early {
		tell()
	}
	w.present()
	p := w.process("")
	w.registered(p, p.register(name, registry.Takeover))
	if !early {
		tell()
	}
}

// contest lets another process try to get the name without force.
func (w *world) contest(name registry.Name, policy registry.Policy) {
	h, p := w.newest(name), w.process("")
	w.calls.Go(func() {
		before := h.Incarnation()
		held := before != 0 && h.Valid()
		err := p.register(name, policy)
		if held && err != nil && h.Valid() && h.Incarnation() == before && errors.Is(err, registry.ErrConflict) {
			w.tally.add("conflict with a live one")
		}
		w.registered(p, err)
	})
}

// trouble is what happens to a reader.
func (w *world) trouble(r *reader, s step) {
	switch s.Kind {
	case readerCut:
		r.cut(s.How, s.For)
	case readerSlow:
		r.slow(s.For)
	default:
		r.pause(s.Kind == readerBare)
		w.after(s.For, r.resume)
	}
}
