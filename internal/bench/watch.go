package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// watch measures how many events a reader can handle, and how soon.
func (r *runner) watch(ctx context.Context) error {
	n := min(r.cfg.N, watchNames)
	var feed *feed
	err := r.measure(ctx, func(ctx context.Context) (err error) {
		feed, err = r.newFeed(ctx, n)
		return err
	})
	if err != nil {
		return err
	}
	rate := r.row("watch", "events handled, writers at full speed", PerSecond, More, n)
	full := func(start startReader, into *[]float64) func(context.Context) error {
		return func(ctx context.Context) error {
			m, err := feed.run(ctx, start, 0)
			if err == nil {
				*into = append(*into, m.rate)
			}
			return err
		}
	}
	if err := r.inTurns(ctx, "watch", full(feed.ours, &rate.OursEach), full(feed.raw, &rate.RawEach)); err != nil {
		return err
	}
	half := Median(rate.RawEach) / 2
	p50 := r.row("watch", "put to event at half that rate, p50", Seconds, Less, n)
	p99 := r.row("watch", "put to event at half that rate, p99", Seconds, Less, n)
	late := func(start startReader, into50, into99 *[]float64) func(context.Context) error {
		return func(ctx context.Context) error {
			m, err := feed.run(ctx, start, half)
			if err == nil {
				*into50, *into99 = append(*into50, Percentile(m.late, 50)), append(*into99, Percentile(m.late, 99))
			}
			return err
		}
	}
	return r.inTurns(ctx, "watch at half the rate", late(feed.ours, &p50.OursEach, &p99.OursEach), late(feed.raw, &p50.RawEach, &p99.RawEach))
}

// A feed changes records, so that there is something to watch: each put says something else than the one before, and is an event
// to any reader.
type feed struct {
	r      *runner
	keys   registry.Keys
	n      int
	values [][2][]byte // of each name, to be put in turns
	turn   []int
}

func (r *runner) newFeed(ctx context.Context, n int) (*feed, error) {
	c, err := r.populate(ctx, "watch", n, crowdLease, crowdTTL, nil)
	if err != nil {
		return nil, err
	}
	f := &feed{r: r, keys: c.keys, n: n, values: make([][2][]byte, n), turn: make([]int, n)}
	for i := range n {
		for turn := range 2 {
			if f.values[i][turn], err = recordOf(i, turn+1); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// put puts the record of a name, and gives the revision and when it was sent. Only one at a time may put the same name.
func (f *feed) put(i int) (sent time.Time, revision int64, err error) {
	f.turn[i]++
	value := string(f.values[i][f.turn[i]%2])
	sent = time.Now()
	resp, err := f.r.cfg.Writer.Put(f.r.writing, f.keys.Record(nameOf(i)), value)
	if err != nil {
		return sent, 0, err
	}
	return sent, resp.Header.Revision, nil
}

// arrivals collects when a reader has handled which revision. Nothing but a put is in the prefix, so each revision is an event.
type arrivals struct {
	mu      sync.Mutex
	at      map[int64]time.Time
	last    time.Time
	newest  int64
	goal    int64 // revision; 0: nobody waits
	reached chan struct{}
}

func newArrivals() *arrivals { return &arrivals{at: make(map[int64]time.Time)} }

func (a *arrivals) handled(revision int64, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at[revision] = at
	a.newest, a.last = revision, at
	a.check()
}

// until gives what is closed when the revision has been handled. One is waited for at a time.
func (a *arrivals) until(goal int64) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.goal, a.reached = goal, make(chan struct{})
	reached := a.reached
	a.check()
	return reached
}

func (a *arrivals) check() {
	if a.goal != 0 && a.newest >= a.goal {
		a.goal = 0
		close(a.reached)
	}
}

type startReader func(context.Context, *arrivals) (*reader, error)

func (f *feed) ours(ctx context.Context, a *arrivals) (*reader, error) {
	w, err := watcher.New(f.r.cfg.Client, watcher.Config{Prefix: f.keys.Prefix()})
	if err != nil {
		return nil, err
	}
	return f.r.readOurs(ctx, w, watcher.Now(), func(b *watcher.Batch, now time.Time) {
		for _, e := range b.Events {
			if e.Kind == watcher.Updated {
				a.handled(b.Revision, now)
			}
		}
	})
}

func (f *feed) raw(ctx context.Context, a *arrivals) (*reader, error) {
	return f.r.readRaw(ctx, f.keys.Prefix(), 0, func(e *clientv3.Event, now time.Time) { a.handled(e.Kv.ModRevision, now) })
}

// watched is what a reader did.
type watched struct {
	rate float64   // events a second, from the first sending to the last handling
	late []float64 // seconds from the sending to the handling, of each
}

// run has a reader read while records are put, as fast as possible or at a rate.
func (f *feed) run(ctx context.Context, start startReader, rate float64) (m watched, err error) {
	if f.r.cfg.Own { // or the history of all runs would not fit its quota
		if err := f.r.compact(ctx); err != nil {
			return m, err
		}
	}
	a := newArrivals()
	rd, err := start(ctx, a)
	if err != nil {
		return m, err
	}
	defer rd.close()
	if err := f.settle(rd, a); err != nil {
		return m, err
	}
	begin := time.Now()
	sent, err := f.write(rd.ctx, min(f.r.cfg.Duration, watchTime), rate)
	if err != nil {
		if why := context.Cause(rd.ctx); why != nil {
			return m, why
		}
		return m, err
	}
	newest := int64(0)
	for revision := range sent {
		newest = max(newest, revision)
	}
	if err := rd.await(a.until(newest)); err != nil {
		return m, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m.rate = float64(len(sent)) / a.last.Sub(begin).Seconds()
	for revision, at := range sent {
		handled, there := a.at[revision]
		if !there {
			return m, errors.New("an event was never told")
		}
		m.late = append(m.late, handled.Sub(at).Seconds())
	}
	return m, nil
}

// settle tells the reader of one put, which is not counted. A watch that begins at a revision, as one that follows a list must, is
// sent what was put since by etcd in rounds, a tenth of a second apart and of a thousand revisions, until it has come to now: how a watch
// begins is not what is measured, and one that etcd was ahead of from the first put on would never come out of it.
func (f *feed) settle(rd *reader, a *arrivals) error {
	_, revision, err := f.put(0)
	if err != nil {
		return err
	}
	return rd.await(a.until(revision))
}

// write puts for a time, 64 at once, at a rate if it is not 0. It gives when which revision was sent.
func (f *feed) write(ctx context.Context, d time.Duration, rate float64) (map[int64]time.Time, error) {
	type putting struct {
		revision int64
		sent     time.Time
	}
	writers := min(f.n, atOnce)
	sent := make([][]putting, writers)
	begin := time.Now()
	var ticket atomic.Int64
	err := each(ctx, writers, writers, func(ctx context.Context, w int) error {
		for turn := 0; ; turn++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			// The time at which this put is due; without a rate it is now.
			due := time.Since(begin)
			if rate > 0 {
				due = time.Duration(float64(ticket.Add(1)) / rate * float64(time.Second))
			}
			if due >= d && (turn > 0 || w > 0) {
				return nil
			}
			if early := due - time.Since(begin); early > 0 {
				if err := wait(ctx, early); err != nil {
					return err
				}
			}
			names := (f.n - w + writers - 1) / writers // w, w + writers, ...
			at, revision, err := f.put(w + turn%names*writers)
			if err != nil {
				return err
			}
			sent[w] = append(sent[w], putting{revision, at})
		}
	})
	all := make(map[int64]time.Time)
	for _, list := range sent {
		for _, p := range list {
			all[p.revision] = p.sent
		}
	}
	return all, err
}
