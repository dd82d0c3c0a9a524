package lease

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// Client is what the package needs of an etcd client; *clientv3.Client is one. The caller makes it and closes it.
type Client interface {
	// ActiveConnection gives the connection that raw calls go through.
	ActiveConnection() *grpc.ClientConn
}

// Config says how a Renewer works. The zero value is usable.
type Config struct {
	// OnEvent, if set, is told what happens. It is called with a lock held, one call at a time: it must not block and must
	// not call a method of the Renewer or of a Lease.
	OnEvent func(Event)
	// Boottime reads a clock that also runs while the machine is suspended. Default: CLOCK_BOOTTIME, where there is one.
	Boottime func() time.Duration
}

// Renewer keeps any number of leases alive on one stream, with a constant number of goroutines: a schedule says which lease
// is due next, and since etcd answers a stream in the order of its requests, a queue of what is under way gives each answer
// its lease and its round trip.
//
// Its methods may be called concurrently.
type Renewer struct {
	client Client
	cfg    Config
	clock  clock
	loop   *LoopingCall

	running  sync.WaitGroup // goroutines of Run
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when the stream keeper has something to look at
	schedule schedule
	count    int     // leases that are kept alive
	stream   *stream // nil while there is none
	retired  *stream // stalled, and listened to until its successor answers
	lastPass instant
	begin    time.Time // what the schedule counts from
	ready    []*Lease  // due for an attempt on a stream of their own
	rescuers int       // goroutines that make these attempts
	ctx      context.Context
}

// New prepares a Renewer; Run makes it work.
func New(client Client, cfg Config) *Renewer {
	r := &Renewer{client: client, cfg: cfg, clock: newClock(cfg.Boottime), changed: make(chan struct{}), begin: time.Now()}
	if r.cfg.OnEvent == nil {
		r.cfg.OnEvent = func(Event) {}
	}
	loop, err := NewLoopingCall(LoopConfig{Due: r.nextPass}, r.pass)
	if err != nil {
		panic(err) // the config is a constant
	}
	r.loop = loop
	return r
}

// Run renews until the context ends, waits for all its goroutines and returns the context's error. The leases are left as
// they are. A second Run returns ErrStarted.
func (r *Renewer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.mu.Lock()
	if r.ctx != nil {
		r.mu.Unlock()
		return ErrStarted
	}
	r.ctx = ctx
	r.lastPass = r.clock.now()
	r.mu.Unlock()
	r.running.Go(func() { r.keepStream(ctx) })
	err := r.loop.Run(ctx) // the streams' contexts are children of this one
	cancel()
	r.running.Wait()
	return err
}

// Grant asks etcd for a lease and keeps it alive from then on. The id is random, and tries after a lost answer ask for the
// same id, so that a grant never leaves a second lease behind. It tries until the context ends, and then takes up to 0.5 s to
// take back what it may have left; it returns etcd's error when etcd refuses, ErrInvalid for a TTL that ValidateTTL refuses.
//
// The lease counts as trusted from the sending of the first try. Bind a key to it at once: until then it is
// anybody's to attach to.
func (r *Renewer) Grant(ctx context.Context, ttl time.Duration) (*Lease, error) {
	if err := ValidateTTL(ttl); err != nil {
		return nil, err
	}
	id, err := randomID()
	if err != nil {
		return nil, err
	}
	var sent instant
	retry := newBackoff()
	for {
		attempt := r.clock.now()
		if sent.isZero() {
			sent = attempt
		}
		granted, err := r.grantOnce(ctx, id, ttl)
		if err == nil {
			return r.adopt(id, granted, sent), nil
		}
		if Judge(err) == Refused {
			return nil, fmt.Errorf("granting a lease: %w", err)
		}
		r.mu.Lock()
		r.emit(Event{Kind: GrantFailed, Err: err})
		r.mu.Unlock()
		if waitErr := retry.wait(ctx, r.client); waitErr != nil {
			r.undoGrant(ctx, id)
			return nil, fmt.Errorf("granting a lease: %w (last error: %w)", waitErr, err)
		}
	}
}

// grantTimeout bounds one try: a frozen member must not hold it for longer than a write may reasonably take.
const grantTimeout = 2 * time.Second

func (r *Renewer) grantOnce(ctx context.Context, id int64, ttl time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, grantTimeout)
	defer cancel()
	seconds := int64(ttl / time.Second)
	resp, err := pb.NewLeaseClient(r.client.ActiveConnection()).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: seconds, ID: id})
	switch err = rpctypes.Error(err); {
	case err == nil:
		return time.Duration(resp.TTL) * time.Second, nil
	case errors.Is(err, rpctypes.ErrLeaseExist):
		// An earlier try arrived and its answer was lost. What it was granted is at least what was asked for; the
		// first renewal tells.
		return ttl, nil
	default:
		return 0, err
	}
}

// undoTimeout bounds the attempt to take back what a cancelled grant may have left.
const undoTimeout = 500 * time.Millisecond

// undoGrant revokes a lease whose grant was given up, in case it was granted after all: nobody would use it, and it may have
// an hour to live.
func (r *Renewer) undoGrant(ctx context.Context, id int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_, _ = pb.NewLeaseClient(r.client.ActiveConnection()).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: id})
}

func randomID() (int64, error) {
	var b [8]byte
	for {
		if _, err := rand.Read(b[:]); err != nil {
			return 0, fmt.Errorf("no random lease id: %w", err)
		}
		if id := int64(binary.BigEndian.Uint64(b[:]) >> 1); id != 0 {
			return id, nil
		}
	}
}

// adopt takes a granted lease into the schedule.
func (r *Renewer) adopt(id int64, ttl time.Duration, sent instant) *Lease {
	l := &Lease{id: clientv3.LeaseID(id), renewer: r, gone: make(chan struct{}), heapIndex: -1}
	l.granted.Store(int64(ttl))
	r.mu.Lock()
	defer r.mu.Unlock()
	l.answeredAt = sent
	l.fence = sent.add(ttl - margin(ttl))
	l.trust.Store(&trust{fence: l.fence})
	l.nextSend = sent.add(jittered(interval(ttl), 0.5)) // spread what was granted together
	r.count++
	r.put(l, r.clock.now())
	r.signal()
	return l
}

// Drop stops renewing the lease, without a word to etcd: it runs out there by itself.
func (r *Renewer) Drop(l *Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(l, ErrStopped)
}

// Revoke stops renewing the lease and asks etcd, once, to revoke it, which deletes all keys that are bound to it. A lease
// that is gone already is no error.
func (r *Renewer) Revoke(ctx context.Context, l *Lease) error {
	r.Drop(l)
	_, err := pb.NewLeaseClient(r.client.ActiveConnection()).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: int64(l.id)})
	if err != nil && Judge(err) != Gone {
		return fmt.Errorf("revoking lease %x: %w", int64(l.id), rpctypes.Error(err))
	}
	return nil
}

// signal tells the loop and the stream keeper to look again. The caller holds the lock.
func (r *Renewer) signal() {
	close(r.changed)
	r.changed = make(chan struct{})
	r.loop.Wake()
}

func (r *Renewer) emit(e Event) {
	if e.Lease != nil {
		e.Fence = e.Lease.stats.Fences
	}
	e.Err = rpctypes.Error(e.Err) // raw calls give gRPC's form, which errors.Is does not know
	r.cfg.OnEvent(e)
}

// put gives the lease its place in the schedule: when it is to be renewed, or when its trust ends, whichever is next.
func (r *Renewer) put(l *Lease, now instant) {
	next := l.nextSend
	switch {
	case l.place == removed, (l.place == queued || l.place == trying) && l.trust.Load() == nil:
		r.schedule.remove(l)
		return
	case l.place == queued || l.place == trying:
		next = l.fence
	case l.place == alone:
		if l.trust.Load() != nil && l.fence.mono.Before(next.mono) {
			next = l.fence
		}
	case l.outstanding || r.stream == nil || l.fence.mono.Before(next.mono):
		next = l.fence
	}
	r.schedule.set(l, now.when(next).Sub(r.begin))
}

// remove takes the lease out for good.
func (r *Renewer) remove(l *Lease, cause error) {
	if l.place == removed {
		return
	}
	l.place = removed
	r.count--
	r.schedule.remove(l)
	r.distrust(l, cause)
	r.signal()
}

func (r *Renewer) distrust(l *Lease, cause error) {
	l.trust.Store(nil)
	if l.period != nil {
		l.period.end(cause)
		l.period = nil
	}
}

// lost takes over etcd's word that the lease does not exist.
func (r *Renewer) lost(l *Lease) {
	if l.place == removed {
		return
	}
	r.notice(l, r.clock.now())
	r.remove(l, ErrGone)
	close(l.gone)
	r.emit(Event{Kind: LeaseGone, Lease: l})
}

// fenced ends the trusted period. From here on the lease may be expired in etcd, and a renewal of an expired lease blocks its
// stream until the revoke is done, so it leaves the shared stream.
func (r *Renewer) fenced(l *Lease, now instant) {
	if l.trust.Load() != nil {
		l.stats.Fences++
		r.distrust(l, ErrFenced)
		r.emit(Event{Kind: Fenced, Lease: l})
	}
	if l.place == shared {
		l.place = alone
		l.nextSend = now
	}
}

// notice sees a fence that was passed before anybody looked, as in a freeze: what is heard after it comes after the fence.
func (r *Renewer) notice(l *Lease, now instant) {
	if l.trust.Load() != nil && now.until(l.fence) <= 0 {
		r.fenced(l, now)
	}
}

// renewed takes over an answer, that came now, to the renewal that was sent then.
func (r *Renewer) renewed(l *Lease, sent, now instant, ttl time.Duration) {
	if l.place == removed {
		return
	}
	if ttl <= 0 {
		r.lost(l)
		return
	}
	r.notice(l, now) // or the period would go on, though Valid has said no in between
	l.stats.Renewals++
	l.stats.LongestGap = max(l.stats.LongestGap, now.mono.Sub(l.answeredAt.mono))
	l.answeredAt = now
	l.granted.Store(int64(ttl))
	if fence := sent.add(ttl - margin(ttl)); l.fence.until(fence) >= 0 {
		l.fence = fence // a late answer of a retired stream must not take back what a later one has given
		l.nextSend = sent.add(jittered(interval(ttl), 0.1))
	}
	l.attempts, l.refused = 0, false
	if l.place != shared {
		l.place, l.outstanding = shared, false
	}
	if l.trust.Load() != nil {
		l.trust.Store(&trust{fence: l.fence})
	} else {
		r.emit(Event{Kind: Answered, Lease: l})
	}
	if now.until(l.fence) <= 0 {
		r.fenced(l, now)
	}
	r.put(l, now)
}
