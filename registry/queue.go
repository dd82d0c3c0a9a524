package registry

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hbctl/hbctl/lease"
)

const (
	// maxBatch is how many transactions are nested in one. etcd's default --max-txn-ops of 128 holds for the number of nested
	// ones plus the operations of the largest of them (checkTxnRequest in etcd's api/v3rpc/key.go), and none has more than 4.
	maxBatch = 120
	// maxBatchBytes keeps a batch below etcd's default --max-request-bytes of 1.5 MiB.
	maxBatchBytes = 1 << 20
	// committers is how many transactions are under way at once, beside what is committed by whoever got a lease, see help: while one
	// waits for the disk the next one gathers. More of them bring no more.
	committers = 2
	// commitTimeout bounds one transaction. What did not answer by then may still be committed: that is settled by reading.
	commitTimeout = 3 * time.Second
)

// queue gathers the transactions of a process into few: what arrives while others are under way goes out together.
type queue struct {
	conn     grpc.ClientConnInterface
	options  []grpc.CallOption
	answered func([]*op) // is given ops that have their outcome
	mu       sync.Mutex
	items    []*op // those before head are gone
	head     int
	some     chan struct{}
}

func newQueue(conn grpc.ClientConnInterface, answered func([]*op)) *queue {
	return &queue{
		conn: conn, answered: answered, some: make(chan struct{}, committers),
		options: []grpc.CallOption{
			grpc.ForceCodecV2(newTxnCodec()),
			grpc.MaxCallRecvMsgSize(math.MaxInt32), // what is read may be larger than the 4 MiB that gRPC takes by itself
		},
	}
}

func (q *queue) submit(o *op) {
	o.bytes = o.size()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == cap(q.items) && q.head > len(q.items)/2 { // or one that is never empty would grow for ever
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, o)
}

// flush lets the committers see what was submitted. It is called once all that is due now is submitted, so that it goes out
// together.
func (q *queue) flush() {
	q.mu.Lock()
	some := len(q.items) > q.head
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

// help commits one batch, if there is one that nobody has taken yet, and lets the committers see to the rest and to what comes
// of it.
func (q *queue) help(ctx context.Context) {
	if batch := q.next(); len(batch) > 0 {
		q.commit(ctx, batch)
	}
	q.flush()
}

// next takes as much as fits one transaction. A name has one op under way at most, so no key is in a batch twice, which
// etcd would refuse.
func (q *queue) next() []*op {
	q.mu.Lock()
	defer q.mu.Unlock()
	bytes, n := 0, 0
	waiting := q.items[q.head:]
	for _, o := range waiting[:min(len(waiting), maxBatch)] {
		bytes += o.nested()
		if n > 0 && bytes > maxBatchBytes {
			break
		}
		n++
	}
	batch := slices.Clone(waiting[:n])
	clear(waiting[:n])
	q.head += n
	switch {
	case q.head < len(q.items):
		q.wake() // for the other committers
	case cap(q.items) > mostSpare:
		q.items, q.head = nil, 0
	default:
		q.items, q.head = q.items[:0], 0
	}
	return batch
}

// commit sends the batch as one transaction of nested ones. If etcd refuses it, it is tried in parts, so that a bad one does
// not sink the rest.
func (q *queue) commit(ctx context.Context, batch []*op) {
	err := q.send(ctx, batch)
	if parts := divide(batch, err); len(parts) > 1 {
		for _, part := range parts {
			q.commit(ctx, part)
			q.flush() // what comes of it need not wait for the other parts
		}
		return
	}
	for _, o := range batch {
		o.err = err
	}
	q.answered(batch)
}

// divide gives the parts of a batch that are tried for themselves after the error; one means that the error is everybody's. That a
// lease is gone is true for all that is put under it: to try each would cost as many transactions as the return of all.
func divide(batch []*op, err error) [][]*op {
	if err == nil || lease.Judge(err) == lease.Retry {
		return [][]*op{batch}
	}
	parts := make(map[clientv3.LeaseID][]*op)
	var order []clientv3.LeaseID
	for _, o := range batch {
		if parts[o.lease] == nil {
			order = append(order, o.lease)
		}
		parts[o.lease] = append(parts[o.lease], o)
	}
	var divided [][]*op
	if byLease := len(order) > 1 || order[0] != clientv3.NoLease; byLease && lease.Judge(err) == lease.Gone {
		for _, id := range order {
			divided = append(divided, parts[id])
		}
		return divided
	}
	for i := range batch {
		divided = append(divided, batch[i:i+1:i+1])
	}
	return divided
}

// send carries out the batch, and gives each op its outcome.
func (q *queue) send(ctx context.Context, batch []*op) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	a := &answer{}
	if err := q.conn.Invoke(ctx, pb.KV_Txn_FullMethodName, request{batch}, a, q.options...); err != nil {
		return clientv3.ContextError(ctx, err)
	}
	return a.outcomes(batch)
}
