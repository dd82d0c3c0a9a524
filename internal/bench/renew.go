package bench

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hbctl/hbctl/lease"
)

// renewInterval is how often a lease is renewed, by either side.
const renewInterval = renewTTL / 4

// renewWindow is how long the renewals are measured: whole intervals, so that every lease is renewed as often, unless less than one
// is wanted.
func renewWindow(d time.Duration) time.Duration {
	if d < renewInterval {
		return d
	}
	return (d / renewInterval) * renewInterval
}

// renew measures what it takes to keep n leases alive.
func (r *runner) renew(ctx context.Context) error {
	n := r.cfg.N
	rows := renewRows{
		own:    r.row("renew", "CPU of the process that renews", Percent, Less, n),
		server: r.row("renew", "CPU of etcd meanwhile", Percent, Less, n),
		rate:   r.row("renew", "renewals", PerSecond, Neither, n),
		lapses: r.row("renew", "lapses", Count, Less, n),
	}
	return r.inTurns(ctx, "renew", func(ctx context.Context) error {
		m, err := r.renewOurs(ctx, n)
		if err == nil {
			rows.add(m, true)
		}
		return err
	}, func(ctx context.Context) error {
		m, err := r.renewRaw(ctx, n)
		if err == nil {
			rows.add(m, false)
		}
		return err
	})
}

type renewRows struct{ own, server, rate, lapses *Result }

func (rows renewRows) add(m renewed, ours bool) {
	for row, figure := range map[*Result]float64{rows.own: m.own, rows.server: m.server, rows.rate: m.rate, rows.lapses: m.lapses} {
		if math.IsNaN(figure) { // not known
			continue
		}
		if ours {
			row.OursEach = append(row.OursEach, figure)
		} else {
			row.RawEach = append(row.RawEach, figure)
		}
	}
}

// renewed is what renewing took.
type renewed struct {
	own, server float64 // percent of a core
	rate        float64 // renewals a second
	lapses      float64 // leases that were lost, or not trusted for a time
}

// renewing measures while renewals go on; counted tells how many have been answered.
func (r *runner) renewing(ctx context.Context, counted func() int64) (m renewed, err error) {
	// Not from the start: what was granted together is renewed for the first time only after a while.
	window := renewWindow(r.cfg.Duration)
	if err := wait(ctx, min(window, renewInterval)); err != nil {
		return m, err
	}
	before, meter := counted(), r.startMeter()
	if err := wait(ctx, window); err != nil {
		return m, err
	}
	var took time.Duration
	took, m.own, m.server = meter.read()
	m.rate = float64(counted()-before) / took.Seconds()
	return m, nil
}

func (r *runner) renewOurs(ctx context.Context, n int) (m renewed, err error) {
	var lapses atomic.Int64
	renewer := lease.New(r.cfg.Client, lease.Config{OnEvent: func(e lease.Event) {
		if e.Kind == lease.Fenced || e.Kind == lease.LeaseGone {
			lapses.Add(1)
		}
	}})
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var loop sync.WaitGroup
	loop.Go(func() { _ = renewer.Run(running) }) // ends with the context's error
	leases := make([]*lease.Lease, n)
	defer func() {
		err = errors.Join(err, r.revokeOurs(ctx, renewer, leases))
		stop()
		loop.Wait()
	}()
	err = each(ctx, n, atOnce, func(_ context.Context, i int) (err error) {
		leases[i], err = renewer.Grant(r.writing, renewTTL)
		return err
	})
	if err != nil {
		return m, err
	}
	m, err = r.renewing(ctx, func() (answered int64) {
		for _, l := range leases {
			answered += l.Stats().Renewals
		}
		return answered
	})
	m.lapses = float64(lapses.Load())
	return m, err
}

// revokeOurs revokes what was granted, also when the context has ended.
func (r *runner) revokeOurs(ctx context.Context, renewer *lease.Renewer, leases []*lease.Lease) error {
	ctx, cancel := r.cleaning(ctx)
	defer cancel()
	return each(ctx, len(leases), atOnce, func(ctx context.Context, i int) error {
		if leases[i] == nil {
			return nil
		}
		return renewer.Revoke(ctx, leases[i])
	})
}
