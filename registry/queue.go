package registry

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/lease"
)

type responseOp = pb.ResponseOp

const (
	// maxBatch is how many transactions are nested in one. etcd's default --max-txn-ops of 128 holds for the number of nested
	// ones plus the operations of the largest of them (checkTxnRequest in etcd's api/v3rpc/key.go), and none has more than 4.
	maxBatch = 120
	// maxBatchBytes keeps a batch below etcd's default --max-request-bytes of 1.5 MiB.
	maxBatchBytes = 1 << 20
	// committers is how many transactions are under way at once: while one waits for the disk the next one gathers.
	committers = 2
	// commitTimeout bounds one transaction. What did not answer by then may still be committed: that is settled by reading.
	commitTimeout = 3 * time.Second
)

// queue gathers the transactions of a process into few: what arrives while others are under way goes out together.
type queue struct {
	client Client
	mu     sync.Mutex
	items  []queued
	some   chan struct{}
}

type queued struct {
	keys nameKeys
	op   *op
}

func newQueue(client Client) *queue {
	return &queue{client: client, some: make(chan struct{}, committers)}
}

func (q *queue) submit(keys nameKeys, o *op) {
	for _, operation := range o.then {
		o.bytes += len(operation.ValueBytes())
	}
	q.mu.Lock()
	q.items = append(q.items, queued{keys: keys, op: o})
	q.mu.Unlock()
}

// flush lets the committers see what was submitted. It is called once all that is due now is submitted, so that it goes out
// together.
func (q *queue) flush() {
	q.mu.Lock()
	some := len(q.items) > 0
	q.mu.Unlock()
	if some {
		q.wake()
	}
}

func (q *queue) wake() {
	select {
	case q.some <- struct{}{}:
	default:
	}
}

// work commits batches until the context ends.
func (q *queue) work(ctx context.Context) {
	for {
		batch := q.next()
		if len(batch) == 0 {
			select {
			case <-q.some:
				continue
			case <-ctx.Done():
				return
			}
		}
		q.commit(ctx, batch)
	}
}

// next takes as much as fits one transaction. A name has one op under way at most, so no key is in a batch twice, which
// etcd would refuse.
func (q *queue) next() []queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	bytes, n := 0, 0
	for _, item := range q.items[:min(len(q.items), maxBatch)] {
		bytes += item.op.size()
		if n > 0 && bytes > maxBatchBytes {
			break
		}
		n++
	}
	batch := q.items[:n:n]
	q.items = q.items[n:]
	if len(q.items) > 0 {
		q.wake() // for the other committers
	} else {
		q.items = nil
	}
	return batch
}

// commit sends the batch as one transaction of nested ones. If etcd refuses it, each is tried alone, so that a bad one does
// not sink the rest.
func (q *queue) commit(ctx context.Context, batch []queued) {
	outcomes, err := q.send(ctx, batch)
	if err != nil && len(batch) > 1 && lease.Judge(err) != lease.Retry {
		for _, item := range batch {
			q.commit(ctx, []queued{item})
		}
		return
	}
	for i, item := range batch {
		if err != nil {
			item.op.done(outcome{}, err)
			continue
		}
		item.op.done(outcomes[i], nil)
	}
}

func (q *queue) send(ctx context.Context, batch []queued) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if len(batch) == 1 {
		item := batch[0]
		resp, err := q.client.Txn(ctx).If(item.op.compare...).Then(item.op.then...).Else(item.op.orElse...).Commit()
		if err != nil {
			return nil, err
		}
		return []outcome{item.keys.result(resp.Succeeded, resp.Header.Revision, resp.Responses)}, nil
	}
	nested := make([]clientv3.Op, len(batch))
	for i, item := range batch {
		nested[i] = clientv3.OpTxn(item.op.compare, item.op.then, item.op.orElse)
	}
	resp, err := q.client.Txn(ctx).Then(nested...).Commit()
	if err != nil {
		return nil, err
	}
	if len(resp.Responses) != len(batch) {
		return nil, fmt.Errorf("etcd answered %d of %d transactions", len(resp.Responses), len(batch))
	}
	outcomes := make([]outcome, len(batch))
	for i, item := range batch {
		one := resp.Responses[i].GetResponseTxn()
		outcomes[i] = item.keys.result(one.GetSucceeded(), resp.Header.Revision, one.GetResponses())
	}
	return outcomes, nil
}
