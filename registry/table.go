package registry

import (
	"context"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Table is everything under the prefix at one revision, by name.
type Table struct {
	Cluster  uint64 // id of the etcd cluster
	Revision int64
	RaftTerm uint64 // of the member that answered; a new term restarts every lease
	Entries  map[Name]*Entry
	Foreign  []Warning // keys under the prefix that are none of ours
}

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
