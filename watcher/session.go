package watcher

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/lease"
)

const (
	// askInterval is how often etcd is asked for a sign of life: its own come every 10 minutes.
	askInterval = time.Second
	// catchUpInterval is how often while catching up, so that the end of it is told soon.
	catchUpInterval = 100 * time.Millisecond
	// minPatience and maxPatience bound how long one call may take. It grows with failures: a frozen member must be given up
	// soon, and a slow cluster must be reached at all.
	minPatience = 500 * time.Millisecond
	maxPatience = 10 * time.Second
	// minPage is the least time that one page of a list gets at first.
	minPage = time.Second
	// maxBackoff is the longest wait between two attempts; with jitter it reaches 500 ms.
	maxBackoff = 333 * time.Millisecond
)

// A session is one run of a watch: the one goroutine that talks to etcd, from a position to the end.
type session struct {
	client  *clientv3.Client
	cfg     Config
	rules   rules
	limits  limits
	queue   *queue
	inquiry *inquiry

	vigil     *vigil
	head      *View     // what the reader will have been told when it has taken all that is queued
	contact   time.Time // of the last word from etcd
	lateUntil time.Time // what comes before it was held up
	live      int64     // what is after this revision is seen as it happens
	goal      int64     // the start is complete when this revision is reached
	synced    bool
	told      int64     // the position that the reader was last told
	toldAt    time.Time // and when
	patience  time.Duration
	retries   *backoff.ExponentialBackOff
}

func newSession(w *Watcher) *session {
	retries := backoff.NewExponentialBackOff()
	retries.InitialInterval, retries.MaxInterval = 20*time.Millisecond, maxBackoff
	rules := w.rules
	rules.scratch = &scratch{}
	return &session{
		client: w.client, cfg: w.cfg, rules: rules, limits: w.limits,
		queue: newQueue(w.cfg.StaleAfter, w.limits), inquiry: newInquiry(w.leases),
		vigil: newVigil(w.cfg.Confirm), contact: time.Now(), patience: minPatience, retries: retries,
	}
}

// run talks to etcd until the context ends or nothing can be done any more, and leaves nothing running.
func (s *session) run(ctx context.Context, from Position) {
	defer s.inquiry.asking.Wait()
	if err := s.start(ctx, from); err != nil {
		s.queue.close(err)
		return
	}
	s.queue.close(s.retry(ctx, func() error { return s.follow(ctx) }, func(error) bool { return false }))
}

// start finds out where to begin.
func (s *session) start(ctx context.Context, from Position) error {
	begin := ctx
	if s.cfg.StartTimeout > 0 {
		var cancel context.CancelFunc
		begin, cancel = context.WithTimeout(ctx, s.cfg.StartTimeout)
		defer cancel()
	}
	var last error
	err := s.retry(begin, func() error {
		err := s.begin(begin, from)
		if err != nil && begin.Err() == nil {
			last = err
		}
		return err
	}, fatal)
	if err == nil || begin.Err() == nil || ctx.Err() != nil {
		return err
	}
	if last == nil {
		last = begin.Err()
	}
	return fmt.Errorf("%w within %v: %w", ErrUnreachable, s.cfg.StartTimeout, last)
}

// retry tries until it works, the context ends or the error is final. A closed client is final for everybody.
func (s *session) retry(ctx context.Context, try func() error, final func(error) bool) error {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := try()
		if err != nil && (final(err) || s.client.Ctx().Err() != nil) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(s.retries), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		s.queue.failed(err)
		s.patience = min(2*s.patience, maxPatience)
		// gRPC's own wait grows to two minutes.
		lease.Reconnect(s.client)
	}))
	return err
}

// healthy forgets past failures.
func (s *session) healthy() {
	s.patience = minPatience
	s.retries.Reset()
}

// heard notes a word from etcd, and says whether what it tells may have happened long ago: after a silence, and for a moment
// longer, since what was held up comes in a burst.
func (s *session) heard() (late bool) {
	now := time.Now()
	silence := 2 * min(askInterval, s.cfg.StaleAfter/3)
	if now.Sub(s.contact) > silence {
		s.lateUntil = now.Add(askInterval / 2)
	}
	s.contact = now
	s.vigil.word(now, silence)
	s.queue.heard()
	return now.Before(s.lateUntil)
}

// begin makes the first view.
func (s *session) begin(ctx context.Context, from Position) error {
	now, err := s.look(ctx, s.patience)
	if err != nil {
		return err
	}
	position, view := from.revision, from.view
	if view != nil {
		position = view.revision
	}
	switch {
	case position == 0:
		return s.restart(ctx, nil)
	case view != nil && view.cluster != now.ClusterId:
		return fmt.Errorf("%w: it is %x, this is %x", ErrOtherCluster, view.cluster, now.ClusterId)
	case position > now.Revision:
		return fmt.Errorf("%w: %d, the newest is %d", ErrFuture, position, now.Revision)
	case view != nil:
		s.head = view.Clone()
	default:
		l, err := s.list(ctx, position)
		if compacted(err) {
			return s.restart(ctx, err)
		}
		if err != nil {
			return err
		}
		s.head = s.rules.resumed(l)
		s.queue.put(item{silent: true, view: s.head.Clone()})
	}
	s.vigil.resume(s.head)
	s.goal, s.live = now.Revision, now.Revision // a position may be of any age
	s.heard()
	return nil
}

// restart begins anew with what is there. With a reason the reader is told to forget what it had.
func (s *session) restart(ctx context.Context, reason error) error {
	l, err := s.list(ctx, 0)
	if err != nil {
		return err
	}
	s.heard()
	if reason != nil {
		// Without a position: who resumed after it would never be told the Snapshot, and has forgotten everything.
		batch := s.batch(Reset, 0)
		batch.Cluster, batch.Reason = l.cluster, reason
		s.queue.put(item{batch: batch})
	}
	head, services, warnings := s.rules.begin(l)
	s.head, s.goal, s.live, s.synced = head, l.revision, l.revision, true
	s.vigil.resume(head)
	batch := s.batch(Snapshot, l.revision)
	batch.Services, batch.Warnings, batch.Synced = services, warnings, true
	s.queue.put(item{batch: batch, view: head.Clone()})
	return nil
}

// look asks the cluster, not one member, how far it is. It fails at once while there is no connection: a call that waited for
// one would wait as long as gRPC does between two attempts to connect, and in the end that is two minutes.
func (s *session) look(ctx context.Context, limit time.Duration) (*pb.ResponseHeader, error) {
	resp, err := s.lookAt(ctx, limit, s.rules.keys.Prefix())
	return resp.GetHeader(), err
}

// lookAt looks, and brings a key of the range that will be watched, so that missing rights show here. It also renews an auth token
// that ran out, which opening a stream does not.
func (s *session) lookAt(ctx context.Context, limit time.Duration, key string) (*pb.RangeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	resp, err := pb.NewKVClient(s.client.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte(key)})
	if err != nil {
		return nil, fmt.Errorf("asking etcd for its revision: %w", etcdError(err))
	}
	return resp, nil
}

// list reads everything at one revision; 0 is the newest.
func (s *session) list(ctx context.Context, revision int64) (*listing, error) {
	return s.rules.list(ctx, s.client, revision, max(s.patience, minPage), func() { s.heard() })
}
