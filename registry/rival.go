package registry

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// rival is the other process that holds the name, while a registration waits for its lease to run out.
type rival struct {
	incarnation int64
	lease       int64
	holder      *Holder

	term      uint64        // of the first answer: a new leader restarts every lease, which proves no renewal
	remaining time.Duration // at most, at the first answer
	at        time.Time     // when the first answer was there
}

const (
	// rivalInterval is the time between two questions about the rival's lease.
	rivalInterval = 300 * time.Millisecond
	questionLimit = 2 * time.Second
)

// leaseAnswer is what etcd said about a lease.
type leaseAnswer struct {
	asked, answered time.Time
	term            uint64
	granted         int64 // seconds; 0: there is no such lease
	remaining       int64 // seconds, truncated
}

// renewed says whether the answer proves that the lease was renewed since the first one: more is left than a lease could
// have that was left alone. The first answer is taken over as the measure.
func (v *rival) renewed(a leaseAnswer) bool {
	if v.at.IsZero() || v.term != a.term {
		v.term, v.at = a.term, a.answered
		v.remaining = time.Duration(a.remaining+1) * time.Second // truncated to whole seconds, so up to one more
		return false
	}
	// Cut towards zero: 0 may also mean a lease that ran out a moment ago and is not revoked yet.
	return a.remaining > 0 && time.Duration(a.remaining)*time.Second > v.remaining-a.asked.Sub(v.at)
}

// askLease asks etcd how long the lease still has.
func (r *Registry) askLease(ctx context.Context, id int64) (leaseAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, questionLimit)
	defer cancel()
	a := leaseAnswer{asked: time.Now()}
	resp, err := r.client.TimeToLive(ctx, clientv3.LeaseID(id))
	a.answered = time.Now()
	if err != nil {
		return a, err
	}
	a.term, a.granted, a.remaining = resp.RaftTerm, resp.GrantedTTL, resp.TTL
	return a, nil
}
