package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// value is what the plain client puts where only the size matters.
var value = strings.Repeat("v", 300)

// register measures what it takes to register n instances from one process, and one alone.
func (r *runner) register(ctx context.Context) error {
	n := r.cfg.N
	rate := r.row("register", "registrations of one process", PerSecond, More, n)
	heap := r.row("register", "heap of each", Bytes, Less, n)
	routines := r.row("register", "goroutines of each", Count, Less, n)
	err := r.inTurns(ctx, "register", func(ctx context.Context) error {
		m, err := r.registerOurs(ctx, n)
		if err != nil {
			return err
		}
		rate.OursEach = append(rate.OursEach, float64(n)/m.took.Seconds())
		heap.OursEach = append(heap.OursEach, m.heap)
		routines.OursEach = append(routines.OursEach, m.routines)
		return nil
	}, func(ctx context.Context) error {
		took, err := r.registerRaw(ctx, n)
		if err != nil {
			return err
		}
		rate.RawEach = append(rate.RawEach, float64(n)/took.Seconds())
		return nil
	})
	if err != nil {
		return err
	}
	return r.oneByOne(ctx)
}

// registered is what n registrations took and what each of them keeps. What a process needs however many it has is not
// counted: one more is registered before.
type registered struct {
	took           time.Duration
	heap, routines float64 // of each
}

func (r *runner) registerOurs(ctx context.Context, n int) (m registered, err error) {
	keys, err := r.part("register")
	if err != nil {
		return m, err
	}
	reg, err := registry.New(r.cfg.Client, registry.Config{Prefix: keys.Prefix(), ReportInterval: -1})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, r.closeRegistry(ctx, reg), r.tidy(ctx)) }()
	if _, err = reg.Register(ctx, instance(n)); err != nil {
		return m, err
	}
	held := make([]*registry.Registration, n)
	before, routines := heapNow(), runtime.NumGoroutine()
	start := time.Now()
	// The context of each ends with the errgroup's and would end the registration: it gets the one around.
	err = each(ctx, n, registering, func(_ context.Context, i int) (err error) {
		held[i], err = reg.Register(ctx, instance(i))
		return err
	})
	m.took = time.Since(start)
	if err != nil {
		return m, err
	}
	m.heap = (settledHeap(ctx) - before) / float64(n)
	m.routines = float64(runtime.NumGoroutine()-routines) / float64(n)
	runtime.KeepAlive(held)
	return m, err
}

// closeRegistry leaves with everything, also when the context has ended.
func (r *runner) closeRegistry(ctx context.Context, reg *registry.Registry) error {
	ctx, cancel := r.cleaning(ctx)
	defer cancel()
	return reg.Close(ctx)
}

// heapNow gives what the heap holds when all garbage is gone.
func heapNow() float64 {
	runtime.GC()
	runtime.GC() // what the first one found to be finalised is free after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// settledHeap waits until the heap does not shrink any more: after a burst some of it is for what is still under way.
func settledHeap(ctx context.Context) float64 {
	last := heapNow()
	for range 20 {
		if wait(ctx, 250*time.Millisecond) != nil {
			break
		}
		now := heapNow()
		if now > last*0.995 {
			return min(now, last)
		}
		last = now
	}
	return last
}

func (r *runner) registerRaw(ctx context.Context, n int) (took time.Duration, err error) {
	defer func() { err = errors.Join(err, r.tidy(ctx)) }()
	start := time.Now()
	err = each(ctx, n, atOnce, r.grantAndPut)
	return time.Since(start), err
}

func (r *runner) grantAndPut(_ context.Context, i int) error {
	resp, err := r.grant(renewTTL)
	if err != nil {
		return err
	}
	_, err = r.cfg.Client.Put(r.writing, fmt.Sprintf("%sregister/node%06d", r.cfg.Prefix, i), value, clientv3.WithLease(resp.ID))
	return err
}

// oneByOne measures what it takes a process that has just one.
func (r *runner) oneByOne(ctx context.Context) error {
	row := r.row("register", "one instance, one process", Seconds, Less, 1)
	keys, err := r.part("register")
	if err != nil {
		return err
	}
	r.cfg.Progress("register: one by one")
	sides := []func(ctx context.Context, i int) error{
		func(ctx context.Context, i int) error {
			took, err := r.registerOne(ctx, keys, i)
			row.OursEach = append(row.OursEach, took.Seconds())
			return err
		},
		func(ctx context.Context, i int) error {
			start := time.Now()
			err := r.grantAndPut(ctx, i)
			row.RawEach = append(row.RawEach, time.Since(start).Seconds())
			return err
		},
	}
	return r.measure(ctx, func(ctx context.Context) error {
		for i := range 2 * min(r.cfg.N, singles) {
			// Now the one first and now the other, each after a pause: what the one leaves to be done must not be paid by the other.
			if err := wait(ctx, singlePause); err != nil {
				return err
			}
			if err := sides[(i+i/2)%2](ctx, i/2); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *runner) registerOne(ctx context.Context, keys registry.Keys, i int) (took time.Duration, err error) {
	reg, err := registry.New(r.cfg.Client, registry.Config{Prefix: keys.Prefix(), ReportInterval: -1})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.closeRegistry(ctx, reg)) }()
	start := time.Now()
	_, err = reg.Register(ctx, instance(i))
	return time.Since(start), err
}
