package registry

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sync/errgroup"
)

// A merge reads the three families side by side, as etcd has them: sorted by name, so that no map of all is needed. T is what each key is
// made to on the way.
type merge[T any] struct {
	records, alives, admins feed[T]
	path                    func(*T) []byte // BINARY/HOST, as in the key
	group                   *errgroup.Group
	foreign                 []Warning // of keys that are of no family; complete at the end, and sorted by key
	complete                bool
}

// newMerge starts to read. Making gives, for each family, what makes keys to T; it leaves out, and warns of, those that are none of ours.
func newMerge[T any](
	ctx context.Context, group *errgroup.Group, r *reading,
	making func(Keys, Family, *[]Warning) func([]*mvccpb.KeyValue) []T, path func(*T) []byte,
) *merge[T] {
	m := &merge[T]{group: group, path: path}
	from := r.keys.Prefix()
	var between []span
	for _, f := range []struct {
		family Family
		feed   *feed[T]
	}{{FamilyAdmin, &m.admins}, {FamilyAlive, &m.alives}, {FamilyRecord, &m.records}} {
		begin := r.keys.prefix + string(f.family) + "/"
		end := r.keys.prefix + string(f.family) + "0" // what follows a slash
		between = append(between, r.span(from, begin))
		from = end
		f.feed.start(ctx, group, r, r.span(begin, end), making(r.keys, f.family, &f.feed.foreign))
	}
	between = append(between, r.span(from, r.keys.End()))
	group.Go(func() error {
		for _, s := range between {
			if err := r.read(ctx, s, func(kvs []*mvccpb.KeyValue) error {
				for _, kv := range kvs {
					if _, _, err := r.keys.Parse(kv.Key); err != nil {
						m.foreign = append(m.foreign, Warning{Key: string(kv.Key), Problem: err.Error()})
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return m
}

// next gives the keys of the next name, nil for what is not there; false at the end, which is complete or not.
func (m *merge[T]) next() (record, alive, admin *T, more bool) {
	record, alive, admin = m.records.peek(), m.alives.peek(), m.admins.peek()
	if m.records.broken || m.alives.broken || m.admins.broken {
		return nil, nil, nil, false
	}
	least := m.lesser(m.lesser(record, alive), admin)
	if least == nil {
		m.end()
		return nil, nil, nil, false
	}
	name := m.path(least)
	return m.records.take(record, m, name), m.alives.take(alive, m, name), m.admins.take(admin, m, name), true
}

// end waits for what is read beside the families.
func (m *merge[T]) end() {
	m.complete = m.group.Wait() == nil
	for _, f := range []*feed[T]{&m.records, &m.alives, &m.admins} {
		m.foreign = append(m.foreign, f.foreign...)
	}
	slices.SortFunc(m.foreign, func(a, b Warning) int { return strings.Compare(a.Key, b.Key) })
}

// lesser gives the one whose name comes first, of equal ones the first.
func (m *merge[T]) lesser(x, y *T) *T {
	if x == nil || y != nil && bytes.Compare(m.path(y), m.path(x)) < 0 {
		return y
	}
	return x
}

// A feed is the keys of one family, made to what is wanted beside whoever takes them.
type feed[T any] struct {
	chunks  chan []T
	current []T
	broken  bool
	ctx     context.Context
	foreign []Warning // to be read at the end
}

// feedChunk is how many keys are decoded before they are handed over.
const feedChunk = 256

func (f *feed[T]) start(ctx context.Context, group *errgroup.Group, r *reading, s span, convert func([]*mvccpb.KeyValue) []T) {
	f.ctx, f.chunks = ctx, make(chan []T, 2)
	group.Go(func() error {
		err := r.read(ctx, s, func(kvs []*mvccpb.KeyValue) error {
			for some := range slices.Chunk(kvs, feedChunk) {
				if err := send(ctx, f.chunks, convert(some)); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			close(f.chunks)
		}
		return err
	})
}

// peek gives the next key; nil at the end, or when it is broken.
func (f *feed[T]) peek() *T {
	for len(f.current) == 0 {
		select {
		case chunk, open := <-f.chunks:
			if !open {
				return nil
			}
			f.current = chunk
		case <-f.ctx.Done():
			f.broken = true
			return nil
		}
	}
	return &f.current[0]
}

// take gives the next key, which is known to be what peek gave, if it is of the name, and goes on.
func (f *feed[T]) take(next *T, m *merge[T], name []byte) *T {
	if next == nil || !bytes.Equal(m.path(next), name) {
		return nil
	}
	f.current = f.current[1:]
	return next
}
