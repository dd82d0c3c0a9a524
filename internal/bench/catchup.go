package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/watcher"
)

// catchup measures how long a reader needs that is n events behind. Half as many instances are there, so as many keys as events.
func (r *runner) catchup(ctx context.Context) error {
	n := r.cfg.N
	row := r.row("catchup", "from n events behind to now", Seconds, Less, n)
	var b *behind
	r.cfg.Progress(fmt.Sprintf("catchup: writing %d events", n))
	err := r.measure(ctx, func(ctx context.Context) (err error) {
		b, err = r.fallBehind(ctx, n)
		return err
	})
	if err != nil {
		return err
	}
	return r.inTurns(ctx, "catchup", timing(&row.OursEach, b.ours), timing(&row.RawEach, b.raw))
}

// behind is a reader's position, and how much has happened since.
type behind struct {
	r      *runner
	feed   *feed
	view   *watcher.View
	events int
}

func (r *runner) fallBehind(ctx context.Context, n int) (*behind, error) {
	f, err := r.newFeed(ctx, max(1, n/2))
	if err != nil {
		return nil, err
	}
	w, err := f.watcher()
	if err != nil {
		return nil, err
	}
	b := &behind{r: r, feed: f, events: n}
	for _, err := range w.Watch(ctx, watcher.Now()) {
		if err != nil {
			return nil, err
		}
		if b.view = w.View(); b.view != nil { // the snapshot has been acknowledged
			break
		}
		// Asking for the next batch acknowledges the snapshot; something must happen, or it would not come.
		if _, _, err := f.put(0); err != nil {
			return nil, err
		}
		b.events++
	}
	if b.view == nil {
		return nil, context.Cause(ctx)
	}
	writers := min(f.n, atOnce)
	return b, each(ctx, writers, writers, func(ctx context.Context, writer int) error {
		names := (f.n - writer + writers - 1) / writers
		events := (n - writer + writers - 1) / writers
		for turn := range events {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, _, err := f.put(writer + turn%names*writers); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *feed) watcher() (*watcher.Watcher, error) {
	return watcher.New(f.r.cfg.Client, watcher.Config{Prefix: f.keys.Prefix()})
}

func (b *behind) ours(ctx context.Context) (time.Duration, error) {
	w, err := b.feed.watcher()
	if err != nil {
		return 0, err
	}
	told := make(map[string]bool)
	start := time.Now()
	rd, err := b.r.readOurs(ctx, w, watcher.From(b.view), func(batch *watcher.Batch, _ time.Time) {
		for _, e := range batch.Events {
			told[e.Name.Host] = true
		}
	})
	took := time.Since(start)
	if err != nil {
		return took, err
	}
	rd.close()
	if want := b.changed(); len(told) != want {
		return took, fmt.Errorf("%d instances were told to have changed, %d did", len(told), want)
	}
	return took, nil
}

// changed counts the instances whose record says something else than the view has: what a feed puts never is what was there
// before the first put.
func (b *behind) changed() int { return min(b.feed.n, b.events) }

func (b *behind) raw(ctx context.Context) (time.Duration, error) {
	var seen atomic.Int64
	all := make(chan struct{})
	start := time.Now()
	rd, err := b.r.readRaw(ctx, b.feed.keys.Prefix(), b.view.Revision()+1, func(*clientv3.Event, time.Time) {
		if seen.Add(1) == int64(b.events) {
			close(all)
		}
	})
	if err != nil {
		return 0, err
	}
	defer rd.close()
	err = rd.await(all)
	return time.Since(start), err
}
