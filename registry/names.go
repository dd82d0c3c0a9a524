package registry

import (
	"bytes"
	"cmp"
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sync/errgroup"
)

// NameKeys is the keys of one name as etcd has them, nothing decoded. A key that is nil is not there.
type NameKeys struct {
	Binary, Host         []byte // as Name has them
	Record, Alive, Admin *mvccpb.KeyValue
}

// ScanNames gives the keys of every name under the prefix to take, name by name, in the order of Name.Compare: all of one revision,
// which is rev, or the newest for rev <= 0. What take is given may be kept, what the pointer shows changes with the next one.
// Before the first one begin is told the header, which has the revision; an error that it returns ends the scan. The warnings
// are about keys that are none of ours, sorted by key.
func ScanNames(ctx context.Context, client Getter, keys Keys, rev int64, begin func(*pb.ResponseHeader) error, take func(*NameKeys)) ([]Warning, error) {
	r, err := newReading(ctx, client, keys, rev)
	if err != nil {
		return nil, err
	}
	if err := begin(r.header); err != nil {
		return nil, err
	}
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	group, reading := errgroup.WithContext(own)
	m := newMerge(reading, group, r, undecoded, (*rawPart).path)
	for {
		record, alive, admin, more := m.next()
		if !more {
			break
		}
		name := NameKeys{Record: record.key(), Alive: alive.key(), Admin: admin.key()}
		name.Binary, name.Host, _ = bytes.Cut(cmp.Or(record, alive, admin).tail, []byte("/"))
		take(&name)
	}
	cancel()
	if err := group.Wait(); !m.complete {
		return nil, cmp.Or(ctx.Err(), err)
	}
	return m.foreign, nil
}

// A rawPart is one key of a name.
type rawPart struct {
	tail []byte // BINARY/HOST, as in the key
	kv   *mvccpb.KeyValue
}

func (p *rawPart) path() []byte { return p.tail }

// key gives the key of a part that may not be there.
func (p *rawPart) key() *mvccpb.KeyValue {
	if p == nil {
		return nil
	}
	return p.kv
}

// undecoded makes raw parts of the keys of a family.
func undecoded(keys Keys, family Family, foreign *[]Warning) func([]*mvccpb.KeyValue) []rawPart {
	return func(kvs []*mvccpb.KeyValue) []rawPart {
		parts := make([]rawPart, 0, len(kvs))
		for _, kv := range kvs {
			tail := kv.Key[len(keys.prefix)+len(family)+1:]
			if binary, host, found := bytes.Cut(tail, []byte("/")); !found || !plainPart(binary) || !plainPart(host) {
				if _, _, err := keys.Parse(kv.Key); err != nil {
					*foreign = append(*foreign, Warning{Key: string(kv.Key), Problem: err.Error()})
					continue
				}
			}
			parts = append(parts, rawPart{tail, kv})
		}
		return parts
	}
}
