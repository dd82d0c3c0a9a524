package registry_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hbctl/hbctl/registry"
)

// lister is a client that a test can look over the shoulder of.
type lister struct {
	*clientv3.Client
	beforeGet  func(page int)                                                       // before each page or stream
	stream     func(clientv3.GetStreamChan) (clientv3.GetStreamChan, error)         // what becomes of a stream
	timeToLive func(id clientv3.LeaseID) (*clientv3.LeaseTimeToLiveResponse, error) // nil: ask etcd

	mu    sync.Mutex
	pages int
	asked []clientv3.LeaseID
}

func (l *lister) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	l.count()
	return l.Client.Get(ctx, key, opts...)
}

func (l *lister) GetStream(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.GetStreamChan, error) {
	l.count()
	chunks, err := l.Client.GetStream(ctx, key, opts...)
	if err != nil || l.stream == nil {
		return chunks, err
	}
	return l.stream(chunks)
}

func (l *lister) count() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.beforeGet != nil {
		l.beforeGet(l.pages)
	}
	l.pages++
}

// noStreams is an etcd before 3.7.
func noStreams(chunks clientv3.GetStreamChan) (clientv3.GetStreamChan, error) {
	for range chunks {
	}
	return nil, rpctypes.Error(status.Error(codes.Unimplemented, "unknown method RangeStream"))
}

// brokenStreams end after their first piece.
func brokenStreams(chunks clientv3.GetStreamChan) (clientv3.GetStreamChan, error) {
	first := make(chan clientv3.RangeStreamResponse, 1)
	if chunk := <-chunks; chunk.RangeResponse != nil {
		chunk.Header = nil
		first <- chunk
	}
	close(first)
	for range chunks {
	}
	return first, nil
}

func (l *lister) TimeToLive(ctx context.Context, id clientv3.LeaseID, opts ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error) {
	l.mu.Lock()
	l.asked = append(l.asked, id)
	l.mu.Unlock()
	if l.timeToLive != nil {
		return l.timeToLive(id)
	}
	return l.Client.TimeToLive(ctx, id, opts...)
}

func mustList(t *testing.T, client registry.Lister, opts registry.ListOptions) *registry.Snapshot {
	t.Helper()
	snap, err := registry.List(t.Context(), client, opts)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func (r *rig) put(t *testing.T, key, value string, opts ...clientv3.OpOption) {
	t.Helper()
	if _, err := r.client.Put(t.Context(), key, value, opts...); err != nil {
		t.Fatal(err)
	}
}

// putMany puts records of so many hosts, as many as fit into each transaction.
func (r *rig) putMany(t *testing.T, hosts int) {
	t.Helper()
	for batch := range slices.Chunk(slices.Collect(func(yield func(int) bool) {
		for i := range hosts {
			if !yield(i) {
				return
			}
		}
	}), 128) {
		var ops []clientv3.Op
		for _, i := range batch {
			host := fmt.Sprintf("node%06d", i)
			ops = append(ops, clientv3.OpPut("/hb/instances/vol/"+host, `{"schema":1,"binary":"vol","host":"`+host+`"}`))
		}
		if _, err := r.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// A list of many pages or pieces is one revision, whatever is written between them.
func TestListIsOneRevision(t *testing.T) {
	for name, stream := range map[string]func(clientv3.GetStreamChan) (clientv3.GetStreamChan, error){
		"streams": nil, "pages": noStreams, "broken streams": brokenStreams,
	} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			const hosts = 20_050 // first 2,000, then pages of 10,000
			r.putMany(t, hosts-1)
			r.put(t, "/hb/instances/vol/node001999!", `{"schema":1,"binary":"vol","host":"node001999!"}`) // the next one after them
			before := r.revision(t)
			client := &lister{Client: r.client, stream: stream, beforeGet: func(page int) {
				if page == 1 {
					r.put(t, "/hb/instances/vol/node000000", "overwritten on the page that was read")
					r.put(t, "/hb/instances/vol/node020048", "overwritten on the page to come")
					r.put(t, "/hb/instances/vol/node999999", `{"schema":1}`)
					r.delete(t, "/hb/instances/vol/node020047")
				}
			}}
			snap := mustList(t, client, registry.ListOptions{})
			if client.pages < 2 || len(snap.Services) != hosts || len(snap.Warnings) != 0 || snap.Revision != before {
				t.Errorf("%s: %d pages, %d rows, %d warnings, revision %d; want %d, 0, %d",
					name, client.pages, len(snap.Services), len(snap.Warnings), snap.Revision, hosts, before)
			}
			sorted := slices.IsSortedFunc(snap.Services, func(a, b registry.Service) int { return a.Name().Compare(b.Name()) })
			if !sorted || len(slices.CompactFunc(snap.Services, func(a, b registry.Service) bool { return a.Name() == b.Name() })) != hosts {
				t.Errorf("%s: the rows are not sorted, or not distinct", name)
			}
			if snap.Cluster == 0 || snap.RaftTerm == 0 {
				t.Errorf("cluster %d, term %d", snap.Cluster, snap.RaftTerm)
			}

			after := mustList(t, r.client, registry.ListOptions{})
			if len(after.Services) != hosts || len(after.Warnings) != 3 || after.Revision != before+4 {
				t.Errorf("afterwards %d rows, %d warnings, revision %d", len(after.Services), len(after.Warnings), after.Revision)
			}
			again := mustList(t, r.client, registry.ListOptions{Revision: before})
			if len(again.Services) != hosts || len(again.Warnings) != 0 || again.Revision != before {
				t.Errorf("at revision %d again: %d rows, %d warnings, revision %d", before, len(again.Services), len(again.Warnings), again.Revision)
			}
		})
	}
}

// What is read side by side adds up to what the table of all keys says, whatever is there.
func TestListIsTheTable(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		lease, err := r.client.Grant(t.Context(), 3600)
		if err != nil {
			t.Fatal(err)
		}
		values := slices.Sorted(func(yield func(string) bool) {
			for _, tt := range junk {
				if len(tt.value) < 1000 && !yield(tt.value) {
					return
				}
			}
		})
		values = append(values, plainRecord, endedRecord, holderValue, `{"schema":1,"disabled":{"reason":"r"}}`)
		for i := range 3000 {
			for j, family := range []string{"instances", "alive", "admin"} {
				if i%(j+2) == 0 || i%7 == j {
					key := fmt.Sprintf("/hb/%s/%c%d/%s%d", family, 'a'+rune(i%3), i%11, []string{"node", "nöde", ".", "a b"}[min(i%40, 3)], i)
					r.put(t, key, values[(i*7+j)%len(values)], clientv3.WithLease(clientv3.LeaseID(int64(i%2)*int64(lease.ID))))
				}
			}
			if i%500 == 0 {
				r.put(t, fmt.Sprintf("/hb/%c-foreign%d", 'a'+rune(i/500*4), i), "x")
			}
		}
		table, err := registry.Load(t.Context(), r.client, mustKeys(t, ""), 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, filter := range []registry.Filter{{}, {Binary: "a1"}, {State: registry.Up}, {Zone: "az1"}} {
			want := table.Snapshot(mustKeys(t, ""), filter)
			for name, stream := range map[string]func(clientv3.GetStreamChan) (clientv3.GetStreamChan, error){
				"streams": nil, "pages": noStreams, "broken streams": brokenStreams,
			} {
				got := mustList(t, &lister{Client: r.client, stream: stream}, registry.ListOptions{Filter: filter})
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %+v: %d rows and %d warnings differ from %d and %d", name, filter,
						len(got.Services), len(got.Warnings), len(want.Services), len(want.Warnings))
				}
			}
		}
		for name, stream := range map[string]func(clientv3.GetStreamChan) (clientv3.GetStreamChan, error){
			"streams": nil, "pages": noStreams, "broken streams": brokenStreams,
		} {
			got, order := scanNames(t, &lister{Client: r.client, stream: stream})
			if !reflect.DeepEqual(got, table) || !slices.Equal(order, table.Names()) {
				t.Errorf("%s: %d names and %d foreign keys differ from %d and %d", name, len(order), len(got.Foreign), len(table.Entries), len(table.Foreign))
			}
		}
	})
}

// scanNames makes a table of what is read name by name.
func scanNames(t *testing.T, client registry.Getter) (table *registry.Table, order []registry.Name) {
	t.Helper()
	table = &registry.Table{Entries: make(map[registry.Name]*registry.Entry)}
	var err error
	table.Foreign, err = registry.ScanNames(t.Context(), client, mustKeys(t, ""), 0, func(at *pb.ResponseHeader) error {
		table.Cluster, table.Revision, table.RaftTerm = at.ClusterId, at.Revision, at.RaftTerm
		return nil
	}, func(keys *registry.NameKeys) {
		e := &registry.Entry{Name: registry.Name{Binary: string(keys.Binary), Host: string(keys.Host)}}
		order = append(order, e.Name)
		table.Entries[e.Name] = e
		for family, kv := range map[registry.Family]*mvccpb.KeyValue{
			registry.FamilyRecord: keys.Record, registry.FamilyAlive: keys.Alive, registry.FamilyAdmin: keys.Admin,
		} {
			if kv != nil {
				e.Put(family, kv)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return table, order
}

// A scan that can't be complete ends with the reason, and nothing of it is left.
func TestScanNamesRefusals(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.putMany(t, 3000)
		keys, mine := mustKeys(t, ""), errors.New("mine")
		willing := func(*pb.ResponseHeader) error { return nil }
		nobody := func(*registry.NameKeys) { t.Error("a name was told") }
		if _, err := registry.ScanNames(t.Context(), r.client, keys, 1<<40, willing, nobody); !errors.Is(err, rpctypes.ErrFutureRev) {
			t.Errorf("of the future: %v", err)
		}
		if _, err := registry.ScanNames(t.Context(), r.client, keys, 0, func(*pb.ResponseHeader) error { return mine }, nobody); !errors.Is(err, mine) {
			t.Errorf("not begun: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		foreign, err := registry.ScanNames(ctx, r.client, keys, 0, willing, func(*registry.NameKeys) {
			if n++; n == 10 {
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) || foreign != nil || n == 3000 {
			t.Errorf("given up: %d names, %v, %v", n, foreign, err)
		}
	})
}

// Who takes only some rows ends the list there, and nothing of it is left.
func TestRowsAreTakenOneByOne(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.putMany(t, 5000)
		l, err := registry.Stream(t.Context(), r.client, registry.ListOptions{LastBeat: true})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for s, err := range l.Rows(t.Context()) {
			if want := fmt.Sprintf("node%06d", n); err != nil || s.Host != want {
				t.Fatalf("row %d: %v, want %s", n, err, want)
			}
			if n++; n == 3000 {
				break
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l, err = registry.Stream(ctx, r.client, registry.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n = 0
		var last error
		for _, err := range l.Rows(ctx) {
			if n++; n == 10 {
				cancel()
			}
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("given up: %d rows, then %v", n, last)
		}
	})
}

func TestListRefusals(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.put(t, "/hb/alive/vol/node1", "x")
		r.put(t, "/hb/alive/vol/node1", "y")
		r.server.Compact(0)
		for _, tt := range []struct {
			opts registry.ListOptions
			want error
		}{
			{registry.ListOptions{Prefix: "/"}, registry.ErrInvalid},
			{registry.ListOptions{Revision: 1}, rpctypes.ErrCompacted},
			{registry.ListOptions{Revision: 1 << 40}, rpctypes.ErrFutureRev},
		} {
			if snap, err := registry.List(t.Context(), r.client, tt.opts); !errors.Is(err, tt.want) || snap != nil {
				t.Errorf("%+v: %v, want %v", tt.opts, err, tt.want)
			}
		}
		// An etcd that can't be reached is an error, and never an empty list.
		r.server.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if snap, err := registry.List(ctx, r.client, registry.ListOptions{}); err == nil || snap != nil {
			t.Errorf("without etcd: %+v, %v", snap, err)
		}
		r.server.Start()
	})
}

func TestListFilters(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.putMany(t, 3)
		r.put(t, "/hb/alive/vol/node000001", "junk")
		snap := mustList(t, r.client, registry.ListOptions{Filter: registry.Filter{Host: "node000002"}})
		if len(snap.Services) != 1 || snap.Services[0].Host != "node000002" || len(snap.Warnings) != 2 {
			t.Errorf("%d rows, %+v; the warnings are not filtered", len(snap.Services), snap.Warnings)
		}
		if snap := mustList(t, r.client, registry.ListOptions{Prefix: "/h"}); len(snap.Services) != 0 || len(snap.Warnings) != 0 {
			t.Errorf("%d rows and %d warnings under another prefix", len(snap.Services), len(snap.Warnings))
		}
	})
}

// Whatever somebody puts under the prefix becomes a warning that names it, and hurts no other row.
func TestListWithForeignAndJunkKeys(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.process(t).register(t, "vol/good", 10*time.Second)
		foreign := []string{
			"/hb/", "/hb/README", "/hb/locks/vol/node1", "/hb/alive/vol", "/hb/alive/vol/node1/x", "/hb/alive/vol/",
			"/hb/instances/vol/a b", "/hb/admin/../node1", "/hb/\xff\xfe", "/hb/alive/vol/\x00", "/hb/alive/vol/\x1b[2J",
		}
		for _, key := range foreign {
			r.put(t, key, `{"schema":1}`)
		}
		for name, tt := range junk {
			if len(tt.value) > 1<<20 {
				continue // more than etcd takes
			}
			r.put(t, "/hb/instances/junk/"+strings.NewReplacer(" ", "-", ",", "").Replace(name), tt.value)
		}
		r.put(t, "/hb/admin/alone/node1", "junk")
		r.put(t, "/hb/admin/alone/node2", `{"schema":1,"disabled":{}}`)

		snap := mustList(t, r.client, registry.ListOptions{})
		warned := make(map[string]int)
		for _, w := range snap.Warnings {
			warned[w.Key]++
			if w.Problem == "" || !utf8.ValidString(w.Problem) || strings.ContainsAny(w.Problem, "\x00\x1b") {
				t.Errorf("warning about %q: %q", w.Key, w.Problem)
			}
		}
		for _, key := range append(foreign, "/hb/admin/alone/node1") {
			if warned[key] != 1 {
				t.Errorf("%d warnings about %q, want 1", warned[key], key)
			}
		}
		rows := len(junk) - 1 + 1
		if want := len(foreign) + 1 + rows - 1; len(snap.Warnings) != want {
			t.Errorf("%d warnings, want %d", len(snap.Warnings), want)
		}
		if len(snap.Services) != rows {
			t.Errorf("%d rows, want one for each record and none for an admin key alone: %d", len(snap.Services), rows)
		}
		for _, s := range snap.Services {
			if up := s.Binary == "vol"; up != (s.State == registry.Up) || up != (s.Zone != nil) {
				t.Errorf("%s is %s, zone %s", s.Name(), s.State, show(s.Zone))
			}
		}
	})
}

// A snapshot is what it is, whatever becomes of the table that it was made of.
func TestSnapshotsShareNothing(t *testing.T) {
	name := registry.Name{Binary: "vol", Host: "node1"}
	e := entry("junk", nil, "")
	table := &registry.Table{Entries: map[registry.Name]*registry.Entry{name: &e}, Foreign: make([]registry.Warning, 1, 8)}
	before := table.Snapshot(mustKeys(t, ""), registry.Filter{})
	problem := before.Warnings[1].Problem
	e = entry("", &alive{"", 0}, "")
	table.Snapshot(mustKeys(t, ""), registry.Filter{})
	if got := before.Warnings[1].Problem; got != problem || before.Services[0].Cause != nil {
		t.Errorf("the warning %q became %q", problem, got)
	}
}

func TestLastBeat(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		for i := range 5 {
			p.register(t, sprint(i), 10*time.Second)
		}
		p.register(t, "svc/slow", 60*time.Second)
		gone := p.register(t, "svc/gone", 30*time.Second)
		mustClose(t, gone.Close)
		time.Sleep(10 * time.Minute)

		client := &lister{Client: r.client}
		snap := mustList(t, client, registry.ListOptions{LastBeat: true})
		slices.Sort(client.asked)
		if len(client.asked) != 2 || client.asked[0] == client.asked[1] {
			t.Errorf("asked about leases %v, want once about each of the 2 that live", client.asked)
		}
		for _, s := range snap.Services {
			ttl := 10 * time.Second
			switch s.Host {
			case "gone":
				if s.Expiring != nil || s.UpdatedAt == nil || time.Since(*s.UpdatedAt) < 9*time.Minute {
					t.Errorf("%s: updated %s, expiring %s", s.Host, show(s.UpdatedAt), show(s.Expiring))
				}
				continue
			case "slow":
				ttl = time.Minute
			}
			// Renewed every quarter of the TTL, and etcd tells whole seconds.
			if s.UpdatedAt == nil || time.Since(*s.UpdatedAt) > ttl/4+time.Second || s.UpdatedAt.After(time.Now()) {
				t.Errorf("%s: updated %s at %v", s.Host, show(s.UpdatedAt), time.Now())
			}
			if s.Expiring == nil || *s.Expiring || *s.TTLSeconds != int64(ttl/time.Second) {
				t.Errorf("%s: expiring %s, TTL %s", s.Host, show(s.Expiring), show(s.TTLSeconds))
			}
		}

		mustList(t, client, registry.ListOptions{LastBeat: true, Filter: registry.Filter{Host: "slow"}})
		if len(client.asked) != 3 {
			t.Errorf("asked %d times for a list of one row, want once", len(client.asked)-2)
		}
	})
}

func TestLastBeatIsNeverGuessed(t *testing.T) {
	at := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	answer := func(granted, left int64) func(clientv3.LeaseID) (*clientv3.LeaseTimeToLiveResponse, error) {
		return func(clientv3.LeaseID) (*clientv3.LeaseTimeToLiveResponse, error) {
			return &clientv3.LeaseTimeToLiveResponse{GrantedTTL: granted, TTL: left}, nil
		}
	}
	for _, tt := range []struct {
		name     string
		answer   func(clientv3.LeaseID) (*clientv3.LeaseTimeToLiveResponse, error)
		written  string // updated_at of the record
		updated  string
		expiring string
	}{
		{"just renewed", answer(10, 10), "", "12:00:00", "false"},
		{"renewed three seconds ago", answer(10, 7), "", "11:59:57", "false"},
		{"never before the record was written", answer(10, 7), "2026-01-02T11:59:59Z", "11:59:59", "false"},
		{"nor after now", answer(10, 7), "2026-01-02T13:00:00Z", "12:00:00", "false"},
		{"run out, not revoked yet", answer(10, -7), "", "11:59:43", "true"},
		{"run out long ago in an etcd that can't revoke", answer(10, -644865), "2026-01-02T11:00:00Z", "11:00:00", "true"},
		{"more left than granted, after a change of leader", answer(10, 11), "2026-01-02T11:00:00Z", "", "-"},
		{"gone since the list", answer(0, -1), "2026-01-02T11:00:00Z", "", "-"},
		{"no answer", func(clientv3.LeaseID) (*clientv3.LeaseTimeToLiveResponse, error) {
			return nil, rpctypes.ErrNoLeader
		}, "2026-01-02T11:00:00Z", "", "-"},
	} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			granted, err := r.client.Grant(t.Context(), 3600)
			if err != nil {
				t.Fatal(err)
			}
			record := `{"schema":1,"binary":"vol","host":"node1"}`
			if tt.written != "" {
				record = `{"schema":1,"binary":"vol","host":"node1","updated_at":"` + tt.written + `"}`
			}
			r.put(t, "/hb/instances/vol/node1", record)
			r.put(t, "/hb/alive/vol/node1", holderValue, clientv3.WithLease(granted.ID))
			snap := mustList(t, &lister{Client: r.client, timeToLive: tt.answer}, registry.ListOptions{
				LastBeat: true, Now: func() time.Time { return at },
			})
			s := snap.Services[0]
			var updated string
			if s.UpdatedAt != nil {
				updated = s.UpdatedAt.Format(time.TimeOnly)
			}
			if updated != tt.updated || show(s.Expiring) != tt.expiring || s.State != registry.Up {
				t.Errorf("%s: %s, updated %q, expiring %s; want up, %q, %s", tt.name, s.State, updated, show(s.Expiring), tt.updated, tt.expiring)
			}
		})
	}
}

// The lease goes between the list and the question: the list is still what was there at its revision.
func TestLeaseGoneBetween(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		p.register(t, "vol/node1", 10*time.Second)
		p.crash()
		client := &lister{Client: r.client, timeToLive: func(id clientv3.LeaseID) (*clientv3.LeaseTimeToLiveResponse, error) {
			if _, err := r.client.Revoke(t.Context(), id); err != nil {
				t.Error(err)
			}
			return r.client.TimeToLive(t.Context(), id)
		}}
		snap := mustList(t, client, registry.ListOptions{LastBeat: true})
		if s := snap.Services[0]; s.State != registry.Up || s.UpdatedAt != nil || s.Expiring != nil {
			t.Errorf("%s, updated %s, expiring %s; want up and the rest unknown", s.State, show(s.UpdatedAt), show(s.Expiring))
		}
		ctx, cancel := context.WithCancel(t.Context())
		client.timeToLive = func(clientv3.LeaseID) (*clientv3.LeaseTimeToLiveResponse, error) {
			cancel()
			return nil, ctx.Err()
		}
		p2 := r.process(t, elsewhere)
		p2.register(t, "vol/node2", 10*time.Second)
		if _, err := registry.List(ctx, client, registry.ListOptions{LastBeat: true}); !errors.Is(err, context.Canceled) {
			t.Errorf("given up meanwhile: %v, want context.Canceled", err)
		}
	})
}
