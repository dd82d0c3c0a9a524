package watcher

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

func TestWatchNow(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		rev := w.txn(putRecord(vol1), putAlive(vol1, lease), write{key: "/hb/odd", value: []byte("x")})
		r := watch(t, s.Client(), Now())
		snap := r.want(Snapshot)
		if len(snap.Services) != 1 || len(snap.Warnings) != 1 || snap.Revision != rev || !snap.Synced || snap.Cluster == 0 {
			t.Fatalf("snapshot %+v, want one service and one warning at %d", snap, rev)
		}
		if r.w.View() != nil {
			t.Error("the position moved before the snapshot was acknowledged")
		}
		rev = w.txn(putRecord(vol2), putAlive(vol2, lease))
		b := r.want(Changes)
		wantLines(t, tell(b.Events), []string{fmt.Sprintf("up vol/n2 inc=%d zone=az1 state=up", rev)})
		if b.Revision != rev || b.Cluster != snap.Cluster || b.ObservedAt.IsZero() || b.Synced {
			t.Errorf("batch %+v, want revision %d", b, rev)
		}
		if v := r.w.View(); v.Revision() != snap.Revision {
			t.Errorf("position %d while the batch at %d is not acknowledged, want %d", v.Revision(), rev, snap.Revision)
		}
		r.quiet(5 * time.Second)
		if v := r.w.View(); v.Revision() != rev || v.Cluster() != snap.Cluster || v.Prefix() != "/hb/" {
			t.Errorf("position %d, want %d", v.Revision(), rev)
		}
	})
}

func TestCauses(t *testing.T) {
	tests := []struct {
		name string
		end  func(w writer, lease, incarnation int64)
		want string
	}{
		{"crash", func(w writer, _, _ int64) {}, "cause=expired"},
		{"revoked", func(w writer, lease, _ int64) {
			if _, err := w.c.Revoke(w.t.Context(), clientv3.LeaseID(lease)); err != nil {
				w.t.Fatal(err)
			}
		}, "cause=expired"},
		{"left", func(w writer, _, inc int64) {
			w.txn(putRecord(vol1, ended("left", "bye", inc)), del(testKeys.Alive(vol1)))
		}, "cause=left reason=bye"},
		{"deleted by hand", func(w writer, _, _ int64) { w.txn(del(testKeys.Alive(vol1))) }, "cause=deleted"},
		{"evicted", func(w writer, _, inc int64) {
			w.txn(putAdmin(vol1, evicted(inc)), del(testKeys.Alive(vol1)))
		}, "cause=evicted reason=moved"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
				r := watch(t, s.Client(), Now())
				r.want(Snapshot)
				lease := w.grant(5)
				begin := time.Now()
				inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
				r.want(Changes)
				tt.end(w, lease, inc)
				b := r.want(Changes)
				wantLines(t, tell(b.Events), []string{
					fmt.Sprintf("down vol/n1 inc=%d %s deleted=%d%s zone=az1 state=down", inc, tt.want, b.Revision, asks(b)),
				})
				if c := b.Events[0].Service.Cause; c == nil || *c != *b.Events[0].Cause {
					t.Errorf("the row's cause is %v", c)
				}
				if took := time.Since(begin); took > 5750*time.Millisecond {
					t.Errorf("told after %v, want TTL + 0.75s at most", took)
				}
				r.quiet(20 * time.Second)
			})
		})
	}
}

// asks shows the question that an event carried.
func asks(b Batch) string {
	if id := b.Events[0].lease; id != 0 {
		return fmt.Sprintf(" ask=%d", id)
	}
	return ""
}

func TestCauseNotKnown(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		deleted := w.txn(del(testKeys.Alive(vol1)))
		w.txn(putRecord(vol2))
		r := watch(t, s.Client(), After(inc))
		wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d deleted=%d zone=az1 state=down", inc, deleted)})
		r.want(Changes)
		if b := r.want(Bookmark); !b.Synced || b.Revision != deleted+1 {
			t.Errorf("start complete: %v at %d, want true at %d", b.Synced, b.Revision, deleted+1)
		}
	})
}

// A deletion may be the newest thing that happened and yet be old.
func TestCauseOfLongAgoNotKnown(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		first := watch(t, s.Client(), Now())
		first.want(Snapshot)
		first.quiet(time.Second)
		first.stop()
		deleted := w.txn(del(testKeys.Alive(vol1)))
		if _, err := w.c.Revoke(t.Context(), clientv3.LeaseID(lease)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		for _, from := range []Position{After(inc), From(first.w.View())} {
			r := watch(t, s.Client(), from)
			wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d deleted=%d zone=az1 state=down", inc, deleted)})
			r.stop()
		}
	})
}

// A lease says why a key went right afterwards, not later: its holder may have given it up for another reason since.
func TestCauseNotAskedTooLate(t *testing.T) {
	tests := []struct {
		name string
		miss func(r *reader, c *etcdtest.Client, remove func())
	}{
		{"contact was lost", func(r *reader, c *etcdtest.Client, remove func()) {
			c.Cut()
			r.want(Stale)
			remove()
			c.Heal()
			r.want(Live)
		}},
		{"the word came late", func(r *reader, c *etcdtest.Client, remove func()) {
			c.CutAnswers()
			remove()
			r.quiet(3 * time.Second)
			c.Heal()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
				inc := w.txn(putRecord(vol1), putAlive(vol1, w.grant(3600)))
				c := s.NewClient()
				r := watch(t, c.Client, Now(), Config{StaleAfter: 6 * time.Second})
				r.want(Snapshot)
				r.quiet(10 * time.Second)
				var deleted int64
				tt.miss(r, c, func() { deleted = w.txn(del(testKeys.Alive(vol1))) })
				wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d deleted=%d zone=az1 state=down", inc, deleted)})
				// What comes then is seen as it happens.
				r.quiet(time.Second)
				w.txn(putAlive(vol1, w.grant(3600)))
				r.want(Changes)
				w.txn(del(testKeys.Alive(vol1)))
				if e := r.want(Changes).Events[0]; e.Cause == nil || *e.Cause != registry.CauseDeleted {
					t.Errorf("told %v, want it to be deleted", tell([]Event{e}))
				}
			})
		})
	}
}

func TestPositionsRefused(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		newest := w.txn(putRecord(vol1))
		first := watch(t, s.Client(), Now())
		first.want(Snapshot)
		w.txn(putRecord(vol2))
		first.want(Changes)
		view := first.w.View()
		other, future := view.Clone(), view.Clone()
		other.cluster++
		future.revision = newest + 100
		w.txn(putRecord(vol2, zone("az2")))
		tests := []struct {
			name string
			from Position
			cfg  Config
			want error
		}{
			{"negative", After(-1), Config{}, ErrInvalid},
			{"next", After(newest + 3), Config{}, ErrFuture},
			{"the largest number", After(math.MaxInt64), Config{}, ErrFuture},
			{"no view", From(nil), Config{}, ErrInvalid},
			{"empty view", From(&View{}), Config{}, ErrInvalid},
			{"other prefix", From(view), Config{Prefix: "/other/"}, ErrInvalid},
			{"other selection", From(view), Config{Filter: registry.Filter{Zone: "az1"}}, ErrInvalid},
			{"other cluster", From(other), Config{}, ErrOtherCluster},
			{"future view", From(future), Config{}, ErrFuture},
		}
		for _, tt := range tests {
			r := watch(t, s.Client(), tt.from, tt.cfg)
			begin := time.Now()
			if err := r.fails(); !errors.Is(err, tt.want) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("%s: refused after %v", tt.name, took)
			}
		}
		// The newest revision itself is a good position, and revision 0 is now.
		r := watch(t, s.Client(), After(newest+2))
		if b := r.want(Bookmark); !b.Synced || b.Revision != newest+2 {
			t.Errorf("resumed at %d, synced %v", b.Revision, b.Synced)
		}
		watch(t, s.Client(), After(0)).want(Snapshot)
	})
}

func TestBusy(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, _ writer) {
		r := watch(t, s.Client(), Now())
		r.want(Snapshot)
		second := r.w.read(t, Now())
		if err := second.fails(); !errors.Is(err, ErrBusy) {
			t.Errorf("second watch: %v, want ErrBusy", err)
		}
		r.stop()
		r.w.read(t, Now()).want(Snapshot)
	})
}

func TestConfig(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
	}{
		{"prefix", Config{Prefix: "/"}},
		{"stale after", Config{StaleAfter: time.Millisecond}},
		{"negative stale after", Config{StaleAfter: -1}},
		{"bookmark interval", Config{BookmarkInterval: -1}},
		{"start timeout", Config{StartTimeout: -1}},
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, tt := range tests {
		if _, err := New(client, tt.cfg); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", tt.name, err)
		}
	}
	if _, err := New(nil, Config{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("no client: %v, want ErrInvalid", err)
	}
	if _, err := New(client, Config{}); err != nil {
		t.Errorf("zero config: %v", err)
	}
}

func TestBookmarks(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		r := watch(t, s.Client(), Now(), Config{BookmarkInterval: 5 * time.Second})
		start := r.want(Snapshot).Revision
		r.quiet(20 * time.Second) // nothing moved, so there is nothing to say
		rev := w.txn(write{key: "/elsewhere", value: []byte("x")})
		if b := r.want(Bookmark); b.Revision != rev || rev <= start || b.Synced {
			t.Errorf("bookmark at %d (synced %v), want %d", b.Revision, b.Synced, rev)
		}
		r.quiet(20 * time.Second)
		if got := r.w.View().Revision(); got != rev {
			t.Errorf("position %d, want %d", got, rev)
		}
		// A report is no event, but the position moves past it, so that compaction can't strand a quiet reader.
		w.txn(putRecord(vol1, report(1)))
		r.want(Changes)
		rev = w.txn(putRecord(vol1, report(2)))
		if b := r.want(Bookmark); b.Revision != rev {
			t.Errorf("bookmark at %d, want %d", b.Revision, rev)
		}
	})
}
