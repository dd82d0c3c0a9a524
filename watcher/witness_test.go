package watcher

import (
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

func TestRestoredBackup(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		for i := range 10 {
			w.txn(putRecord(name(i)), putAlive(name(i), lease))
		}
		r := watch(t, s.Client(), Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		s.Wipe()
		reset := r.want(Reset)
		if reset.Reason == nil {
			t.Error("reset without a reason")
		}
		if b := r.want(Snapshot); len(b.Services) != 0 || !b.Synced || b.Revision != 1 {
			t.Errorf("snapshot %+v, want an empty one at 1", b)
		}
		rev := w.txn(putRecord(vol1))
		wantLines(t, r.events(), []string{"updated vol/n1 zone=az1 state=down"})
		r.quiet(time.Second)
		if v := r.w.View(); v.Revision() != rev {
			t.Errorf("position %d, want %d", v.Revision(), rev)
		}
	})
}

// A restored store keeps its cluster id and goes on counting, past the reader's position. Its revisions look like those that the
// reader waits for, and mean something else.
func TestRestoredBackupThatGrewPastThePosition(t *testing.T) {
	for how, end := range map[string]func(r *reader){
		"a watch that runs": func(*reader) {},
		"from a view":       (*reader).stop,
	} {
		t.Run(how, func(t *testing.T) {
			fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
				c := s.NewClient()
				lease := w.grant(3600)
				for i := range 10 {
					w.txn(putRecord(name(i)), putAlive(name(i), lease))
				}
				r := watch(t, c.Client, Now())
				r.want(Snapshot)
				r.quiet(time.Second)
				end(r)
				c.Cut()
				s.Wipe()
				lease = w.grant(3600)
				for range 40 {
					w.txn(putRecord(vol1), putAlive(vol1, lease))
				}
				c.Break()
				c.Heal()
				if r.isOver() {
					r = watch(t, c.Client, From(r.w.View()))
				}
				b := r.next()
				for b.Kind == Stale || b.Kind == Live {
					b = r.next()
				}
				if b.Kind != Reset || !errors.Is(b.Reason, errRestored) {
					t.Fatalf("got %s at %d %v (%v), want a reset", b.Kind, b.Revision, tell(b.Events), b.Reason)
				}
				if b := r.want(Snapshot); len(b.Services) != 1 || !b.Synced {
					t.Errorf("snapshot of %d rows, want what is there", len(b.Services))
				}
				r.quiet(time.Minute)
			})
		})
	}
}

// What a service wrote by hand has white space and escapes, and a view that was kept must go on as if it had not.
func TestWitnessWrittenByHand(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(36000)
		w.txn(putAlive(vol1, lease), write{key: testKeys.Record(vol1), value: []byte("{ \"schema\": 1,\n \"binary\":\"vol\", \"host\":\"n1\", \"zone\":\"\\u0061z1\", \"n\": 1.0e2 }\n")})
		r := watch(t, s.Client(), Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		view := throughJSON(t, r.w.View())
		r.stop()
		r = watch(t, s.Client(), From(view))
		if b := r.next(); b.Kind != Bookmark || !b.Synced {
			t.Fatalf("got %s %v, want the synced bookmark", b.Kind, b.Reason)
		}
	})
}

func TestWitness(t *testing.T) {
	r, s := testRules(registry.Filter{}), newStore()
	if w := s.view(r).witness(testKeys); w.revision != 0 || !w.proves(&pb.RangeResponse{}) {
		t.Error("an empty view has a witness")
	}
	s.txn(putRecord(vol1), putAlive(vol1, 9))
	s.txn(putRecord(vol2))
	w := s.view(r).witness(testKeys)
	if w.key != testKeys.Record(vol2) || w.revision != 3 {
		t.Errorf("the witness is %s at %d, want what was written last", w.key, w.revision)
	}
	good := &mvccpb.KeyValue{ModRevision: 3, Value: []byte(w.text)}
	for name, tt := range map[string]struct {
		kvs  []*mvccpb.KeyValue
		want bool
	}{
		"as it was":       {[]*mvccpb.KeyValue{good}, true},
		"not there":       {nil, false},
		"another write":   {[]*mvccpb.KeyValue{{ModRevision: 2, Value: good.Value}}, false},
		"another content": {[]*mvccpb.KeyValue{{ModRevision: 3, Value: []byte("{}")}}, false},
	} {
		if got := w.proves(&pb.RangeResponse{Kvs: tt.kvs}); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
