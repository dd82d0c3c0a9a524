package watcher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// A store is what etcd does with the keys, in memory: transactions, revisions, events.
type store struct {
	rev int64
	kvs map[string]*mvccpb.KeyValue
}

func newStore() *store { return &store{rev: 1, kvs: make(map[string]*mvccpb.KeyValue)} }

// A write puts or, without a value, deletes one key.
type write struct {
	key   string
	value []byte
	lease int64
}

func (s *store) txn(writes ...write) []*mvccpb.Event {
	var events []*mvccpb.Event
	rev := s.rev + 1
	for _, w := range writes {
		kv := &mvccpb.KeyValue{Key: []byte(w.key), ModRevision: rev}
		kind := mvccpb.Event_DELETE
		if w.value != nil {
			kv.Value, kv.Lease, kind = w.value, w.lease, mvccpb.Event_PUT
			s.kvs[w.key] = kv
		} else if s.kvs[w.key] == nil {
			continue
		} else {
			delete(s.kvs, w.key)
		}
		events = append(events, &mvccpb.Event{Type: kind, Kv: kv})
	}
	if len(events) > 0 {
		s.rev = rev
	}
	return events
}

// table is what a list at the store's revision reads.
func (s *store) table(keys registry.Keys) *registry.Table {
	t := &registry.Table{Cluster: 7, Revision: s.rev, Entries: make(map[registry.Name]*registry.Entry)}
	for _, key := range slices.Sorted(maps.Keys(s.kvs)) {
		family, name, err := keys.Parse([]byte(key))
		if err != nil {
			t.Foreign = append(t.Foreign, registry.Warning{Key: key, Problem: err.Error()})
			continue
		}
		if t.Entries[name] == nil {
			t.Entries[name] = &registry.Entry{Name: name}
		}
		t.Entries[name].Put(family, s.kvs[key])
	}
	return t
}

// listing is what a watch that lists at the store's revision reads.
func (s *store) listing(r rules) *listing {
	l := &listing{cluster: 7, revision: s.rev, cells: make(map[registry.Name]*cell)}
	for _, kv := range s.sorted() {
		l.take(r, kv)
	}
	return l
}

// diff is what a watch tells that compares the view with the store.
func (s *store) diff(r rules, v *View) step {
	names, foreign := s.names(r.keys)
	c := r.compare(v, s.rev)
	for i := range names {
		c.take(&names[i])
	}
	return c.end(foreign)
}

// names gives what is there, name by name.
func (s *store) names(keys registry.Keys) (names []registry.NameKeys, foreign []registry.Warning) {
	foreign = must(registry.ScanNames(context.Background(), s, keys, 0, func(*pb.ResponseHeader) error { return nil },
		func(name *registry.NameKeys) { names = append(names, *name) }))
	return names, foreign
}

// Get reads a range, as etcd's client does.
func (s *store) Get(_ context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	op := clientv3.OpGet(key, opts...)
	resp := &clientv3.GetResponse{Header: &pb.ResponseHeader{ClusterId: 7, Revision: s.rev}}
	for _, kv := range s.sorted() {
		if string(kv.Key) < key || string(kv.Key) >= string(op.RangeBytes()) {
			continue
		}
		if resp.Count++; op.Limit() == 0 || resp.Count <= op.Limit() {
			resp.Kvs = append(resp.Kvs, kv)
		}
	}
	resp.More = resp.Count > int64(len(resp.Kvs))
	return resp, nil
}

// sorted gives what is there, in the order of keys.
func (s *store) sorted() []*mvccpb.KeyValue {
	var kvs []*mvccpb.KeyValue
	for _, key := range slices.Sorted(maps.Keys(s.kvs)) {
		kvs = append(kvs, s.kvs[key])
	}
	return kvs
}

// view is that of a reader who was told everything.
func (s *store) view(r rules) *View {
	v, _, _ := r.begin(s.listing(r))
	return v
}

var (
	testKeys = must(registry.NewKeys("/hb/"))
	vol1     = registry.Name{Binary: "vol", Host: "n1"}
	vol2     = registry.Name{Binary: "vol", Host: "n2"}
)

func testRules(filter registry.Filter) rules {
	return rules{keys: testKeys, selection: selection{filter}}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func putRecord(n registry.Name, change ...func(*registry.Record)) write {
	r := &registry.Record{Schema: registry.Schema, Binary: n.Binary, Host: n.Host, Zone: "az1", TTLSeconds: 10}
	for _, f := range change {
		f(r)
	}
	return write{key: testKeys.Record(n), value: must(registry.EncodeRecord(r))}
}

func zone(z string) func(*registry.Record) { return func(r *registry.Record) { r.Zone = z } }

func report(n int64) func(*registry.Record) { return func(r *registry.Record) { r.ReportCount = n } }

func ended(cause registry.Cause, reason string, incarnation int64) func(*registry.Record) {
	return func(r *registry.Record) {
		r.Ended = &registry.Ended{Cause: cause, Reason: reason, Incarnation: incarnation}
	}
}

func putAlive(n registry.Name, lease int64) write {
	h := &registry.Holder{Schema: registry.Schema, Registration: "r1"}
	return write{key: testKeys.Alive(n), value: must(registry.EncodeHolder(h)), lease: lease}
}

func putAdmin(n registry.Name, a registry.Admin) write {
	a.Schema = registry.Schema
	return write{key: testKeys.Admin(n), value: must(registry.EncodeAdmin(&a))}
}

func disabled(reason string) registry.Admin {
	return registry.Admin{Disabled: &registry.Word{Reason: reason}}
}

func forced(reason string) registry.Admin {
	return registry.Admin{ForcedDown: &registry.Word{Reason: reason}}
}

func evicted(incarnation int64) registry.Admin {
	return registry.Admin{Evicted: &registry.Evict{Incarnation: incarnation, Reason: "moved"}}
}

func del(key string) write { return write{key: key} }

// tell writes events as lines, so that a test shows what a reader would see.
func tell(events []Event) []string {
	out := []string{}
	for _, e := range events {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s", e.Kind, e.Name)
		field := func(name string, there bool, value any) {
			if there {
				fmt.Fprintf(&b, " %s=%v", name, value)
			}
		}
		field("inc", e.Incarnation != 0, e.Incarnation)
		field("prev", e.PreviousIncarnation != 0, e.PreviousIncarnation)
		if e.Cause != nil {
			field("cause", true, *e.Cause)
		}
		if e.CauseReason != nil {
			field("reason", true, *e.CauseReason)
		}
		field("deleted", e.DeletedRevision != 0, e.DeletedRevision)
		if e.Present != nil {
			field("present", true, *e.Present)
		}
		field("ask", e.lease != 0, e.lease)
		field("synthetic", e.Synthetic, true)
		if e.Zone != nil {
			field("zone", true, *e.Zone)
		}
		if e.Kind != Warning {
			field("state", true, e.Service.State)
		} else {
			field("key", true, e.Warning.Key)
		}
		out = append(out, b.String())
	}
	return out
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("told:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
