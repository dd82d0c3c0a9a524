package lease

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Every retry waits at most maxWait: gRPC's own backoff grows to two minutes, and a service that comes back that late after
// an outage has lost a lease that etcd had kept for it.
const (
	firstWait = 20 * time.Millisecond
	maxWait   = 500 * time.Millisecond
)

// retryWait gives growing, jittered waits, and makes the connection try again at once after each.
type retryWait struct{ next *backoff.ExponentialBackOff }

func newBackoff() *retryWait {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = firstWait, maxWait
	b.RandomizationFactor, b.Multiplier = 0.5, 2
	b.Reset()
	return &retryWait{next: b}
}

// delay gives the next wait, never above maxWait.
func (w *retryWait) delay() time.Duration { return min(w.next.NextBackOff(), maxWait) }

func (w *retryWait) reset() { w.next.Reset() }

// wait sleeps and then ends gRPC's own waits. It returns the context's error.
func (w *retryWait) wait(ctx context.Context, client Client) error {
	if !sleep(ctx, w.delay()) {
		return ctx.Err()
	}
	Reconnect(client)
	return nil
}
