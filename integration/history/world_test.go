package history

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/registry"
)

const (
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

// world makes good histories: a cluster in which everything goes wrong that may, and every promise is kept. It is a model of
// what is promised, not of how it is done.
type world struct {
	rng     *rand.Rand
	now     int64
	turn    int // breaks ties of time
	todo    agenda
	records []Record
	keys    registry.Keys

	revision  int64
	audited   int64
	compacted int64
	away      bool // no quorum
	busy      int64
	entries   map[string]*registry.Entry
	log       []*revisionLog
	holders   []*simHolder
	readers   []*simReader
	lastID    int
	ending    bool
}

// revisionLog is what one revision did.
type revisionLog struct {
	revision int64
	names    []string
	before   map[string]registry.Entry
	after    map[string]registry.Entry
	cause    string // of keys that vanished
}

type deed struct {
	at   int64
	turn int
	do   func()
}

type agenda []deed

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, k int) bool {
	return a[i].at < a[k].at || a[i].at == a[k].at && a[i].turn < a[k].turn
}
func (a agenda) Swap(i, k int) { a[i], a[k] = a[k], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(deed)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// goodHistory makes a history of so many seconds.
func goodHistory(seed uint64, length time.Duration) []Record {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), now: sec, entries: make(map[string]*registry.Entry)}
	w.keys, _ = registry.NewKeys("/hb/")
	w.write(Record{Kind: Begin, Source: "injector", Seed: seed, Prefix: "/hb/"})
	for i := range 3 {
		w.write(Record{Kind: Spawn, Source: "injector", Target: fmt.Sprintf("etcd%d", i), PID: 100 + i})
	}
	w.now += 3 * sec
	for i := range 4 {
		w.addHolder(i)
	}
	for i, kind := range []string{"now", "view", "view", "revision", "confirm", "program"} {
		w.addReader(i, kind)
	}
	w.every(200*ms, w.list)
	w.every(100*ms, w.ask)
	w.every(2*sec, w.measure)
	w.after(2*sec, w.fault)
	end := w.now + int64(length)
	w.runUntil(func() bool { return w.now >= end })
	w.finish()
	return w.records
}

func (w *world) write(rec Record) {
	if rec.At == 0 {
		rec.At = w.now
	}
	w.records = append(w.records, rec)
}

func (w *world) inject(rec Record) {
	rec.Source = "injector"
	w.write(rec)
}

func (w *world) after(d int64, do func()) {
	w.turn++
	heap.Push(&w.todo, deed{w.now + d, w.turn, do})
}

func (w *world) every(d int64, do func()) {
	w.after(d, func() {
		do()
		w.every(d, do)
	})
}

func (w *world) runUntil(done func() bool) {
	for !done() {
		next := heap.Pop(&w.todo).(deed)
		w.now = max(w.now+1, next.at)
		next.do()
	}
}

// between draws a time.
func (w *world) between(from, to int64) int64 { return from + w.rng.Int64N(to-from) }

// commit writes a revision, and tells every reader. Cause is why keys vanish of which nobody says so.
func (w *world) commit(cause string, writes ...Write) int64 {
	w.revision++
	step := &revisionLog{revision: w.revision, cause: cause, before: make(map[string]registry.Entry), after: make(map[string]registry.Entry)}
	for _, x := range writes {
		family, name, err := w.keys.Parse([]byte(x.Key))
		if err != nil {
			continue
		}
		e := w.entry(name.String())
		if _, there := step.before[name.String()]; !there {
			step.before[name.String()] = *e
			step.names = append(step.names, name.String())
		}
		if x.Delete {
			e.Delete(family)
		} else {
			e.Put(family, &mvccpb.KeyValue{Value: []byte(x.Value), ModRevision: w.revision, Lease: leaseOf(x.Lease)})
		}
	}
	slices.Sort(step.names)
	for _, name := range step.names {
		step.after[name] = *w.entries[name]
	}
	w.log = append(w.log, step)
	w.audited = max(w.audited+1, w.now+w.between(0, 2*ms))
	w.write(Record{At: w.audited, Kind: Audit, Source: "auditor", Revision: w.revision, Writes: writes})
	for _, r := range w.readers {
		if r.runs && r.connected {
			r.take(step, true)
		}
	}
	return w.revision
}

func (w *world) entry(name string) *registry.Entry {
	e := w.entries[name]
	if e == nil {
		n, _ := registry.ParseName(name)
		e = &registry.Entry{Name: n}
		w.entries[name] = e
	}
	return e
}

func (w *world) key(f registry.Family, name string) string {
	n, _ := registry.ParseName(name)
	return w.keys.Key(f, n)
}

func (w *world) record(name string, change func(*registry.Record)) Write {
	n, _ := registry.ParseName(name)
	rec := registry.Record{Schema: 1, Binary: n.Binary, Host: n.Host, Zone: "az1", CreatedAt: time.Unix(1e9, 0), TTLSeconds: 4}
	if old := w.entry(name).Record.Value; old != nil {
		rec.Zone, rec.Labels, rec.TTLSeconds = old.Zone, old.Labels, old.TTLSeconds
	}
	change(&rec)
	value, _ := registry.EncodeRecord(&rec)
	return Write{Key: w.key(registry.FamilyRecord, name), Value: string(value)}
}

func (w *world) admin(name string, change func(*registry.Admin)) Write {
	a := registry.Admin{Schema: 1}
	if old := w.entry(name).Admin.Value; old != nil {
		a = *old
	}
	change(&a)
	value, _ := registry.EncodeAdmin(&a)
	return Write{Key: w.key(registry.FamilyAdmin, name), Value: string(value)}
}

// rows gives the list.
func (w *world) rows() []Row {
	names := make([]string, 0, len(w.entries))
	for name, e := range w.entries {
		if e.Listed() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	rows := make([]Row, 0, len(names))
	for _, name := range names {
		rows = append(rows, rowOf(w.entries[name]))
	}
	return rows
}

func rowOf(e *registry.Entry) Row {
	s := e.Service()
	return RowOf(&s)
}

func (w *world) list() {
	if !w.away {
		w.write(Record{Kind: Listed, Source: "lister", Until: w.now + 3*ms, Revision: w.revision, Rows: w.rows()})
	}
}

func (w *world) ask() {
	for _, h := range w.holders {
		h.answer()
	}
}

func (w *world) measure() {
	for _, r := range w.readers {
		if r.runs && !r.stuck {
			w.write(Record{Kind: Memory, Source: r.source(), Bytes: 40 << 20})
		}
	}
}

// finish mends everything, waits, and ends all processes.
func (w *world) finish() {
	w.ending = true
	quiet := max(w.busy, w.now) + 15*sec
	w.runUntil(func() bool { return w.now >= quiet })
	w.inject(Record{Kind: Settled})
	until := w.now + 12*sec
	w.runUntil(func() bool { return w.now >= until })
	w.list()
	for _, h := range w.holders {
		if h.runs {
			h.exit()
		}
	}
	until = w.now + sec
	w.runUntil(func() bool { return w.now >= until })
	for _, r := range w.readers {
		if r.runs {
			w.inject(Record{Kind: Asked, Target: r.source()})
			w.write(Record{Kind: Exited, Source: r.source(), At: w.now + 5*ms})
			w.inject(Record{Kind: Died, Target: r.source(), At: w.now + 6*ms})
			r.runs = false
		}
	}
	w.now += 10 * ms
	w.inject(Record{Kind: Final, Leases: []string{}})
}

func (w *world) nextID(what string) string {
	w.lastID++
	return fmt.Sprintf("%s-%d", what, w.lastID)
}
