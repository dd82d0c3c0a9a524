package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	// bareNap is how long the bare loop sleeps at least, so that what is due goes out together.
	bareNap = 10 * time.Millisecond
	// longNap is how long it sleeps where nothing is due.
	longNap = time.Second
)

// bareLoop is the least that keeps leases alive: all have the same interval, so a FIFO is in the order in which they are due. It
// looks at no answer but to count it, and has no plan for an etcd that does not answer.
type bareLoop struct {
	interval time.Duration
	stream   pb.Lease_LeaseKeepAliveClient
	ctx      context.Context // ends with the loop
	stop     context.CancelCauseFunc
	running  sync.WaitGroup

	mu  sync.Mutex
	due []dueLease

	answered, lapses atomic.Int64
}

type dueLease struct {
	id int64
	at time.Time
}

func (b *bareLoop) add(id int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.due = append(b.due, dueLease{id: id, at: time.Now().Add(b.interval)})
}

// next gives what is due now, puts it at the end of the queue, and says how long to sleep.
func (b *bareLoop) next(now time.Time, batch []int64) ([]int64, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for ; n < len(b.due) && !b.due[n].at.After(now); n++ {
		batch = append(batch, b.due[n].id)
	}
	for _, l := range b.due[:n] {
		b.due = append(b.due, dueLease{id: l.id, at: l.at.Add(b.interval)})
	}
	b.due = b.due[n:]
	if len(b.due) == 0 {
		return batch, longNap
	}
	return batch, min(longNap, max(bareNap, b.due[0].at.Sub(now)))
}

func (b *bareLoop) send() error {
	var batch []int64
	for {
		var nap time.Duration
		batch, nap = b.next(time.Now(), batch[:0])
		for _, id := range batch {
			if err := b.stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
				return err
			}
		}
		if err := wait(b.ctx, nap); err != nil {
			return err
		}
	}
}

func (b *bareLoop) receive() error {
	for {
		resp, err := b.stream.Recv()
		if err != nil {
			return err
		}
		if resp.TTL <= 0 {
			b.lapses.Add(1)
		}
		b.answered.Add(1)
	}
}

// startBareLoop starts a loop without leases. It must be closed.
func (r *runner) startBareLoop(ctx context.Context, interval time.Duration) (*bareLoop, error) {
	b := &bareLoop{interval: interval}
	b.ctx, b.stop = context.WithCancelCause(ctx)
	var err error
	if b.stream, err = pb.NewLeaseClient(r.cfg.Client.ActiveConnection()).LeaseKeepAlive(b.ctx); err != nil {
		b.stop(nil)
		return nil, err
	}
	for _, half := range []func() error{b.send, b.receive} {
		b.running.Go(func() {
			if err := half(); err != nil {
				b.stop(fmt.Errorf("the bare loop ended: %w", err)) // the first reason counts
			}
		})
	}
	return b, nil
}

func (b *bareLoop) close() {
	b.stop(errStopped)
	b.running.Wait()
}

// renewRaw keeps n leases alive with the bare loop. It begins with the first grant: to grant 100,000 may take longer than
// their TTL.
func (r *runner) renewRaw(ctx context.Context, n int) (m renewed, err error) {
	defer func() { err = errors.Join(err, r.tidy(ctx)) }()
	loop, err := r.startBareLoop(ctx, renewInterval)
	if err != nil {
		return m, err
	}
	defer loop.close()
	err = each(loop.ctx, n, atOnce, func(context.Context, int) error {
		resp, err := r.grant(renewTTL)
		if err == nil {
			loop.add(int64(resp.ID))
		}
		return err
	})
	if err == nil {
		m, err = r.renewing(loop.ctx, loop.answered.Load)
	}
	if err != nil && loop.ctx.Err() != nil {
		err = context.Cause(loop.ctx)
	}
	m.lapses = float64(loop.lapses.Load())
	return m, err
}
