package observer

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/registry"
)

const (
	auditAsk     = 500 * time.Millisecond // for progress
	auditSilence = 2500 * time.Millisecond
	auditOpen    = 3 * time.Second
)

// An Auditor sees everything that etcd did under the prefix from the first revision on, through one member after another. Its
// word is the truth that all others are judged by, so it shares no code with the watcher. Nobody compacts what it has not seen.
type Auditor struct {
	report  func(error)
	rec     *history.Recorder
	members []*clientv3.Client // one each
	prefix  string

	mu       sync.Mutex
	position int64 // everything up to here is recorded
	contents map[string]*mvccpb.KeyValue
	moved    chan struct{} // closed and replaced when the position moves
}

// NewAuditor makes an Auditor with a client of each member. It reports when it can't see everything any more.
func NewAuditor(rec *history.Recorder, members []*clientv3.Client, report func(error)) *Auditor {
	return &Auditor{
		report: report, rec: rec, members: members, prefix: registry.DefaultPrefix,
		contents: make(map[string]*mvccpb.KeyValue), moved: make(chan struct{}),
	}
}

// Run watches until the context ends.
func (a *Auditor) Run(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		_ = a.watch(ctx, a.members[i%len(a.members)]) // whatever it was: the next one
		pause(ctx, 50*time.Millisecond)
	}
}

// watch runs one stream until it breaks or falls silent.
func (a *Auditor) watch(ctx context.Context, member *clientv3.Client) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	silence := time.AfterFunc(auditOpen, cancel)
	defer silence.Stop()
	stream, err := pb.NewWatchClient(member.ActiveConnection()).Watch(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(a.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(a.prefix)), StartRevision: a.Seen() + 1,
	}}})
	if err != nil {
		return err
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	asking.Go(func() {
		for ctx.Err() == nil {
			pause(ctx, auditAsk)
			_ = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
		}
	})
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		silence.Reset(auditSilence)
		switch {
		case resp.CompactRevision != 0:
			err := fmt.Errorf("the auditor lost history: it is at %d, and %d is compacted", a.Seen(), resp.CompactRevision)
			a.report(err)
			return err
		case resp.Canceled:
			return fmt.Errorf("canceled: %s", resp.CancelReason)
		case !resp.Created:
			a.take(resp)
		}
	}
}

// take records a response, which has all of each revision in it.
func (a *Auditor) take(resp *pb.WatchResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := 0; i < len(resp.Events); {
		rec := history.Record{Kind: history.Audit, Revision: resp.Events[i].Kv.ModRevision}
		for ; i < len(resp.Events) && resp.Events[i].Kv.ModRevision == rec.Revision; i++ {
			e := resp.Events[i]
			w := history.Write{Key: string(e.Kv.Key), Delete: e.Type == mvccpb.Event_DELETE, Value: string(e.Kv.Value)}
			if e.Kv.Lease != 0 {
				w.Lease = registry.FormatLease(e.Kv.Lease)
			}
			if w.Delete {
				delete(a.contents, w.Key)
			} else {
				a.contents[w.Key] = e.Kv
			}
			rec.Writes = append(rec.Writes, w)
		}
		a.rec.Record(rec)
		a.position = rec.Revision
	}
	if len(resp.Events) == 0 && resp.WatchId == -1 { // progress: everything up to here was sent
		a.position = max(a.position, resp.Header.Revision)
	}
	close(a.moved)
	a.moved = make(chan struct{})
}

// Seen gives the revision up to which everything is recorded.
func (a *Auditor) Seen() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.position
}

// Reach waits until everything up to the revision is recorded.
func (a *Auditor) Reach(ctx context.Context, revision int64) error {
	for {
		a.mu.Lock()
		position, moved := a.position, a.moved
		a.mu.Unlock()
		if position >= revision {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("the auditor is at %d, not at %d", position, revision)
		}
	}
}

// Get gives what is there now, as far as it was seen.
func (a *Auditor) Get(key string) *mvccpb.KeyValue {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.contents[key]
}

// CrossCheck compares what the auditor's writes add up to with what etcd says is there, at revisions that it still has.
func (a *Auditor) CrossCheck(ctx context.Context, client *clientv3.Client, records []history.Record) error {
	now, err := client.Get(ctx, a.prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if err := a.Reach(ctx, now.Header.Revision); err != nil {
		return err
	}
	contents := make(map[string]history.Write)
	checked := 0
	for i := range records {
		for _, w := range records[i].Writes {
			if contents[w.Key] = w; w.Delete {
				delete(contents, w.Key)
			}
		}
		// Most revisions are compacted; of the others each 16th is enough, and the last one.
		if records[i].Kind != history.Audit || (i%16 != 0 && i != len(records)-1) {
			continue
		}
		resp, err := client.Get(ctx, a.prefix, clientv3.WithPrefix(), clientv3.WithRev(records[i].Revision))
		if err != nil {
			continue // compacted
		}
		checked++
		if len(resp.Kvs) != len(contents) {
			return fmt.Errorf("at revision %d etcd has %d keys, the auditor %d", records[i].Revision, len(resp.Kvs), len(contents))
		}
		for _, kv := range resp.Kvs {
			if w, there := contents[string(kv.Key)]; !there || w.Value != string(kv.Value) {
				return fmt.Errorf("at revision %d the auditor has %q for %s, etcd %q", records[i].Revision, w.Value, kv.Key, kv.Value)
			}
		}
	}
	if checked == 0 {
		return fmt.Errorf("nothing to compare the auditor with: %d records", len(records))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
