package registry

import (
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// answer is a TxnResponse, of which no more is decoded than is asked for: that a put was done says nothing, and to make messages of it
// was a third of all the garbage that a burst of registrations made.
type answer struct{ message }

// message is a TxnResponse as it came, and what has been found in it.
type message struct {
	raw       []byte
	revision  int64
	succeeded bool
	responses [][]byte // nested TxnResponses
	reads     bool     // something was read
}

// The fields of TxnResponse, ResponseHeader and ResponseOp in etcd's rpc.proto.
const (
	txnHeader      protowire.Number = 1
	txnSucceeded   protowire.Number = 2
	txnResponses   protowire.Number = 3
	headerRevision protowire.Number = 3
	opRange        protowire.Number = 1
	opTxn          protowire.Number = 4
)

var errAnswer = errors.New("etcd's answer to a transaction can't be read")

// find looks into the message. Nested is how many responses are expected to be transactions.
func (m *message) find(nested int) error {
	if nested > 0 {
		m.responses = make([][]byte, 0, nested)
	}
	return eachField(m.raw, func(field protowire.Number, number uint64, bytes []byte) error {
		switch field {
		case txnSucceeded:
			m.succeeded = number != 0
		case txnHeader:
			return eachField(bytes, func(field protowire.Number, number uint64, _ []byte) error {
				if field == headerRevision {
					m.revision = int64(number) //nolint:gosec // as protobuf writes an int64
				}
				return nil
			})
		case txnResponses:
			return eachField(bytes, func(field protowire.Number, _ uint64, bytes []byte) error {
				switch field {
				case opTxn:
					m.responses = append(m.responses, bytes)
				case opRange:
					m.reads = true
				}
				return nil
			})
		}
		return nil
	})
}

// eachField gives the fields of a message: of a varint the number, of what has a length the bytes.
func eachField(raw []byte, do func(field protowire.Number, number uint64, bytes []byte) error) error {
	for len(raw) > 0 {
		field, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return fmt.Errorf("%w: %w", errAnswer, protowire.ParseError(n))
		}
		raw = raw[n:]
		var number uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(raw)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(raw)
		default:
			n = protowire.ConsumeFieldValue(field, kind, raw)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errAnswer, protowire.ParseError(n))
		}
		raw = raw[n:]
		if err := do(field, number, bytes); err != nil {
			return err
		}
	}
	return nil
}

// outcomes gives each op of the batch its outcome.
func (a *answer) outcomes(batch []*op) error {
	if len(batch) == 1 {
		if err := a.find(0); err != nil {
			return err
		}
		return a.outcome(batch[0], a.revision)
	}
	if err := a.find(len(batch)); err != nil {
		return err
	}
	if len(a.responses) != len(batch) {
		return fmt.Errorf("etcd answered %d of %d transactions", len(a.responses), len(batch))
	}
	for i, o := range batch {
		one := message{raw: a.responses[i]}
		if err := one.find(0); err != nil {
			return err
		}
		if err := one.outcome(o, a.revision); err != nil {
			return err
		}
	}
	return nil
}

// outcome gives the op its outcome. Only what was read is decoded.
func (m *message) outcome(o *op, revision int64) error {
	if !m.reads {
		o.outcome = outcome{applied: m.succeeded, revision: revision}
		return nil
	}
	full := &pb.TxnResponse{}
	if err := proto.Unmarshal(m.raw, full); err != nil {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	o.outcome = o.keys.result(m.succeeded, revision, full.Responses)
	return nil
}
