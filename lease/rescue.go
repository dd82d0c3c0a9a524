package lease

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// startRescuers starts as many goroutines as there are leases to be tried outside the shared stream, up to the limit. The
// caller holds the lock.
func (r *Renewer) startRescuers() {
	for wanted := min(len(r.ready), maxRescuers); r.rescuers < wanted; r.rescuers++ {
		r.running.Go(func() { r.rescue(r.ctx) })
	}
}

// rescue tries leases, one after the other, on a stream of its own, until none is ready. The stream is kept while it
// answers: with password authentication each new one costs etcd a password hash.
func (r *Renewer) rescue(ctx context.Context) {
	var s *stream
	defer func() {
		if s != nil {
			s.cancel()
		}
	}()
	for {
		l := r.nextReady(ctx)
		if l == nil {
			return
		}
		var err error
		if s == nil {
			s, err = r.openOnce(ctx)
		}
		var ttl time.Duration
		sent := r.clock.now()
		if err == nil {
			ttl, err = attempt(s, l)
		}
		if err != nil && s != nil {
			s.cancel()
			s = nil
		}
		r.finishAttempt(l, sent, ttl, err)
	}
}

// nextReady takes the next lease to try, or ends the goroutine's place among the rescuers.
func (r *Renewer) nextReady(ctx context.Context) *Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ready) > 0 && ctx.Err() == nil {
		l := r.ready[0]
		r.ready = r.ready[1:]
		if l.place == queued {
			l.place = trying
			return l
		}
	}
	r.rescuers--
	return nil
}

// attempt makes one renewal with a deadline: a renewal of a lease that expired is answered only after its revoke.
func attempt(s *stream, l *Lease) (time.Duration, error) {
	timer := time.AfterFunc(stallLimit(l.TTL()), s.cancel)
	defer timer.Stop()
	if err := s.rpc.Send(&pb.LeaseKeepAliveRequest{ID: int64(l.id)}); err != nil {
		if _, recvErr := s.rpc.Recv(); recvErr != nil {
			err = recvErr // the reason of a failed send is on the receiving side
		}
		return 0, err
	}
	resp, err := s.rpc.Recv()
	if err != nil {
		return 0, err
	}
	if resp.ID != int64(l.id) {
		return 0, fmt.Errorf("answer for lease %x instead of %x", resp.ID, int64(l.id))
	}
	return time.Duration(resp.TTL) * time.Second, nil
}

// finishAttempt takes over the outcome: back on the shared stream, gone, or another try later.
func (r *Renewer) finishAttempt(l *Lease, sent instant, ttl time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.loop.Wake()
	if l.place != trying {
		return
	}
	if err == nil {
		r.renewed(l, sent, r.clock.now(), ttl)
		return
	}
	if Judge(err) == Gone {
		r.lost(l)
		return
	}
	if Judge(err) == Refused {
		r.refuse(l, err)
	} else {
		Reconnect(r.client)
	}
	l.place = alone
	l.attempts++
	now := r.clock.now()
	l.nextSend = now.add(attemptDelay(l.attempts))
	r.put(l, now)
}

// attemptDelay grows from firstWait to maxWait with the failures in a row, with jitter.
func attemptDelay(failures int) time.Duration {
	d := firstWait << min(failures-1, 10)
	return jittered(min(d, maxWait), 0.5)
}
