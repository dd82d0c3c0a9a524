package registry

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/mem"
)

// txnCodec writes a request as it is, and leaves an answer as it came. It is the codec of transactions alone.
type txnCodec struct{ buffers *buffers }

func newTxnCodec() txnCodec { return txnCodec{&buffers{}} }

// Name is that of protobuf, which is what goes over the wire.
func (txnCodec) Name() string { return "proto" }

func (c txnCodec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(request)
	if !ok {
		return nil, fmt.Errorf("a transaction can't be a %T", v)
	}
	size := r.size()
	if mem.IsBelowBufferPoolingThreshold(size) {
		return mem.BufferSlice{mem.SliceBuffer(r.append(make([]byte, 0, size)))}, nil
	}
	b := c.buffers.Get(size)
	*b = r.append((*b)[:0])
	return mem.BufferSlice{mem.NewBuffer(b, c.buffers)}, nil
}

func (txnCodec) Unmarshal(data mem.BufferSlice, v any) error {
	a, ok := v.(*answer)
	if !ok {
		return fmt.Errorf("the answer to a transaction can't be a %T", v)
	}
	a.raw = data.Materialize()
	return nil
}

// buffers are used again for one request after the other. A batch is a tenth of a megabyte; gRPC's own pool would take a whole one for it,
// and zero it each time.
type buffers struct{ spare sync.Pool }

// roomStep is what sizes are rounded up to, so that one buffer does for most batches.
const roomStep = 1 << 14

// Get gives a buffer of that length, with anything in it.
func (p *buffers) Get(length int) *[]byte {
	if b, ok := p.spare.Get().(*[]byte); ok && cap(*b) >= length {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, (length+roomStep-1)/roomStep*roomStep)
	return &b
}

// Put takes back a buffer that nobody reads any more.
func (p *buffers) Put(b *[]byte) { p.spare.Put(b) }
