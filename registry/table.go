package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Table is everything under the prefix at one revision, by name.
type Table struct {
	Cluster  uint64 // id of the etcd cluster
	Revision int64
	RaftTerm uint64 // of the member that answered; a new term restarts every lease
	Entries  map[Name]*Entry
	Foreign  []Warning // keys under the prefix that are none of ours
}

// Getter is what reading needs of an etcd client.
type Getter interface {
	Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error)
}

// pageKeys bounds one answer of etcd, so that a million keys never have to fit one message.
const pageKeys = 10_000

// Load reads everything under the prefix at one revision: rev, or the newest for rev <= 0. It returns what etcd answers, as
// rpctypes.ErrCompacted for a revision whose history is gone.
func Load(ctx context.Context, client Getter, keys Keys, rev int64) (*Table, error) {
	t := &Table{Entries: make(map[Name]*Entry)}
	at, err := Scan(ctx, client, keys, rev, func(kv *mvccpb.KeyValue) { t.put(keys, kv) })
	if err != nil {
		return nil, err
	}
	t.Cluster, t.Revision, t.RaftTerm = at.ClusterId, at.Revision, at.RaftTerm
	return t, nil
}

// Scan gives every key under the prefix to take, in their order, as Load reads them. All pages are read at the revision of the
// first; the header that it returns is that one's, with the revision that was read.
func Scan(ctx context.Context, client Getter, keys Keys, rev int64, take func(*mvccpb.KeyValue)) (*pb.ResponseHeader, error) {
	var first *pb.ResponseHeader
	for from := keys.Prefix(); ; {
		resp, err := client.Get(ctx, from, clientv3.WithRange(keys.End()), clientv3.WithLimit(pageKeys), clientv3.WithRev(max(rev, 0)))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", keys.Prefix(), err)
		}
		if first == nil {
			first = resp.Header
			if rev <= 0 {
				rev = first.Revision
			}
			first.Revision = rev
		}
		for _, kv := range resp.Kvs {
			take(kv)
		}
		if !resp.More || len(resp.Kvs) == 0 {
			return first, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

func (t *Table) put(keys Keys, kv *mvccpb.KeyValue) {
	family, name, err := keys.Parse(kv.Key)
	if err != nil {
		t.Foreign = append(t.Foreign, Warning{Key: string(kv.Key), Problem: err.Error()})
		return
	}
	e := t.Entries[name]
	if e == nil {
		e = &Entry{Name: name}
		t.Entries[name] = e
	}
	e.Put(family, kv)
}

// Names gives the names of all entries, sorted by the bytes of BINARY/HOST.
func (t *Table) Names() []Name {
	return slices.SortedFunc(maps.Keys(t.Entries), Name.Compare)
}
