package lease

import (
	"context"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Lease is one lease that a Renewer keeps alive. Its methods may be called concurrently.
//
// A lease is trusted while the answers of etcd prove that it can't have run out, with a margin. It is fenced when that proof
// is lost: its holder may no longer act, but etcd may well still have it, and renewing goes on. It is gone when etcd
// said so.
type Lease struct {
	id      clientv3.LeaseID
	renewer *Renewer
	trust   atomic.Pointer[trust] // nil: not trusted
	granted atomic.Int64          // TTL as etcd granted it, in nanoseconds
	gone    chan struct{}         // closed when etcd said that the lease is gone

	// The rest is guarded by the Renewer's mutex.
	place       place
	heapIndex   int // -1: not in the schedule
	nextSend    instant
	fence       instant // send time of the last answered renewal + granted TTL - margin
	outstanding bool    // a renewal is under way on the shared stream
	attempts    int     // failures in a row outside the shared stream
	refused     bool    // etcd refuses to renew it, and that was told
	answeredAt  instant
	stats       Stats
	period      *period
}

// Stats counts what happened to a lease.
type Stats struct {
	Renewals   int64         // answered renewals
	Fences     int64         // times that trust was lost
	LongestGap time.Duration // between two answered renewals, or since the last answer when that is longer
}

// place says who renews a lease.
type place int

const (
	shared  place = iota // on the shared stream
	alone                // on a stream of its own: fenced, or refused by etcd
	queued               // the same, and due for an attempt
	trying               // the same, and an attempt is under way
	removed              // nobody: gone, revoked or forgotten
)

// trust is what Valid needs, in one pointer, so that the answer costs no lock.
type trust struct{ fence instant }

// period is one uninterrupted time of trust.
type period struct {
	ctx context.Context
	end context.CancelCauseFunc
}

// ID gives the id of the lease in etcd. It is random, but no secret: every reader of a key bound to it sees it.
func (l *Lease) ID() clientv3.LeaseID { return l.id }

// TTL gives the TTL that etcd granted last. It may be more than was asked for.
func (l *Lease) TTL() time.Duration { return time.Duration(l.granted.Load()) }

// Valid says whether the holder may act now. It is computed from the clocks when asked, not by a timer, so that a process that
// wakes from a freeze or a suspend can't slip through.
func (l *Lease) Valid() bool { return l.left() > 0 }

// Expires says until when the holder may act: the fence, send time of the last answered renewal + TTL - margin. It gives
// the zero time while the lease is not trusted.
func (l *Lease) Expires() time.Time {
	left := l.left()
	if left <= 0 {
		return time.Time{}
	}
	return time.Now().Add(left)
}

func (l *Lease) left() time.Duration {
	t := l.trust.Load()
	if t == nil {
		return 0
	}
	return l.renewer.clock.now().until(t.fence)
}

// Trusted gives a context of this trusted period, which ends at the fence with cause ErrFenced, or with ErrGone. While the
// lease is not trusted it gives one that has ended already.
func (l *Lease) Trusted() context.Context {
	l.renewer.mu.Lock()
	defer l.renewer.mu.Unlock()
	if l.left() <= 0 {
		return endedContext(ErrFenced)
	}
	if l.period == nil {
		parent := l.renewer.ctx
		if parent == nil {
			parent = context.Background() // Run has not begun
		}
		ctx, end := context.WithCancelCause(parent) // without the Renewer nobody would end it at the fence
		l.period = &period{ctx: ctx, end: end}
	}
	return l.period.ctx
}

// Gone is closed when etcd has said that the lease is gone.
func (l *Lease) Gone() <-chan struct{} { return l.gone }

// Stats gives the counts so far.
func (l *Lease) Stats() Stats {
	l.renewer.mu.Lock()
	defer l.renewer.mu.Unlock()
	s := l.stats
	if l.place != removed {
		s.LongestGap = max(s.LongestGap, l.renewer.clock.now().mono.Sub(l.answeredAt.mono))
	}
	return s
}

// Fences counts the fences so far, with one that is passed right now though its Fenced event is still to come. A process that
// wakes from a freeze may hear first that its key is gone: by this it can tell that it was fenced before.
func (l *Lease) Fences() int64 {
	r := l.renewer
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notice(l, r.clock.now())
	return l.stats.Fences
}

// Restore makes a fenced lease trusted again. It must be called only once the holder has read back its keys, with the
// Fence number of the Answered event that made it read: that a lease was renewed proves nothing about the keys, and a read
// from before a later fence proves nothing about what came after. It reports whether the lease is trusted now.
func (l *Lease) Restore(fence int64) bool {
	r := l.renewer
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.place == removed || l.stats.Fences != fence || r.clock.now().until(l.fence) <= 0 {
		return false
	}
	l.trust.Store(&trust{fence: l.fence})
	return true
}

func endedContext(cause error) context.Context {
	ctx, end := context.WithCancelCause(context.Background())
	end(cause)
	return ctx
}

// interval gives the time between two renewals.
func interval(ttl time.Duration) time.Duration { return ttl / 4 }

// gather is how much earlier than due a renewal may go, so that it goes out together with others: a write to the network and a
// wake-up for one renewal alone cost more than the renewal.
func gather(ttl time.Duration) time.Duration { return min(interval(ttl)/100, 50*time.Millisecond) }

// margin is how long before the lease could run out its holder stops acting: it covers the drift of clocks and the time
// from the fence to the code that looks at it.
func margin(ttl time.Duration) time.Duration { return max(250*time.Millisecond, ttl/10) }

// stallLimit is how long a renewal may go unanswered before the stream counts as dead. A frozen member keeps its TCP
// connection open, so silence is the only sign.
func stallLimit(ttl time.Duration) time.Duration {
	return max(500*time.Millisecond, min(time.Second, ttl/8))
}
