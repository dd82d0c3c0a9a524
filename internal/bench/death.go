package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// detect measures how soon deaths are told that come one after the other.
func (r *runner) detect(ctx context.Context) error {
	n := min(r.cfg.N, deaths)
	r.cfg.Progress(fmt.Sprintf("detect: %d deaths", n))
	var ours, raw []float64
	err := r.measure(ctx, func(ctx context.Context) (err error) {
		// Etcd looks for what has run out twice a second: they are spread over several of these looks.
		ours, raw, err = r.die(ctx, n, 1, time.Duration(n)*10*time.Millisecond)
		return err
	})
	if err != nil {
		return err
	}
	for _, p := range []struct {
		name string
		p    float64
	}{{"p50", 50}, {"p99", 99}, {"latest", 100}} {
		row := r.row("detect", "expiry to event, "+p.name, Seconds, Less, n)
		row.OursEach, row.RawEach = []float64{Percentile(ours, p.p)}, []float64{Percentile(raw, p.p)}
	}
	return nil
}

// massDeath measures how soon all deaths are told that come at once.
func (r *runner) massDeath(ctx context.Context) error {
	n := min(r.cfg.N, massDeaths)
	row := r.row("mass-death", "last expiry to last event", Seconds, Less, n)
	for i := range r.cfg.Repeats {
		r.cfg.Progress(fmt.Sprintf("mass-death: %d deaths, %d of %d", n, i+1, r.cfg.Repeats))
		err := r.measure(ctx, func(ctx context.Context) error {
			ours, raw, err := r.die(ctx, n, deathLease, 0)
			if err != nil {
				return err
			}
			row.OursEach, row.RawEach = append(row.OursEach, slices.Max(ours)), append(row.RawEach, slices.Max(raw))
			return r.tidy(ctx)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// obituary is who was told dead, and when.
type obituary struct {
	mu   sync.Mutex
	at   []time.Time
	open int
	all  chan struct{}
}

func newObituary(n int) *obituary {
	return &obituary{at: make([]time.Time, n), open: n, all: make(chan struct{})}
}

func (o *obituary) told(name registry.Name, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, found := numberOf(name)
	if !found || i >= len(o.at) || !o.at[i].IsZero() {
		return
	}
	o.at[i] = at
	if o.open--; o.open == 0 {
		close(o.all)
	}
}

// since gives, in seconds, how much later than the expiry of its lease each was told.
func (o *obituary) since(expiry func(i int) time.Time) []float64 {
	late := make([]float64, len(o.at))
	for i, at := range o.at {
		late[i] = at.Sub(expiry(i)).Seconds()
	}
	return late
}

// die has n instances live for a last TTL, and both readers watch. Their last renewals are spread over a time. What is given is
// how much later than their expiry each was told dead, in seconds.
func (r *runner) die(ctx context.Context, n, perLease int, spread time.Duration) (ours, raw []float64, err error) {
	loop, err := r.startBareLoop(ctx, deathTTL/4)
	if err != nil {
		return nil, nil, err
	}
	defer loop.close()
	c, err := r.populate(ctx, "deaths", n, perLease, deathTTL, loop)
	if err != nil {
		return nil, nil, err
	}
	w, err := watcher.New(r.cfg.Client, watcher.Config{Prefix: c.keys.Prefix()})
	if err != nil {
		return nil, nil, err
	}
	toOurs, toRaw := newObituary(n), newObituary(n)
	first, err := r.readOurs(ctx, w, watcher.Now(), func(b *watcher.Batch, now time.Time) {
		for _, e := range b.Events {
			if e.Kind == watcher.Down {
				toOurs.told(e.Name, now)
			}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	defer first.close()
	second, err := r.readRaw(ctx, c.keys.Prefix(), 0, func(e *clientv3.Event, now time.Time) {
		if e.Type != clientv3.EventTypeDelete {
			return
		}
		if family, name, err := c.keys.Parse(e.Kv.Key); err == nil && family == registry.FamilyAlive {
			toRaw.told(name, now)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	defer second.close()
	loop.close()
	beats, err := r.lastRenewals(ctx, c, spread)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(first.await(toOurs.all), second.await(toRaw.all)); err != nil {
		return nil, nil, err
	}
	expiry := func(i int) time.Time { return beats[i/c.each].Add(c.ttl) }
	return toOurs.since(expiry), toRaw.since(expiry), nil
}

// lastRenewals renews each lease once, spread over a time, and gives when that was sent.
func (r *runner) lastRenewals(ctx context.Context, c *crowd, spread time.Duration) ([]time.Time, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewLeaseClient(r.cfg.Client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return nil, err
	}
	sent := make([]time.Time, len(c.leases))
	begin := time.Now()
	for i, id := range c.leases {
		due := time.Duration(i) * spread / time.Duration(len(c.leases))
		if early := due - time.Since(begin); early > 0 {
			if err := wait(ctx, early); err != nil {
				return nil, err
			}
		}
		sent[i] = time.Now()
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
			return nil, err
		}
	}
	for range c.leases {
		resp, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if resp.TTL <= 0 {
			return nil, fmt.Errorf("a lease ran out before its last renewal: this machine or etcd is too slow for %d instances", c.n)
		}
	}
	return sent, nil
}
