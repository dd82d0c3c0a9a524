package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// firstKeys is how many keys are asked for first: all there is of most clusters, in one simple call.
	firstKeys = 2000
	// pageKeys bounds one answer of etcd, so that a million keys never have to fit one message.
	pageKeys = 10_000
	// streamSilence is how long etcd may be silent in the middle of a stream. What did not come by then is read by pages, which
	// go to the members in turn.
	streamSilence = 2 * time.Second
)

// Getter is what reading needs of an etcd client. One that has GetStream too, as *clientv3.Client has, is asked for streams where
// there is much to read.
type Getter interface {
	Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error)
}

type streamer interface {
	GetStream(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.GetStreamChan, error)
}

// Scan gives every key under the prefix to take, in their order, as Load reads them: all of one revision, which is rev, or the
// newest for rev <= 0. The header that it returns has the revision that was read.
func Scan(ctx context.Context, client Getter, keys Keys, rev int64, take func(*mvccpb.KeyValue)) (*pb.ResponseHeader, error) {
	r, err := newReading(ctx, client, keys, rev)
	if err != nil {
		return nil, err
	}
	all := r.span(keys.Prefix(), keys.End())
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	chunks := make(chan []*mvccpb.KeyValue, 1)
	running.Go(func() {
		defer close(chunks)
		err = r.read(ctx, all, func(kvs []*mvccpb.KeyValue) error { return send(ctx, chunks, kvs) })
	})
	for kvs := range chunks {
		for _, kv := range kvs {
			take(kv)
		}
	}
	if err != nil {
		return nil, err
	}
	return r.header, nil
}

// A reading is everything under a prefix at one revision. Its methods may be called concurrently.
type reading struct {
	client Getter
	keys   Keys
	header *pb.ResponseHeader
	rows   int64              // how many rows there are, roughly
	first  []*mvccpb.KeyValue // read already
	rest   string             // where the rest begins; "": there is none
}

// newReading reads the first keys, and pins the revision.
func newReading(ctx context.Context, client Getter, keys Keys, rev int64) (*reading, error) {
	r := &reading{client: client, keys: keys}
	resp, err := client.Get(ctx, keys.Prefix(), clientv3.WithRange(keys.End()), clientv3.WithLimit(firstKeys), clientv3.WithRev(max(rev, 0)))
	if err != nil {
		return nil, r.failed(err)
	}
	if r.header = resp.Header; rev > 0 {
		r.header.Revision = rev
	}
	r.rows = resp.Count/2 + 1
	if r.first = resp.Kvs; resp.More && len(resp.Kvs) > 0 {
		r.rest = after(resp.Kvs)
	}
	return r, nil
}

func (r *reading) failed(err error) error { return fmt.Errorf("reading %s: %w", r.keys.Prefix(), err) }

// after gives the first key that can come after those.
func after(kvs []*mvccpb.KeyValue) string { return string(kvs[len(kvs)-1].Key) + "\x00" }

// A span is a range of keys: some that were read already, and then those from a key on; none for "".
type span struct {
	known     []*mvccpb.KeyValue
	from, end string
}

// span gives the part of the reading from one key to before another.
func (r *reading) span(begin, end string) span {
	s := span{end: end}
	for _, kv := range r.first {
		if key := string(kv.Key); key >= begin && key < end {
			s.known = append(s.known, kv)
		}
	}
	if r.rest != "" && r.rest < end {
		s.from = max(begin, r.rest)
	}
	return s
}

// read gives the keys of the span to take, piece by piece.
func (r *reading) read(ctx context.Context, s span, take func([]*mvccpb.KeyValue) error) error {
	if len(s.known) > 0 {
		if err := take(s.known); err != nil {
			return err
		}
	}
	if s.from == "" {
		return nil
	}
	from, err := r.stream(ctx, s.from, s.end, take)
	if err != nil || from == "" {
		return err
	}
	return r.pages(ctx, from, s.end, take)
}

// errBackwards is a stream that does not give keys in their order, or not all of them.
var errBackwards = errors.New("etcd's stream is out of order")

// stream reads a range as a stream, and says from where on it is to be read by pages: etcd before 3.7 has none, and one that ends
// too soon is no reason to begin anew. A page costs etcd a count of all keys that follow it, a piece of a stream does not.
func (r *reading) stream(ctx context.Context, from, end string, take func([]*mvccpb.KeyValue) error) (string, error) {
	client, able := r.client.(streamer)
	if !able {
		return from, nil
	}
	own, cancel := context.WithCancel(ctx)
	silence := time.AfterFunc(streamSilence, cancel)
	chunks, err := client.GetStream(own, from, clientv3.WithRange(end), clientv3.WithRev(r.header.Revision))
	if err != nil {
		cancel()
		return from, r.final(ctx, err)
	}
	defer func() {
		silence.Stop()
		cancel()
		for range chunks { // its goroutine ends when all is taken
		}
	}()
	read := int64(0)
	for chunk := range chunks {
		silence.Stop()
		if err := chunk.Err(); err != nil {
			return from, r.final(ctx, err)
		}
		if kvs := chunk.Kvs; len(kvs) > 0 {
			if string(kvs[0].Key) < from {
				return from, r.failed(errBackwards)
			}
			from = after(kvs)
			read += int64(len(kvs))
			if err := take(kvs); err != nil {
				return from, err
			}
		}
		if chunk.Header != nil { // the last one
			if chunk.More || chunk.Count != read {
				return from, r.failed(errBackwards)
			}
			return "", nil
		}
		silence.Reset(streamSilence)
	}
	return from, ctx.Err()
}

// final gives the error if no other way of reading could avoid it.
func (r *reading) final(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return r.failed(ctx.Err())
	}
	if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrPermissionDenied) {
		return r.failed(err)
	}
	return nil
}

// pages reads a range by pages.
func (r *reading) pages(ctx context.Context, from, end string, take func([]*mvccpb.KeyValue) error) error {
	for {
		resp, err := r.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageKeys), clientv3.WithRev(r.header.Revision))
		if err != nil {
			return r.failed(err)
		}
		if len(resp.Kvs) == 0 {
			return nil
		}
		if err := take(resp.Kvs); err != nil || !resp.More {
			return err
		}
		from = after(resp.Kvs)
	}
}

func send[T any](ctx context.Context, to chan<- T, what T) error {
	select {
	case to <- what:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
