package watcher

import (
	"context"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// hubLimits bound what a Hub keeps for its readers, however many there are and whatever they do.
type hubLimits struct {
	events int // of the log that all read
	bytes  int // of keys and values that it was made from
	names  int // that readers behind the log are owed, in all
}

var defaultHubLimits = hubLimits{events: 32 << 10, bytes: 16 << 20, names: 1 << 20}

// A Hub shares one watch of etcd among any number of readers of a process. Run talks to etcd; each Watch is a reader of its own,
// which is promised what the package comment promises as if it had a Watcher to itself, and holds up nobody. One that falls behind
// what is kept is told the difference when it comes back, marked synthetic; if even that would take too much memory, a Reset and a
// Snapshot. Its methods may be called from any goroutine.
type Hub struct {
	w      *Watcher
	limits hubLimits

	building sync.Mutex // held while a start is made

	mu      sync.Mutex
	changed chan struct{} // closed when there is more, and replaced
	begun   bool
	end     error // why it ended; nil: it did not

	view  *View    // after all of the log; nil: nothing is known yet
	stale *Batch   // contact is lost, and this was told
	start hubStart // where a reader can begin

	first  int64 // number of the oldest in the log
	log    []hubEntry
	events int
	bytes  int

	readers map[*hubReader]struct{}
	debts   map[int64]*hubDebt // by the number of the first entry that was missed
	owed    int                // names in all of them
}

// hubEntry is one item of the watch, and what it changed.
type hubEntry struct {
	item
	was     []named         // cells before it; nil ones of names that were not there
	foreign map[string]bool // which keys that are none of ours were told before it
}

// hubStart is a Snapshot, and the number of the entry that follows it.
type hubStart struct {
	batch Batch
	next  int64
	stale *Batch // contact was lost at that time
}

// NewHub makes a Hub, as New makes a Watcher. It returns ErrInvalid also for what only one reader can have: a confirmation window,
// OnMove, and a filter by more than binary and host: what else is told of an instance changes, and readers see it.
func NewHub(client *clientv3.Client, cfg Config) (*Hub, error) {
	w, err := New(client, cfg)
	if err != nil {
		return nil, err
	}
	names := registry.Filter{Binary: cfg.Filter.Binary, Host: cfg.Filter.Host}
	switch {
	case cfg.Confirm > 0:
		return nil, fmt.Errorf("%w: a hub has no confirmation window; use a Watcher", ErrInvalid)
	case cfg.OnMove != nil:
		return nil, fmt.Errorf("%w: a hub has no OnMove; use a Watcher", ErrInvalid)
	case (selection{cfg.Filter}).String() != (selection{names}).String():
		return nil, fmt.Errorf("%w: a hub filters by binary and host alone; let its readers do the rest", ErrInvalid)
	}
	return &Hub{
		w: w, limits: defaultHubLimits, changed: make(chan struct{}),
		readers: make(map[*hubReader]struct{}), debts: make(map[int64]*hubDebt),
	}, nil
}

// Run watches for the readers until ctx ends, which is no error, or nothing can be done any more: then it returns what
// Watcher.Watch would tell. All readers end with it. It can be called once; else it returns ErrBusy.
func (h *Hub) Run(ctx context.Context) error {
	h.mu.Lock()
	begun := h.begun
	h.begun = true
	h.mu.Unlock()
	if begun {
		return ErrBusy
	}
	ctx, cancel := context.WithCancel(ctx)
	s := newSession(h.w)
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx, Now()) })
	defer running.Wait()
	defer cancel()
	defer s.queue.leave()
	for {
		it, err := s.queue.next(ctx)
		if ctx.Err() != nil {
			h.finish(ErrHubEnded)
			return nil
		}
		if err != nil {
			err = fmt.Errorf("watching %s: %w", h.w.rules.keys.Prefix(), err)
			h.finish(err)
			return err
		}
		h.put(it)
	}
}

func (h *Hub) finish(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end = why
	h.tell()
}

// tell wakes all readers. The caller holds the lock.
func (h *Hub) tell() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// next is the number of the entry to come.
func (h *Hub) next() int64 { return h.first + int64(len(h.log)) }

// put takes an item over.
func (h *Hub) put(it item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := hubEntry{item: it}
	switch {
	case it.view != nil:
		h.view = it.view
	case it.patch != nil:
		e.note(h.view)
		h.view.apply(it.patch)
	}
	h.place(&e.batch)
	h.log = append(h.log, e)
	h.events += it.weight()
	h.bytes += it.bytes
	if it.batch.Kind == Snapshot {
		h.start = hubStart{batch: e.batch, next: h.next(), stale: h.stale}
	}
	for len(h.log) > 1 && (h.events > h.limits.events || h.bytes > h.limits.bytes) {
		h.drop()
	}
	h.tell()
}

// place gives a word about the stream itself the position of the readers, and notes it.
func (h *Hub) place(b *Batch) {
	switch b.Kind {
	case Stale:
		h.stale = b
	case Live:
		h.stale = nil
	default:
		return
	}
	if h.view != nil {
		b.Cluster, b.Revision = h.view.cluster, h.view.position()
	}
	if h.stale != nil {
		told := *b
		h.stale = &told
	}
}

// note keeps what was there before the item.
func (e *hubEntry) note(v *View) {
	e.was = make([]named, len(e.patch.cells))
	for i, c := range e.patch.cells {
		e.was[i] = named{c.name, v.cells[c.name]}
	}
	for key := range e.patch.foreign {
		if e.foreign == nil {
			e.foreign = make(map[string]bool)
		}
		e.foreign[key] = v.foreign[key]
	}
}

// drop forgets the oldest entry. Readers who did not take it are in debt from now on: for each name that they missed something of,
// what they were told last is kept, until they come back.
func (h *Hub) drop() {
	e := h.log[0]
	for r := range h.readers {
		if r.debt == nil && r.begun && r.next == h.first {
			r.debt = h.debt(h.first)
		}
	}
	for _, d := range h.debts {
		h.charge(d, &e)
	}
	h.log[0] = hubEntry{}
	h.log = h.log[1:]
	h.first++
	h.events -= e.weight()
	h.bytes -= e.bytes
}

// hubDebt is what readers who went away at the same entry were told last, of what changed since.
type hubDebt struct {
	from    int64
	readers int
	cells   map[registry.Name]*cell
	foreign map[string]bool
	lost    bool // too much was missed, or history began anew
}

// debt gives the debt from the entry on, for one more reader.
func (h *Hub) debt(from int64) *hubDebt {
	d := h.debts[from]
	if d == nil {
		d = &hubDebt{from: from, cells: make(map[registry.Name]*cell), foreign: make(map[string]bool)}
		h.debts[from] = d
	}
	d.readers++
	return d
}

// anew says that from the entry on nothing counts that was told before.
func (e *hubEntry) anew() bool { return e.view != nil || e.batch.Kind == Reset }

// anew says that the log has such an entry.
func (h *Hub) anew() bool {
	for i := range h.log {
		if h.log[i].anew() {
			return true
		}
	}
	return false
}

// add notes what was there before the entry, of what did not change before.
func (d *hubDebt) add(e *hubEntry) {
	for _, c := range e.was {
		if _, known := d.cells[c.name]; !known {
			d.cells[c.name] = c.cell
		}
	}
	for key, told := range e.foreign {
		if _, known := d.foreign[key]; !known {
			d.foreign[key] = told
		}
	}
}

// charge adds an entry to what was missed.
func (h *Hub) charge(d *hubDebt, e *hubEntry) {
	if d.lost {
		return
	}
	before := len(d.cells) + len(d.foreign)
	d.add(e)
	h.owed += len(d.cells) + len(d.foreign) - before
	if e.anew() || h.owed > h.limits.names {
		h.owed -= len(d.cells) + len(d.foreign)
		d.lost, d.cells, d.foreign = true, nil, nil
	}
}

// settle lets a reader off its debt.
func (h *Hub) settle(r *hubReader) {
	d := r.debt
	if d == nil {
		return
	}
	r.debt = nil
	if d.readers--; d.readers == 0 {
		h.owed -= len(d.cells) + len(d.foreign)
		delete(h.debts, d.from)
	}
}
