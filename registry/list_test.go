package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// lister is a client that a test can look over the shoulder of.
type lister struct {
	*clientv3.Client
	beforeGet  func(page int)
	timeToLive func(id clientv3.LeaseID) (*clientv3.LeaseTimeToLiveResponse, error) // nil: ask etcd

	mu    sync.Mutex
	pages int
	asked []clientv3.LeaseID
}

func (l *lister) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if l.beforeGet != nil {
		l.beforeGet(l.pages)
	}
	l.pages++
	return l.Client.Get(ctx, key, opts...)
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

// A list of many pages is one revision, whatever is written between the pages.
func TestListIsOneRevision(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		const hosts = 10_050 // a page has 10,000
		r.putMany(t, hosts-1)
		r.put(t, "/hb/instances/vol/node009999!", `{"schema":1,"binary":"vol","host":"node009999!"}`) // the next one after it
		before := r.revision(t)
		client := &lister{Client: r.client, beforeGet: func(page int) {
			if page == 1 {
				r.put(t, "/hb/instances/vol/node000000", "overwritten on the page that was read")
				r.put(t, "/hb/instances/vol/node010048", "overwritten on the page to come")
				r.put(t, "/hb/instances/vol/node999999", `{"schema":1}`)
				r.delete(t, "/hb/instances/vol/node010047")
			}
		}}
		snap := mustList(t, client, registry.ListOptions{})
		if client.pages != 2 || len(snap.Services) != hosts || len(snap.Warnings) != 0 || snap.Revision != before {
			t.Errorf("%d pages, %d rows, %d warnings, revision %d; want 2, %d, 0, %d",
				client.pages, len(snap.Services), len(snap.Warnings), snap.Revision, hosts, before)
		}
		if !slices.IsSortedFunc(snap.Services, func(a, b registry.Service) int { return a.Name().Compare(b.Name()) }) {
			t.Error("the rows are not sorted")
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
