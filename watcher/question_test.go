package watcher

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

// A slow etcd counts how many questions it is asked, in all and at once, and takes its time.
type slow struct {
	leases
	delay              time.Duration
	stubborn           bool // does not look at the context
	frozen             bool // every other question gets no answer
	asked, now, atOnce atomic.Int64
}

func (s *slow) TimeToLive(ctx context.Context, id clientv3.LeaseID, opts ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error) {
	if s.asked.Add(1)%2 == 1 && s.frozen {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	now := s.now.Add(1)
	defer s.now.Add(-1)
	for most := s.atOnce.Load(); now > most && !s.atOnce.CompareAndSwap(most, now); {
		most = s.atOnce.Load()
	}
	late := time.NewTimer(s.delay)
	defer late.Stop()
	done := ctx.Done()
	if s.stubborn {
		done = nil
	}
	select {
	case <-late.C:
	case <-done:
	}
	return s.leases.TimeToLive(ctx, id, opts...)
}

// asking starts a watch whose questions are slow.
func asking(t *testing.T, c *clientv3.Client, delay time.Duration) (*reader, *slow) {
	t.Helper()
	watcher := must(New(c, Config{}))
	s := &slow{leases: watcher.leases, delay: delay}
	watcher.leases = s
	r := watcher.read(t, Now())
	r.want(Snapshot)
	r.quiet(time.Second)
	return r, s
}

func TestLeaseOfThousandsIsAskedOnce(t *testing.T) {
	const n = 10_000
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		for i := 0; i < n; {
			var writes []write
			for len(writes) < 100 {
				writes = append(writes, putAlive(name(i), lease))
				i++
			}
			w.txn(writes...)
		}
		r, etcd := asking(t, s.Client(), 0)
		if _, err := w.c.Revoke(t.Context(), clientv3.LeaseID(lease)); err != nil {
			t.Fatal(err)
		}
		b := r.want(Changes)
		if len(b.Events) != 2*n { // without a record: down and forgotten
			t.Fatalf("%d events in the batch, want %d", len(b.Events), 2*n)
		}
		for i, e := range b.Events {
			if e.Kind == Down && (e.Cause == nil || *e.Cause != registry.CauseExpired) {
				t.Fatalf("event %d has cause %v", i, e.Cause)
			}
		}
		if asked := etcd.asked.Load(); asked != 1 {
			t.Errorf("etcd was asked %d times, want once", asked)
		}
		r.quiet(5 * time.Second)
	})
}

func TestManyQuestions(t *testing.T) {
	const n = 3 * questionsAtOnce
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		r, etcd := asking(t, s.Client(), 100*time.Millisecond)
		leases := make([]int64, n)
		for i := range leases {
			leases[i] = w.grant(3600)
			w.txn(putRecord(name(i)), putAlive(name(i), leases[i]))
			r.want(Changes)
		}
		begin := time.Now()
		for _, lease := range leases {
			if _, err := w.c.Revoke(t.Context(), clientv3.LeaseID(lease)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range leases {
			e := r.want(Changes).Events[0]
			if e.Name != name(i) || e.Cause == nil || *e.Cause != registry.CauseExpired {
				t.Errorf("%d: %v", i, tell([]Event{e}))
			}
		}
		if took := time.Since(begin); took > 500*time.Millisecond {
			t.Errorf("told after %v: one after the other", took)
		}
		if most := etcd.atOnce.Load(); most != questionsAtOnce {
			t.Errorf("%d questions at once, want %d", most, questionsAtOnce)
		}
	})
}

func TestQuestionUnanswered(t *testing.T) {
	// Etcd's answer takes too long, and the down must be told all the same.
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r, _ := asking(t, s.Client(), 1500*time.Millisecond)
		begin := time.Now()
		deleted := w.txn(del(testKeys.Alive(vol1)))
		came := w.txn(putRecord(vol2))
		b := r.want(Changes)
		wantLines(t, tell(b.Events), []string{
			fmt.Sprintf("down vol/n1 inc=%d deleted=%d ask=%d zone=az1 state=down", inc, deleted, lease),
		})
		if took := time.Since(begin); took > 1100*time.Millisecond {
			t.Errorf("told after %v, want one second at most", took)
		}
		if b.Events[0].Service.Cause != nil {
			t.Errorf("the row claims %v", *b.Events[0].Service.Cause)
		}
		if b := r.want(Changes); b.Revision != came {
			t.Errorf("then told %v", tell(b.Events))
		}
	})
}

// A member that answers nothing holds a down up for a moment only, and not its cause.
func TestQuestionToAFrozenMember(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r, etcd := asking(t, s.Client(), 0)
		etcd.frozen = true
		begin := time.Now()
		deleted := w.txn(del(testKeys.Alive(vol1)))
		wantLines(t, r.events(), []string{
			fmt.Sprintf("down vol/n1 inc=%d cause=deleted deleted=%d ask=%d zone=az1 state=down", inc, deleted, lease),
		})
		if took := time.Since(begin); took > questionHedge+50*time.Millisecond {
			t.Errorf("told after %v, want %v", took, questionHedge)
		}
	})
}

// When Watch returns nothing of it runs any more, not even a question.
func TestQuestionsEndWithTheWatch(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		w.txn(putRecord(vol1), putAlive(vol1, lease))
		r, etcd := asking(t, s.Client(), 700*time.Millisecond)
		etcd.stubborn = true
		w.txn(del(testKeys.Alive(vol1)))
		time.Sleep(100 * time.Millisecond)
		r.stop()
		if asked, running := etcd.asked.Load(), etcd.now.Load(); asked < 1 || running != 0 {
			t.Errorf("%d asked and %d still running, want some and 0", asked, running)
		}
	})
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		ttl, granted int64
		want         registry.Cause
	}{
		{-1, 0, registry.CauseExpired},  // etcd does not know it any more
		{-1, 10, registry.CauseExpired}, // has run out, not revoked yet
		{0, 10, registry.CauseExpired},
		{7, 10, registry.CauseDeleted},
		{12, 10, registry.CauseDeleted}, // right after a leader change
	}
	for _, tt := range tests {
		if got := verdict(tt.ttl, tt.granted); got != tt.want {
			t.Errorf("TTL %d of %d: %s, want %s", tt.ttl, tt.granted, got, tt.want)
		}
	}
}
