package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// unknown is a run's figure that could not be had.
var unknown = math.NaN()

// runner does the works, one after the other.
type runner struct {
	cfg     Config
	results []*Result

	// writing is the context of what is written. It outlives that of the measurement by a moment: a write that is given up may
	// still arrive, after everything was removed.
	writing context.Context

	mu     sync.Mutex
	leases map[clientv3.LeaseID]bool // granted by the plain client, and not revoked
}

func newRunner(cfg Config) *runner {
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	return &runner{cfg: cfg, leases: make(map[clientv3.LeaseID]bool)}
}

// work is one of the works.
type work struct {
	name string
	do   func(*runner, context.Context) error
	plan func(Config) Plan
}

var works = []work{
	{"register", (*runner).register, planRegister},
	{"renew", (*runner).renew, planRenew},
	{"list", (*runner).list, planList},
	{"watch", (*runner).watch, planWatch},
	{"catchup", (*runner).catchup, planCatchup},
	{"readers", (*runner).readers, planReaders},
	{"detect", (*runner).detect, planDetect},
	{"mass-death", (*runner).massDeath, planMassDeath},
	{"return", (*runner).comeBack, planReturn},
}

// Works gives the names of all works, in the order in which they are done.
func Works() []string {
	var names []string
	for _, w := range works {
		names = append(names, w.name)
	}
	return names
}

// Run does the works and gives what was measured, also when it fails: as far as it came. It returns ErrData before it has written
// anything, the context's error, etcd's, and what went wrong with the cleaning up.
func Run(ctx context.Context, cfg Config) (results []Result, err error) {
	r := newRunner(cfg)
	if err := CheckEmpty(ctx, cfg.Client, cfg.Prefix); err != nil {
		return nil, err
	}
	defer func() { results, err = r.settled(), errors.Join(err, r.clean(ctx)) }()
	for _, w := range works {
		if !cfg.does(w.name) {
			continue
		}
		if err := w.do(r, ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		if err := r.measure(ctx, r.tidy); err != nil {
			return nil, fmt.Errorf("after %s: %w", w.name, err)
		}
	}
	return nil, nil
}

// row begins a figure.
func (r *runner) row(work, measure string, unit Unit, better Better, n int) *Result {
	result := &Result{Work: work, Measure: measure, Unit: unit, Better: better, Instances: n, OursEach: []float64{}, RawEach: []float64{}}
	r.results = append(r.results, result)
	return result
}

func (r *runner) settled() []Result {
	results := make([]Result, 0, len(r.results))
	for _, result := range r.results {
		result.settle()
		results = append(results, *result)
	}
	return results
}

// lastWrites is how long what was being written when a measurement was given up may take to arrive.
const lastWrites = 2 * time.Second

// inTurns measures ours and raw in turns, as often as is wanted, each on an empty prefix.
func (r *runner) inTurns(ctx context.Context, work string, ours, raw func(context.Context) error) error {
	for i := range r.cfg.Repeats {
		for _, side := range []struct {
			name string
			do   func(context.Context) error
		}{{"hbctl", ours}, {"raw", raw}} {
			r.cfg.Progress(fmt.Sprintf("%s: %s, %d of %d", work, side.name, i+1, r.cfg.Repeats))
			if err := r.measure(ctx, side.do); err != nil {
				return err
			}
		}
	}
	return nil
}

// timing makes a measurement of what is timed: a time is kept only if it went well.
func timing(into *[]float64, do func(context.Context) (time.Duration, error)) func(context.Context) error {
	return func(ctx context.Context) error {
		took, err := do(ctx)
		if err == nil {
			*into = append(*into, took.Seconds())
		}
		return err
	}
}

// measure bounds one measurement: an etcd that no longer answers must not be waited for. It begins without garbage of the last
// one.
func (r *runner) measure(ctx context.Context, do func(context.Context) error) error {
	limit := time.Minute + 4*r.cfg.Duration + time.Duration(r.cfg.N)*2*time.Millisecond
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it was not done within %v: etcd or this machine is too slow, choose a smaller n", limit))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	defer r.watchPulse(ctx, giveUp)()
	var stop context.CancelFunc
	r.writing, stop = context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWrites, stop) })()
	runtime.GC()
	if err := do(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// each calls do for all from 0 to n-1, some at once, until one fails.
func each(ctx context.Context, n, atOnce int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(n, atOnce) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(ctx, i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

// wait waits for a time, or for the end of the context.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
