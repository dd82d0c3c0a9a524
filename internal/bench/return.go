package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// comeBack measures how soon all are there again that lost their leases at once.
func (r *runner) comeBack(ctx context.Context) error {
	n := min(r.cfg.N, massDeaths)
	took := r.row("return", "first revoke to all listed again", Seconds, Less, n)
	wave := r.row("return", "that go down once more, within a TTL", Count, Less, n)
	return r.inTurns(ctx, "return", func(ctx context.Context) error {
		t, again, err := r.returnOurs(ctx, n)
		if err != nil {
			return err
		}
		took.OursEach, wave.OursEach = append(took.OursEach, t.Seconds()), append(wave.OursEach, float64(again))
		return nil
	}, timing(&took.RawEach, func(ctx context.Context) (time.Duration, error) { return r.returnRaw(ctx, n) }))
}

// returns follows the alive keys of n instances: each goes, and comes back.
type returns struct {
	keys registry.Keys

	mu      sync.Mutex
	died    []bool
	back    []bool
	missing int
	again   int // deletions after that
	all     chan struct{}
}

func newReturns(keys registry.Keys, n int) *returns {
	return &returns{keys: keys, died: make([]bool, n), back: make([]bool, n), missing: n, all: make(chan struct{})}
}

func (s *returns) take(e *clientv3.Event, _ time.Time) {
	family, name, err := s.keys.Parse(e.Kv.Key)
	i, ours := numberOf(name)
	if err != nil || !ours || family != registry.FamilyAlive || i >= len(s.died) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.Type == clientv3.EventTypeDelete && s.back[i]:
		s.again++
	case e.Type == clientv3.EventTypeDelete:
		s.died[i] = true
	case s.died[i] && !s.back[i]:
		s.back[i] = true
		if s.missing--; s.missing == 0 {
			close(s.all)
		}
	}
}

func (r *runner) returnOurs(ctx context.Context, n int) (took time.Duration, again int, err error) {
	keys, err := r.part("return")
	if err != nil {
		return 0, 0, err
	}
	// As many processes, on one connection.
	regs := make([]*registry.Registry, (n+deathLease-1)/deathLease)
	defer func() {
		err = errors.Join(err, each(context.WithoutCancel(ctx), len(regs), len(regs), func(_ context.Context, i int) error {
			if regs[i] == nil {
				return nil
			}
			return r.closeRegistry(ctx, regs[i])
		}), r.tidy(ctx))
	}()
	for i := range regs {
		if regs[i], err = registry.New(r.cfg.Client, registry.Config{Prefix: keys.Prefix(), ReportInterval: -1}); err != nil {
			return 0, 0, err
		}
	}
	held := make([]*registry.Registration, n)
	err = each(ctx, n, registering, func(_ context.Context, i int) (err error) {
		in := instance(i)
		in.TTL = registry.DefaultTTL
		held[i], err = regs[i/deathLease].Register(ctx, in)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	leases := make(map[clientv3.LeaseID]bool)
	for _, g := range held {
		leases[clientv3.LeaseID(g.Status().Lease)] = true
	}
	seen := newReturns(keys, n)
	rd, err := r.readRaw(ctx, keys.Prefix(), 0, seen.take)
	if err != nil {
		return 0, 0, err
	}
	defer rd.close()
	start := time.Now()
	if err := r.revokeThese(ctx, leases); err != nil {
		return 0, 0, err
	}
	if err := rd.await(seen.all); err != nil {
		return 0, 0, err
	}
	if err := r.listedUp(ctx, keys, n); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	err = wait(ctx, registry.DefaultTTL+time.Second)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	return took, seen.again, err
}

func (r *runner) revokeThese(ctx context.Context, leases map[clientv3.LeaseID]bool) error {
	ids := make([]clientv3.LeaseID, 0, len(leases))
	for id := range leases {
		ids = append(ids, id)
	}
	return each(ctx, len(ids), atOnce, func(ctx context.Context, i int) error {
		_, err := r.cfg.Client.Revoke(ctx, ids[i])
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			// Its instances have come back already, on a lease that is none of these, and would be waited for in vain.
			return fmt.Errorf("a lease ran out before it was to be revoked: etcd or this machine is too slow for %d leases at once", len(ids))
		}
		return err
	})
}

func (r *runner) listedUp(ctx context.Context, keys registry.Keys, n int) error {
	snap, err := registry.List(ctx, r.cfg.Client, registry.ListOptions{Prefix: keys.Prefix()})
	if err != nil {
		return err
	}
	up := 0
	for i := range snap.Services {
		if snap.Services[i].State == registry.Up {
			up++
		}
	}
	if up != n {
		return fmt.Errorf("%d instances are up after all were seen to come back, %d were registered", up, n)
	}
	return nil
}

// returnRaw does the same with the plain client, which knows at once that the leases are gone. Nobody renews these, so they
// have a long TTL.
func (r *runner) returnRaw(ctx context.Context, n int) (took time.Duration, err error) {
	defer func() { err = errors.Join(err, r.tidy(ctx)) }()
	c, err := r.populate(ctx, "return", n, deathLease, crowdTTL, nil)
	if err != nil {
		return 0, err
	}
	leases := make(map[clientv3.LeaseID]bool)
	for _, id := range c.leases {
		leases[id] = true
	}
	start := time.Now()
	if err := r.revokeThese(ctx, leases); err != nil {
		return 0, err
	}
	err = each(ctx, len(c.leases), atOnce, func(_ context.Context, i int) error {
		resp, err := r.grant(crowdTTL)
		if err != nil {
			return err
		}
		c.leases[i] = resp.ID
		return nil
	})
	if err != nil {
		return 0, err
	}
	err = each(ctx, n, atOnce, func(_ context.Context, i int) error {
		two, err := puts(c.keys, i, c.leases[i/deathLease])
		if err != nil {
			return err
		}
		for _, op := range two {
			if _, err := r.cfg.Client.Do(r.writing, op); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if _, err := r.cfg.Client.Get(ctx, c.keys.Prefix(), clientv3.WithPrefix()); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}
