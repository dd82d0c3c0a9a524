package bench

import (
	"context"
	"errors"
	"runtime/metrics"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/watcher"
)

const (
	manyReaders = 1000   // at most, in one process
	readEvents  = 10_000 // at most, that each of them is to be told
	// fewerEvents is by how much fewer the plain client's watches are told: etcd sends each of them each event.
	fewerEvents = 10
)

// readers measures many readers of one process who watch the same.
func (r *runner) readers(ctx context.Context) error {
	n, events := min(r.cfg.N, manyReaders), min(r.cfg.N, readEvents)
	rate := r.row("readers", "events told, all readers together", PerSecond, More, n)
	took := r.row("readers", "first put to the last event of the last reader", Seconds, Less, n)
	wrong := r.row("readers", "events missed or told twice", Count, Less, n)
	heap := r.row("readers", "heap at most, while they read", Bytes, Less, n)
	var f *feed
	err := r.measure(ctx, func(ctx context.Context) (err error) {
		f, err = r.newFeed(ctx, max(2, min(r.cfg.N, watchNames)))
		return err
	})
	if err != nil {
		return err
	}
	return r.inTurns(ctx, "readers", func(ctx context.Context) error {
		m, err := f.tellMany(ctx, f.hubReaders, n, events)
		if err == nil {
			took.OursEach = append(took.OursEach, m.took.Seconds())
			rate.OursEach, wrong.OursEach, heap.OursEach = append(rate.OursEach, m.rate), append(wrong.OursEach, m.wrong), append(heap.OursEach, m.heap)
		}
		return err
	}, func(ctx context.Context) error {
		m, err := f.tellMany(ctx, f.clientWatches, n, max(1, events/fewerEvents))
		if err == nil {
			rate.RawEach, wrong.RawEach, heap.RawEach = append(rate.RawEach, m.rate), append(wrong.RawEach, m.wrong), append(heap.RawEach, m.heap)
		}
		return err
	})
}

// many is readers of one process. The last event is one of the name with the number 0, which has no other.
type many struct {
	*reader
	got   []int // events of each; to be read when all have the last one
	begun sync.WaitGroup
	ended sync.WaitGroup
}

func newMany(ctx context.Context, n int) *many {
	m := &many{reader: newReader(ctx), got: make([]int, n)}
	m.begun.Add(n)
	m.ended.Add(n)
	return m
}

// awaitAll waits for all of them, or for the end of one that went wrong.
func (m *many) awaitAll(all *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		all.Wait() // each reader is done with it at its own end at the latest
		close(done)
	}()
	err := m.await(done)
	if err != nil {
		m.close()
	}
	<-done
	return err
}

// toldMany is what many readers did.
type toldMany struct {
	took              time.Duration
	rate, wrong, heap float64
}

// tellMany puts records, as fast as possible, and waits until all readers were told of all of them.
func (f *feed) tellMany(ctx context.Context, start func(*many) error, n, events int) (t toldMany, err error) {
	before := heapNow()
	m := newMany(ctx, n)
	defer m.close()
	if err := start(m); err != nil {
		return t, err
	}
	if err := m.awaitAll(&m.begun); err != nil {
		return t, err
	}
	peak := watchHeap()
	begin := time.Now()
	err = f.putMany(m.ctx, events)
	if err == nil {
		err = m.awaitAll(&m.ended)
	}
	t.took = time.Since(begin)
	t.heap = max(0, peak()-before)
	if why := context.Cause(m.ctx); err != nil && why != nil {
		return t, why
	}
	if err != nil {
		return t, err
	}
	for _, got := range m.got {
		t.wrong += float64(max(got-events, events-got))
	}
	t.rate = float64(n) * float64(events) / t.took.Seconds()
	return t, nil
}

// putMany puts records of all names but the first, and then that one.
func (f *feed) putMany(ctx context.Context, events int) error {
	names := f.n - 1
	writers := min(names, atOnce)
	err := each(ctx, writers, writers, func(ctx context.Context, w int) error {
		own := (names - w + writers - 1) / writers // w+1, w+1+writers, ...
		for turn := range (events - 1 - w + writers - 1) / writers {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, _, err := f.put(1 + w + turn%own*writers); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, _, err = f.put(0)
	return err
}

// hubReaders starts readers of one Hub.
func (f *feed) hubReaders(m *many) error {
	hub, err := watcher.NewHub(f.r.cfg.Client, watcher.Config{Prefix: f.keys.Prefix()})
	if err != nil {
		return err
	}
	m.done.Go(func() {
		if err := hub.Run(m.ctx); err != nil {
			m.stop(err)
		}
	})
	for i := range m.got {
		m.done.Go(func() {
			begun, ended := sync.OnceFunc(m.begun.Done), sync.OnceFunc(m.ended.Done)
			defer begun()
			defer ended()
			for batch, err := range hub.Watch(m.ctx) {
				if err != nil {
					m.stop(err)
					return
				}
				if batch.Kind == watcher.Snapshot {
					begun()
				}
				for j := range batch.Events {
					if batch.Events[j].Kind != watcher.Updated {
						continue
					}
					m.got[i]++
					if number, _ := numberOf(batch.Events[j].Name); number == 0 {
						ended()
					}
				}
			}
		})
	}
	return nil
}

// clientWatches starts as many watches of the plain client, which puts them on one stream.
func (f *feed) clientWatches(m *many) error {
	client := clientv3.NewWatcher(f.r.cfg.Client)
	var watching sync.WaitGroup
	last := f.keys.Record(nameOf(0))
	for i := range m.got {
		channel := client.Watch(m.ctx, f.keys.Prefix(), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
		watching.Go(func() {
			begun, ended := sync.OnceFunc(m.begun.Done), sync.OnceFunc(m.ended.Done)
			defer begun()
			defer ended()
			for resp := range channel {
				if err := resp.Err(); err != nil {
					m.stop(err)
					return
				}
				if resp.Created {
					begun()
				}
				for _, event := range resp.Events {
					m.got[i]++
					if string(event.Kv.Key) == last {
						ended()
					}
				}
			}
			m.stop(errors.New("the watch ended"))
		})
	}
	m.done.Go(func() {
		watching.Wait()
		client.Close()
	})
	return nil
}

// watchHeap looks at the heap, garbage and all, until what it gives is called, which gives the most that there was.
func watchHeap() (peak func() float64) {
	const every = 20 * time.Millisecond
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	most := 0.0
	look := func() {
		metrics.Read(sample)
		most = max(most, float64(sample[0].Value.Uint64()))
	}
	ctx, stop := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	looking.Go(func() {
		for wait(ctx, every) == nil {
			look()
		}
	})
	return func() float64 {
		stop()
		looking.Wait()
		look()
		return most
	}
}
