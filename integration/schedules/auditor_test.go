package schedules_test

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// mark is written to learn that all before it was seen. The auditor sees it, readers don't.
const mark = "/hb!mark"

// An auditor knows what there was at every revision, and when it came about.
type auditor struct {
	w *world

	mu        sync.Mutex
	seen      int64               // newest revision that was seen as it happened
	at        map[int64]time.Time // and when
	marks     map[int64]bool
	news      chan struct{}     // closed and replaced when there is something new
	tables    []*registry.Table // by revision; of those that were listed
	compactAt []compaction
}

type compaction struct {
	revision int64
	at       time.Time
}

func newAuditor(w *world) *auditor {
	return &auditor{w: w, at: make(map[int64]time.Time), marks: make(map[int64]bool), news: make(chan struct{}), tables: make([]*registry.Table, 1)}
}

// run sees revisions as they happen.
func (a *auditor) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	watch := a.w.client.Watch(ctx, "/hb", clientv3.WithPrefix(), clientv3.WithRev(1))
	for {
		select {
		case resp := <-watch:
			a.w.look()
			if err := resp.Err(); err != nil {
				a.w.problem("the auditor's watch ended: %v", err)
				return
			}
			a.take(resp)
		case <-a.w.stop:
			return
		}
	}
}

func (a *auditor) take(resp clientv3.WatchResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for _, e := range resp.Events {
		a.seen = e.Kv.ModRevision
		a.at[a.seen] = now
		a.marks[a.seen] = string(e.Kv.Key) == mark
	}
	close(a.news)
	a.news = make(chan struct{})
}

// catchUp reads everything at every revision up to now, and gives the newest.
func (a *auditor) catchUp() int64 {
	ctx := context.Background()
	resp, err := a.w.client.Put(ctx, mark, "")
	if err != nil {
		a.w.t.Fatal(err)
	}
	revision := resp.Header.Revision
	a.await(revision)
	for r := int64(len(a.tables)); r <= revision; r++ {
		table, err := registry.Load(ctx, a.w.client, a.w.operator.keys, r)
		if err != nil {
			a.w.t.Fatal(err)
		}
		a.tables = append(a.tables, table)
	}
	return revision
}

// await waits until the revision was seen.
func (a *auditor) await(revision int64) {
	timeout := time.NewTimer(time.Minute)
	defer timeout.Stop()
	for {
		a.mu.Lock()
		seen, news := a.seen, a.news
		a.mu.Unlock()
		if seen >= revision {
			return
		}
		select {
		case <-news:
		case <-timeout.C:
			a.w.t.Fatalf("the auditor has seen no more than revision %d of %d", seen, revision)
		}
	}
}

func (a *auditor) compacted(revision int64) {
	a.compactAt = append(a.compactAt, compaction{revision, time.Now()})
}

// rows gives what a list at the revision has.
func (a *auditor) rows(revision int64) map[registry.Name]registry.Service {
	snap := a.tables[revision].Snapshot(a.w.operator.keys, registry.Filter{})
	rows := make(map[registry.Name]registry.Service, len(snap.Services))
	for _, s := range snap.Services {
		rows[s.Name()] = s
	}
	return rows
}

// alive gives the alive key of the name at the revision; its Rev is 0 when it is not there.
func (a *auditor) alive(name registry.Name, revision int64) registry.AliveKey {
	if e := a.tables[revision].Entries[name]; e != nil {
		return e.Alive
	}
	return registry.AliveKey{}
}

// changes says that a revision is of keys that readers see.
func (a *auditor) changes(revision int64) bool {
	return !a.at[revision].IsZero() && !a.marks[revision]
}
