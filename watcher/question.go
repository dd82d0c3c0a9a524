package watcher

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

const (
	// questionTimeout is how long a down waits for etcd's word on a lease. The word only names the cause: the down is true
	// without it.
	questionTimeout = time.Second
	// questionHedge is how long an answer is waited for before the same is asked once more. Calls go to the members in turn, and
	// one that is frozen must not hold up a down.
	questionHedge = 300 * time.Millisecond
	// questionsAtOnce bounds what a mass death asks of etcd at once, over all batches.
	questionsAtOnce = 32
)

// Leases is what asking about leases needs of an etcd client.
type leases interface {
	TimeToLive(ctx context.Context, id clientv3.LeaseID, opts ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error)
}

// A question is what one batch wants to know of etcd, each distinct lease once: 10,000 keys of one lease are one question.
type question struct {
	done    chan struct{} // closed when all is answered or given up
	mu      sync.Mutex
	answers map[int64]registry.Cause
}

// An inquiry asks questions without holding up the stream that they come from.
type inquiry struct {
	client leases
	places chan struct{}
	asking sync.WaitGroup
}

func newInquiry(client leases) *inquiry {
	return &inquiry{client: client, places: make(chan struct{}, questionsAtOnce)}
}

// about starts to ask about the leases that the events name; nil for none.
func (q *inquiry) about(ctx context.Context, events []Event) *question {
	var ids map[int64]bool // most batches ask nothing
	for i := range events {
		if id := events[i].lease; id != 0 {
			if ids == nil {
				ids = make(map[int64]bool)
			}
			ids[id] = true
		}
	}
	if len(ids) == 0 {
		return nil
	}
	asked := &question{done: make(chan struct{}), answers: make(map[int64]registry.Cause, len(ids))}
	q.asking.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, questionTimeout)
		defer cancel()
		defer close(asked.done)
		var all sync.WaitGroup
		for id := range ids {
			all.Go(func() { q.ask(ctx, asked, id) })
		}
		all.Wait()
	})
	return asked
}

func (q *inquiry) ask(ctx context.Context, asked *question, id int64) {
	select {
	case q.places <- struct{}{}:
		defer func() { <-q.places }()
	case <-ctx.Done():
		return
	}
	resp := q.hedged(ctx, id)
	if resp == nil {
		return
	}
	asked.mu.Lock()
	defer asked.mu.Unlock()
	asked.answers[id] = verdict(resp.TTL, resp.GrantedTTL)
}

// hedged gives the first answer to the question, which is asked a second time when it takes long; nil for none in time.
func (q *inquiry) hedged(ctx context.Context, id int64) *clientv3.LeaseTimeToLiveResponse {
	ctx, cancel := context.WithCancel(ctx)
	const tries = 2
	answers := make(chan *clientv3.LeaseTimeToLiveResponse, tries)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	ask := func() {
		resp, err := q.client.TimeToLive(ctx, clientv3.LeaseID(id))
		if err != nil {
			resp = nil
		}
		answers <- resp
	}
	asking.Go(ask)
	again := time.NewTimer(questionHedge)
	defer again.Stop()
	for open := 1; open > 0; {
		select {
		case resp := <-answers:
			if open--; resp != nil {
				return resp
			}
		case <-again.C:
			open++
			asking.Go(ask)
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// verdict says why a key went, from what etcd says of its lease right afterwards. A lease that etcd no longer has, or that
// has run out, took the key along; a lease that lives did not.
func verdict(ttl, granted int64) registry.Cause {
	if granted <= 0 || ttl <= 0 {
		return registry.CauseExpired
	}
	return registry.CauseDeleted
}

// settle writes the answers into the events. What was not answered stays unknown.
func (asked *question) settle(events []Event) {
	asked.mu.Lock()
	defer asked.mu.Unlock()
	for i := range events {
		e := &events[i]
		if cause, known := asked.answers[e.lease]; known && e.lease != 0 {
			e.because(cause, "")
			e.showCause()
			if e.suspect != nil {
				e.suspect.cause.Store(&cause)
			}
		}
	}
}

// recall writes what was learned of suspects into the events that end them.
func recall(events []Event) {
	for i := range events {
		e := &events[i]
		if e.suspect == nil || e.Cause != nil {
			continue
		}
		if cause := e.suspect.cause.Load(); cause != nil {
			e.because(*cause, "")
			e.showCause()
		}
	}
}
