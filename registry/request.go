package registry

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// request is a TxnRequest for one op or, nested, for many, which is written as it goes over the wire: of a burst of registrations a third
// of the time went into messages that are made of it, field by field, to be written once.
type request struct{ batch []*op }

// The fields of TxnRequest and of what is in it, in etcd's rpc.proto. None needs more than a byte for its tag.
const (
	txnCompare    protowire.Number = 1
	txnSuccess    protowire.Number = 2
	txnFailure    protowire.Number = 3
	doRange       protowire.Number = 1 // of a RequestOp
	doPut         protowire.Number = 2
	doDelete      protowire.Number = 3
	doTxn         protowire.Number = 4
	compareTarget protowire.Number = 2
	compareKey    protowire.Number = 3
	compareMod    protowire.Number = 6
	targetMod                      = 2 // Compare_MOD; that the result is to be EQUAL is the default
	anyKey        protowire.Number = 1 // of a PutRequest, a RangeRequest and a DeleteRangeRequest
	putValue      protowire.Number = 2
	putLease      protowire.Number = 3
)

// size is that of the whole message.
func (r request) size() int {
	if len(r.batch) == 1 {
		return r.batch[0].bytes
	}
	n := 0
	for _, o := range r.batch {
		n += o.nested()
	}
	return n
}

// append writes the message.
func (r request) append(b []byte) []byte {
	w := writer{b}
	if len(r.batch) == 1 {
		w.txn(r.batch[0])
		return w.b
	}
	for _, o := range r.batch {
		w.open(txnSuccess, field(o.bytes))
		w.open(doTxn, o.bytes)
		w.txn(o)
	}
	return w.b
}

// field is the size of a field of that length, with its tag.
func field(length int) int { return 1 + protowire.SizeBytes(length) }

// whole is the size of a number, with its tag.
func whole(n int64) int { return 1 + protowire.SizeVarint(uint64(n)) } //nolint:gosec // as protobuf writes an int64

// nested is the size of the op in a batch.
func (o *op) nested() int { return field(field(o.bytes)) }

// size is that of the op's message: the same as is written by txn, in the same order.
func (o *op) size() int {
	n := 0
	for i := range o.compare {
		n += field(o.compare[i].size())
	}
	if o.record != nil {
		n += field(field(putSize(o.keys.record, o.record, 0)))
	}
	if o.holder != nil {
		n += field(field(putSize(o.keys.alive, o.holder, int64(o.lease))))
	}
	if o.remove {
		n += keyOps(o.keys.alive)
	}
	for _, reads := range [...]bool{o.read, o.elseRead} {
		if reads {
			n += keyOps(o.keys.alive) + keyOps(o.keys.record) + keyOps(o.keys.admin)
		}
	}
	return n
}

func (c *comparison) size() int {
	return whole(targetMod) + field(len(c.key)) + whole(c.rev)
}

func putSize(key, value []byte, lease int64) int {
	n := field(len(key))
	if len(value) > 0 {
		n += field(len(value))
	}
	if lease != 0 {
		n += whole(lease)
	}
	return n
}

// keyOps is the size of an operation that needs just the key.
func keyOps(key []byte) int { return field(field(field(len(key)))) }

// writer writes protobuf.
type writer struct{ b []byte }

// open begins a field of that length.
func (w *writer) open(number protowire.Number, length int) {
	w.b = protowire.AppendVarint(protowire.AppendTag(w.b, number, protowire.BytesType), uint64(length)) //nolint:gosec // never negative
}

func (w *writer) bytes(number protowire.Number, value []byte) {
	w.b = protowire.AppendBytes(protowire.AppendTag(w.b, number, protowire.BytesType), value)
}

func (w *writer) number(number protowire.Number, n int64) {
	w.b = protowire.AppendVarint(protowire.AppendTag(w.b, number, protowire.VarintType), uint64(n)) //nolint:gosec // as protobuf writes an int64
}

// txn writes the message of one op.
func (w *writer) txn(o *op) {
	for i := range o.compare {
		c := &o.compare[i]
		w.open(txnCompare, c.size())
		w.number(compareTarget, targetMod)
		w.bytes(compareKey, c.key)
		w.number(compareMod, c.rev) // also 0: it is one of several that may be compared with
	}
	if o.record != nil {
		w.put(o.keys.record, o.record, 0)
	}
	if o.holder != nil {
		w.put(o.keys.alive, o.holder, int64(o.lease))
	}
	if o.remove {
		w.key(txnSuccess, doDelete, o.keys.alive)
	}
	if o.read {
		w.readAll(txnSuccess, o.keys)
	}
	if o.elseRead {
		w.readAll(txnFailure, o.keys)
	}
}

func (w *writer) put(key, value []byte, lease int64) {
	size := putSize(key, value, lease)
	w.open(txnSuccess, field(size))
	w.open(doPut, size)
	w.bytes(anyKey, key)
	if len(value) > 0 {
		w.bytes(putValue, value)
	}
	if lease != 0 {
		w.number(putLease, lease)
	}
}

func (w *writer) readAll(when protowire.Number, keys nameKeys) {
	w.key(when, doRange, keys.alive)
	w.key(when, doRange, keys.record)
	w.key(when, doRange, keys.admin)
}

// key writes an operation that needs just the key.
func (w *writer) key(when, does protowire.Number, key []byte) {
	w.open(when, field(field(len(key))))
	w.open(does, field(len(key)))
	w.bytes(anyKey, key)
}
