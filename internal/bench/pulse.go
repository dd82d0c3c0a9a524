package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	pulseEvery = time.Second
	// pulseMisses is how many questions in a row must fail for want of a connection.
	pulseMisses = 3
	// pulseSilence is how long one may go unanswered: an etcd at its limits is slow, and that is what is measured.
	pulseSilence = 20 * time.Second
)

// watchPulse ends a measurement when etcd has gone away. What is measured would try again for ever. What it gives ends the watch.
func (r *runner) watchPulse(ctx context.Context, cancel context.CancelCauseFunc) (unwatch func()) {
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for misses := 0; wait(ctx, pulseEvery) == nil; {
			err := r.ask(ctx)
			misses++
			switch {
			case err == nil:
				misses = 0
			case ctx.Err() != nil:
				return
			case misses >= pulseMisses || status.Code(err) == codes.DeadlineExceeded:
				cancel(fmt.Errorf("etcd went away: %w", err))
				return
			}
		}
	})
	return func() {
		stop()
		watching.Wait()
	}
}

// ask asks once: the client's own Get would try again until its deadline.
func (r *runner) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pulseSilence)
	defer cancel()
	_, err := pb.NewKVClient(r.cfg.Client.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte(r.cfg.Prefix), CountOnly: true})
	if c := status.Code(err); c != codes.Unavailable && c != codes.DeadlineExceeded {
		return nil // an answer, whatever it says
	}
	return err
}
