package faults_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// A foreigner is somebody who puts under the prefix what is not ours.
type foreigner struct {
	t      *testing.T
	client *clientv3.Client
	keys   registry.Keys
	lease  clientv3.LeaseID
}

func (f *foreigner) put(key, value string, opts ...clientv3.OpOption) int64 {
	f.t.Helper()
	resp, err := f.client.Put(f.t.Context(), key, value, opts...)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.Header.Revision
}

// alive puts the alive key of a name, so that it is up.
func (f *foreigner) alive(name registry.Name, value string) int64 {
	f.t.Helper()
	return f.put(f.keys.Alive(name), value, clientv3.WithLease(f.lease))
}

// junk is values of records that can't be read, each put for an instance that is up.
var junk = map[string]string{
	"39 corrupt JSON":                `{"schema":1,`,
	"40 empty":                       "",
	"41 an array":                    `[1,2]`,
	"41 a number":                    `42`,
	"41 another shape":               `{"schema":1,"zone":{"name":"az1"},"labels":[]}`,
	"42 a later schema":              `{"schema":2,"zone":"az1"}`,
	"43 a schema before the first":   `{"schema":0,"zone":"az1"}`,
	"45 a field twice":               `{"schema":1,"zone":"a","zone":"b"}`,
	"45 nested deeply":               `{"schema":1,"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
	"45 a huge number":               `{"schema":1,"ttl_seconds":1e400}`,
	"45 not a number":                `{"schema":1,"ttl_seconds":NaN}`,
	"46 far too large":               `{"schema":1,"zone":"` + strings.Repeat("z", 1_400_000) + `"}`,
	"47 not UTF-8":                   "{\"schema\":1,\"zone\":\"\xff\xfe\"}",
	"52 the name of another":         `{"schema":1,"binary":"other","host":"elsewhere","zone":"az1"}`,
	"53 a time that is none":         `{"schema":1,"created_at":"yesterday"}`,
	"53 a number in place of a time": `{"schema":1,"created_at":-1}`,
}

// Whatever is put under the prefix, by a list and by a watch every row is shown, what can't be read is a warning with its key, and
// the stream goes on. Presence is read from keys alone.
func TestF37ForeignData(t *testing.T) {
	etcd := etcdtest.Standalone(t)
	keys, err := registry.NewKeys("")
	if err != nil {
		t.Fatal(err)
	}
	f := &foreigner{t: t, client: etcd.Client(), keys: keys}
	grant, err := f.client.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	f.lease = grant.ID
	w := watchAll(t, etcd.Client())
	ours := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(1), 10*time.Second)
	cases := 0
	for what, value := range junk {
		cases++
		f.unreadable(w, registry.Name{Binary: "junk", Host: strings.ReplaceAll(what, " ", "-")}, value)
	}
	for _, c := range strangeKeys {
		cases++
		t.Run(c.what, func(t *testing.T) { c.test(t, f, w) })
	}
	many := either(5000, 1_000_000)
	took := f.crowd(many)
	// Everything is there at once now: a list, a watch that begins and the one that has seen it all agree, and the holder never noticed.
	late := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(2), 10*time.Second)
	w.Event(20*time.Second, watcher.Up, hbtest.Node(2), late.Incarnation()-1)
	if s := ours.Status(); !ours.Valid() || s.Fences != 0 || w.Count(watcher.Down, hbtest.Node(1)) != 0 {
		t.Errorf("our own service: %+v", s)
	}
	w.Consistent()
	t.Logf("F37: %d cases, each in a list and in a watch: no row lost, a warning each where it can't be read, the stream goes on; %d foreign keys listed with their warnings in %v",
		cases, many, took.Round(time.Millisecond))
}

// unreadable puts a record that can't be read, or not believed, for an instance that is up.
func (f *foreigner) unreadable(w *hbtest.Witness, name registry.Name, value string) {
	f.t.Helper()
	inc := f.alive(name, `{"schema":1}`)
	w.Event(10*time.Second, watcher.Up, name, inc-1)
	f.put(f.keys.Record(name), value)
	w.Event(10*time.Second, watcher.Warning, name, inc)
	row := hbtest.List(f.t, f.client)[name]
	if row.State != registry.Up || *row.Incarnation != inc {
		f.t.Errorf("%s: %s in a list, want up", name, row.State)
	}
	if !f.warned(f.keys.Record(name)) {
		f.t.Errorf("%s: no warning in a list", name)
	}
	if n := w.Count(watcher.Down, name); n != 0 {
		f.t.Errorf("%s: %d downs", name, n)
	}
}

// warned says whether a list warns of the key.
func (f *foreigner) warned(key string) bool {
	f.t.Helper()
	snap, err := registry.List(f.t.Context(), f.client, registry.ListOptions{LastBeat: true})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, w := range snap.Warnings {
		if w.Key == key && w.Problem != "" {
			return true
		}
	}
	return false
}

// strangeKeys are the cases in which it is the key, its lease or its history that is strange.
var strangeKeys = []struct {
	what string
	test func(t *testing.T, f *foreigner, w *hbtest.Witness)
}{
	{"44 unknown fields are kept", func(t *testing.T, f *foreigner, _ *hbtest.Witness) {
		name := registry.Name{Binary: "key", Host: "unknown"}
		f.put(f.keys.Record(name), `{"schema":1,"binary":"key","host":"unknown","zone":"az1","from_the_future":{"a":[1]}}`)
		hbtest.Register(t, hbtest.NewRegistry(t, f.client), name, 10*time.Second)
		got, err := f.client.Get(t.Context(), f.keys.Record(name))
		if err != nil || len(got.Kvs) != 1 || !strings.Contains(string(got.Kvs[0].Value), `"from_the_future":{"a":[1]}`) {
			t.Errorf("the record is %v, %v", got.Kvs, err)
		}
	}},
	{"48 another depth", func(t *testing.T, f *foreigner, w *hbtest.Witness) {
		for _, key := range []string{"/hb/", "/hb/nothing", "/hb/instances/a", "/hb/alive/a/b/c", "/hb/alive//x", "/hb/other/a/b", "/hb/instances/\x00/\xff"} {
			f.put(key, "x")
			w.Await(10*time.Second, fmt.Sprintf("a warning about %q", key), func(b watcher.Batch) bool {
				for _, e := range b.Events {
					if e.Kind == watcher.Warning && e.Warning.Key == key {
						return true
					}
				}
				return false
			})
			if !f.warned(key) {
				t.Errorf("no warning about %q in a list", key)
			}
		}
	}},
	{"49 without a lease", func(t *testing.T, f *foreigner, w *hbtest.Witness) {
		name := registry.Name{Binary: "key", Host: "immortal"}
		rev := f.put(f.keys.Alive(name), `{"schema":1}`)
		w.Event(10*time.Second, watcher.Updated, name, rev-1)
		if row := hbtest.List(t, f.client)[name]; row.State != registry.Down || row.Cause == nil || *row.Cause != registry.CauseUnleased {
			t.Errorf("%s for %v, want down, unleased", row.State, row.Cause)
		}
		if !f.warned(f.keys.Alive(name)) || w.Count(watcher.Up, name) != 0 {
			t.Error("it is not warned of, or was told up")
		}
	}},
	{"50 a lease without a key", func(t *testing.T, f *foreigner, _ *hbtest.Witness) {
		before := len(hbtest.List(t, f.client))
		if _, err := f.client.Grant(t.Context(), 600); err != nil {
			t.Fatal(err)
		}
		if after := len(hbtest.List(t, f.client)); after != before {
			t.Errorf("%d rows, were %d", after, before)
		}
	}},
	{"51 put again by hand", func(t *testing.T, f *foreigner, w *hbtest.Witness) {
		name := registry.Name{Binary: "key", Host: "again"}
		first := f.alive(name, `{"schema":1,"registration":"a"}`)
		other, err := f.client.Grant(t.Context(), 600)
		if err != nil {
			t.Fatal(err)
		}
		second := f.put(f.keys.Alive(name), `{"schema":1,"registration":"b"}`, clientv3.WithLease(other.ID))
		if cause := w.Down(10*time.Second, name, first); cause != "replaced" {
			t.Errorf("cause %s, want replaced", cause)
		}
		w.Event(10*time.Second, watcher.Up, name, second-1)
		f.put(f.keys.Alive(name), `{"schema":1,"registration":"c"}`)
		if cause := w.Down(10*time.Second, name, second); cause != "unleased" {
			t.Errorf("cause %s, want unleased", cause)
		}
	}},
	{"47 control characters", func(t *testing.T, f *foreigner, w *hbtest.Witness) {
		name := registry.Name{Binary: "key", Host: "escape"}
		inc := f.alive(name, `{"schema":1}`)
		f.put(f.keys.Record(name), `{"schema":1,"binary":"key","host":"escape","zone":"\u001b[31mred\u0007"}`)
		w.Event(10*time.Second, watcher.Updated, name, inc)
		if row := hbtest.List(t, f.client)[name]; row.State != registry.Up {
			t.Errorf("it is %s", row.State)
		}
	}},
	{"54 deleted and put at once", func(t *testing.T, f *foreigner, w *hbtest.Witness) {
		name := registry.Name{Binary: "key", Host: "flips"}
		first := f.alive(name, `{"schema":1,"registration":"a"}`)
		if _, err := f.client.Delete(t.Context(), f.keys.Alive(name)); err != nil {
			t.Fatal(err)
		}
		second := f.alive(name, `{"schema":1,"registration":"b"}`)
		w.Down(10*time.Second, name, first)
		w.Event(10*time.Second, watcher.Up, name, second-1)
		if ups, downs := w.Count(watcher.Up, name), w.Count(watcher.Down, name); ups != 2 || downs != 1 {
			t.Errorf("%d ups and %d downs, want 2 and 1", ups, downs)
		}
	}},
	{"55 deleted and compacted", func(t *testing.T, f *foreigner, w *hbtest.Witness) {
		name := registry.Name{Binary: "key", Host: "compacted"}
		first := f.alive(name, `{"schema":1}`)
		away := watchAll(t, f.client)
		away.Stop()
		deleted, err := f.client.Delete(t.Context(), f.keys.Alive(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.client.Compact(t.Context(), deleted.Header.Revision); err != nil {
			t.Fatal(err)
		}
		back := hbtest.Watch(t, f.client, watcher.From(away.Watcher.View()))
		back.Down(10*time.Second, name, first)
		if n := back.Count(watcher.Down, everyone); n != 1 {
			t.Errorf("%d downs, want 1", n)
		}
	}},
}

// crowd puts many foreign keys and lists them, and gives how long the list took.
func (f *foreigner) crowd(n int) time.Duration {
	f.t.Helper()
	for i := 0; i < n; i += 100 {
		var ops []clientv3.Op
		for j := range 100 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("/hb/foreign/%08d", i+j), "x"))
		}
		if _, err := f.client.Txn(f.t.Context()).Then(ops...).Commit(); err != nil {
			f.t.Fatal(err)
		}
	}
	begin := time.Now()
	snap, err := registry.List(f.t.Context(), f.client, registry.ListOptions{})
	took := time.Since(begin)
	if err != nil {
		f.t.Fatal(err)
	}
	if len(snap.Warnings) < n {
		f.t.Errorf("%d warnings of %d foreign keys", len(snap.Warnings), n)
	}
	return took
}
