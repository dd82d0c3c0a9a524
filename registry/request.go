package registry

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// request makes the message of one transaction for one op or, nested, for many. It makes etcd's own messages, each kind in one
// piece: of a burst of registrations a third of the time went into what clientv3 makes of a transaction, one message after the other, and
// into collecting that again.
func request(batch []*op) *pb.TxnRequest {
	m := newMessages(batch)
	if len(batch) == 1 {
		txn := &pb.TxnRequest{}
		m.fill(txn, batch[0])
		return txn
	}
	nested := make([]txnMessage, len(batch))
	all := make([]*pb.RequestOp, len(batch))
	for i, o := range batch {
		one := &nested[i]
		m.fill(&one.txn, o)
		one.union.RequestTxn, one.op.Request = &one.txn, &one.union
		all[i] = &one.op
	}
	return &pb.TxnRequest{Success: all}
}

type txnMessage struct {
	op    pb.RequestOp
	union pb.RequestOp_RequestTxn
	txn   pb.TxnRequest
}

type compareMessage struct {
	compare pb.Compare
	union   pb.Compare_ModRevision
}

type putMessage struct {
	op    pb.RequestOp
	union pb.RequestOp_RequestPut
	put   pb.PutRequest
}

type rangeMessage struct {
	op    pb.RequestOp
	union pb.RequestOp_RequestRange
	get   pb.RangeRequest
}

type deleteMessage struct {
	op     pb.RequestOp
	union  pb.RequestOp_RequestDeleteRange
	delete pb.DeleteRangeRequest
}

// messages is as many of each as a batch needs.
type messages struct {
	compares []compareMessage
	puts     []putMessage
	ranges   []rangeMessage
	deletes  []deleteMessage
	toCheck  []*pb.Compare
	toDo     []*pb.RequestOp
}

func newMessages(batch []*op) *messages {
	compares, puts, ranges, deletes := 0, 0, 0, 0
	count := func(into *int, n int, does bool) {
		if does {
			*into += n
		}
	}
	for _, o := range batch {
		compares += len(o.compare)
		count(&puts, 1, o.record != nil)
		count(&puts, 1, o.holder != nil)
		count(&deletes, 1, o.remove)
		count(&ranges, 3, o.read)
		count(&ranges, 3, o.elseRead)
	}
	return &messages{
		compares: make([]compareMessage, compares), puts: make([]putMessage, puts), ranges: make([]rangeMessage, ranges),
		deletes: make([]deleteMessage, deletes),
		toCheck: make([]*pb.Compare, 0, compares), toDo: make([]*pb.RequestOp, 0, puts+ranges+deletes),
	}
}

// fill makes the message of one op.
func (m *messages) fill(txn *pb.TxnRequest, o *op) {
	for i := range o.compare {
		m.compare(&o.compare[i])
	}
	txn.Compare, m.toCheck = cut(m.toCheck)
	if o.record != nil {
		m.put(o.keys.record, o.record, 0)
	}
	if o.holder != nil {
		m.put(o.keys.alive, o.holder, int64(o.lease))
	}
	if o.remove {
		m.remove(o.keys.alive)
	}
	if o.read {
		m.readAll(o.keys)
	}
	txn.Success, m.toDo = cut(m.toDo)
	if o.elseRead {
		m.readAll(o.keys)
	}
	txn.Failure, m.toDo = cut(m.toDo)
}

// cut gives what is in the list, and the rest of its room for the next.
func cut[T any](list []T) (filled, rest []T) { return list[:len(list):len(list)], list[len(list):] }

func (m *messages) compare(c *comparison) {
	one := &m.compares[0]
	m.compares = m.compares[1:]
	one.union.ModRevision = c.rev
	one.compare.Key, one.compare.Target, one.compare.Result = c.key, pb.Compare_MOD, pb.Compare_EQUAL
	one.compare.TargetUnion = &one.union
	m.toCheck = append(m.toCheck, &one.compare)
}

func (m *messages) put(key, value []byte, lease int64) {
	one := &m.puts[0]
	m.puts = m.puts[1:]
	one.put.Key, one.put.Value, one.put.Lease = key, value, lease
	one.union.RequestPut, one.op.Request = &one.put, &one.union
	m.toDo = append(m.toDo, &one.op)
}

func (m *messages) remove(key []byte) {
	one := &m.deletes[0]
	m.deletes = m.deletes[1:]
	one.delete.Key = key
	one.union.RequestDeleteRange, one.op.Request = &one.delete, &one.union
	m.toDo = append(m.toDo, &one.op)
}

func (m *messages) readAll(keys nameKeys) {
	for _, key := range [...][]byte{keys.alive, keys.record, keys.admin} {
		one := &m.ranges[0]
		m.ranges = m.ranges[1:]
		one.get.Key = key
		one.union.RequestRange, one.op.Request = &one.get, &one.union
		m.toDo = append(m.toDo, &one.op)
	}
}
