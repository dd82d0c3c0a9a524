package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/hbctl/hbctl/watcher"
)

// CurveSizes are the numbers of instances that a cost curve is measured at, up to n, which is one of them.
func CurveSizes(n int) []int {
	var sizes []int
	for _, size := range []int{1000, 3000, 10_000, 30_000, 100_000} {
		if size < n {
			sizes = append(sizes, size)
		}
	}
	return append(sizes, n)
}

// Pair is one figure, ours beside raw: medians.
type Pair struct {
	Ours *float64 `json:"hbctl"`
	Raw  *float64 `json:"raw"` // nil: has no meaning
}

// Point is what n instances cost.
type Point struct {
	N        int  `json:"n"`
	Register Pair `json:"register"` // seconds, for all
	List     Pair `json:"list"`     // seconds
	Watch    Pair `json:"watch"`    // bytes that a watcher keeps
	Renew    Pair `json:"renew"`    // percent of a core, at TTL 30
}

// RunCurve measures what more and more instances cost: whether it grows with their number and no faster. As Run, it gives what
// it has also when it fails.
func RunCurve(ctx context.Context, cfg Config) (points []Point, err error) {
	r := newRunner(cfg)
	if err := CheckEmpty(ctx, cfg.Client, cfg.Prefix); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.clean(ctx)) }()
	if err := r.measure(ctx, r.warmUp); err != nil {
		return nil, err
	}
	for _, n := range CurveSizes(cfg.N) {
		p, err := r.point(ctx, n)
		if err != nil {
			return points, fmt.Errorf("with %d instances: %w", n, err)
		}
		points = append(points, *p)
	}
	return points, nil
}

// warmUp makes the first point no dearer than the others: connections, pools, an etcd that has grown.
func (r *runner) warmUp(ctx context.Context) error {
	r.cfg.Progress("warming up")
	n := min(r.cfg.N, 1000)
	if _, err := r.registerOurs(ctx, n); err != nil {
		return err
	}
	_, err := r.registerRaw(ctx, n)
	return err
}

// sides collects the runs of one figure.
type sides struct{ ours, raw []float64 }

func (s sides) pair() Pair { return Pair{Ours: known(Median(s.ours)), Raw: known(Median(s.raw))} }

func (r *runner) point(ctx context.Context, n int) (*Point, error) {
	var registering, listing, watching, renewing sides
	label := func(what string) string { return fmt.Sprintf("%d instances: %s", n, what) }
	err := r.inTurns(ctx, label("register"), timing(&registering.ours, func(ctx context.Context) (time.Duration, error) {
		m, err := r.registerOurs(ctx, n)
		return m.took, err
	}), timing(&registering.raw, func(ctx context.Context) (time.Duration, error) { return r.registerRaw(ctx, n) }))
	if err != nil {
		return nil, err
	}
	if err := r.pointOfReaders(ctx, n, label, &listing, &watching); err != nil {
		return nil, err
	}
	err = r.inTurns(ctx, label("renew"), func(ctx context.Context) error {
		m, err := r.renewOurs(ctx, n)
		renewing.ours = append(renewing.ours, m.own)
		return err
	}, func(ctx context.Context) error {
		m, err := r.renewRaw(ctx, n)
		renewing.raw = append(renewing.raw, m.own)
		return err
	})
	return &Point{N: n, Register: registering.pair(), List: listing.pair(), Watch: watching.pair(), Renew: renewing.pair()}, err
}

func (r *runner) pointOfReaders(ctx context.Context, n int, label func(string) string, listing, watching *sides) error {
	var c *crowd
	err := r.measure(ctx, func(ctx context.Context) (err error) {
		c, err = r.populate(ctx, "list", n, crowdLease, crowdTTL, nil)
		return err
	})
	if err != nil {
		return err
	}
	ours := func(ctx context.Context) (time.Duration, error) { return r.listOurs(ctx, c) }
	raw := func(ctx context.Context) (time.Duration, error) { return r.listRaw(ctx, c) }
	if err := r.inTurns(ctx, label("list"), timing(&listing.ours, ours), timing(&listing.raw, raw)); err != nil {
		return err
	}
	r.cfg.Progress(label("watch"))
	for range r.cfg.Repeats {
		err := r.measure(ctx, func(ctx context.Context) error {
			bytes, err := r.watchMemory(ctx, c)
			watching.ours = append(watching.ours, bytes)
			return err
		})
		if err != nil {
			return err
		}
	}
	return r.tidy(ctx)
}

// watchMemory gives what a watcher keeps that has told all of a crowd.
func (r *runner) watchMemory(ctx context.Context, c *crowd) (float64, error) {
	w, err := watcher.New(r.cfg.Client, watcher.Config{Prefix: c.keys.Prefix()})
	if err != nil {
		return 0, err
	}
	before := heapNow()
	told := 0
	rd, err := r.readOurs(ctx, w, watcher.Now(), func(b *watcher.Batch, _ time.Time) { told += len(b.Services) })
	if err != nil {
		return 0, err
	}
	defer rd.close()
	if told != c.n {
		return 0, fmt.Errorf("%d instances told, %d were written", told, c.n)
	}
	// The snapshot itself is the reader's, who lets go of it when he asks for the next batch; that acknowledges it.
	for w.View() == nil {
		if err := wait(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
	kept := heapNow() - before
	runtime.KeepAlive(w)
	return kept, nil
}
