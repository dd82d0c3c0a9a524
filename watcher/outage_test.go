package watcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

func TestCutOff(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		c := s.NewClient()
		lease := w.grant(36000)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := watch(t, c.Client, Now())
		r.want(Snapshot)
		r.quiet(10 * time.Second)
		for range 3 { // the second time must be told like the first
			c.Cut()
			begin := time.Now()
			b := r.want(Stale)
			if took := time.Since(begin); took < 2*time.Second || took > DefaultStaleAfter {
				t.Errorf("stale told after %v, want 2s to 3s", took)
			}
			if silent := time.Since(b.Since); silent != DefaultStaleAfter || b.Reason == nil || b.Revision != inc {
				t.Errorf("stale since %v ago at %d (%v), want 3s at %d", silent, b.Revision, b.Reason, inc)
			}
			r.quiet(5 * time.Minute)
			c.Heal()
			begin = time.Now()
			r.want(Live)
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("live told %v after contact", took)
			}
			r.quiet(10 * time.Second)
		}
	})
}

func TestNothingIsLostOrInventedWhileCutOff(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		c := s.NewClient()
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease), putAlive(name(3), lease))
		r := watch(t, c.Client, Now())
		r.want(Snapshot)
		c.Cut()
		r.want(Stale)
		gone := w.txn(del(testKeys.Alive(vol1)))
		came := w.txn(putRecord(vol2), putAlive(vol2, lease))
		again := w.txn(putAlive(vol1, lease))
		r.quiet(time.Minute)
		c.Heal()
		r.want(Live)
		wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d deleted=%d zone=az1 state=down", inc, gone)})
		wantLines(t, r.events(), []string{fmt.Sprintf("up vol/n2 inc=%d zone=az1 state=up", came)})
		wantLines(t, r.events(), []string{fmt.Sprintf("up vol/n1 inc=%d zone=az1 state=up", again)})
		r.quiet(time.Minute)
	})
}

func TestShortBreakIsNotTold(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		c := s.NewClient()
		lease := w.grant(3600)
		r := watch(t, c.Client, Now())
		r.want(Snapshot)
		for i := range 20 {
			c.Break()
			rev := w.txn(putRecord(name(i)), putAlive(name(i), lease))
			wantLines(t, r.events(), []string{fmt.Sprintf("up vol/%s inc=%d zone=az1 state=up", name(i).Host, rev)})
		}
		s.Restart()
		r.quiet(time.Minute)
	})
}

func TestEtcdAwayForLong(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		// With the connection settings of a plain client, which in time waits two minutes between attempts.
		c := s.NewClient(func(cfg *clientv3.Config) {
			cfg.DialOptions = append(cfg.DialOptions, grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig}))
		})
		lease := w.grant(10)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := watch(t, c.Client, Now())
		r.want(Snapshot)
		s.Stop()
		r.want(Stale)
		r.quiet(10 * time.Minute) // far beyond the TTL: unknown is not down
		s.Start()
		begin := time.Now()
		r.want(Live)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("live %v after etcd was back, want a second at most", took)
		}
		// Its holder never renews again, so it is down after a whole TTL.
		b := r.want(Changes)
		if len(b.Events) != 1 || b.Events[0].Kind != Down || b.Events[0].Incarnation != inc {
			t.Fatalf("told %v, want one down", tell(b.Events))
		}
		if took := time.Since(begin); took < 9*time.Second {
			t.Errorf("down told %v after etcd was back, want a TTL", took)
		}
		r.quiet(time.Minute)
		c.Cut()
		if b := r.want(Stale); !errors.Is(b.Reason, errSilent) {
			t.Errorf("stale because of %v, want no trouble of the past", b.Reason)
		}
	})
}

func TestStartWhileEtcdIsAway(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		client := s.Client()
		s.Stop()
		begin := time.Now()
		bounded := watch(t, client, Now(), Config{StartTimeout: 2 * time.Second})
		if err := bounded.fails(); !errors.Is(err, ErrUnreachable) || time.Since(begin) > 2100*time.Millisecond {
			t.Errorf("got %v after %v, want ErrUnreachable after 2s", err, time.Since(begin))
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v does not say why", err)
		}
		patient := watch(t, client, Now())
		if b := patient.want(Stale); b.Reason == nil || b.Cluster != 0 || b.Revision != 0 {
			t.Errorf("%+v, want a reason and no position", b)
		}
		patient.quiet(10 * time.Minute)
		s.Start()
		patient.want(Live)
		patient.want(Snapshot)
		patient.quiet(time.Minute)
	})
}

func TestEndsPromptly(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		c := s.NewClient()
		r := watch(t, c.Client, Now())
		r.want(Snapshot)
		r.quiet(10 * time.Second)
		c.Cut()
		for _, wait := range []time.Duration{0, time.Second, 10 * time.Second} {
			time.Sleep(wait)
			begin := time.Now()
			r.stop()
			if took := time.Since(begin); took > 0 || r.err != nil {
				t.Errorf("cut off for %v: ended after %v with %v, want at once without an error", wait, took, r.err)
			}
			r = r.w.read(t, Now())
		}
		// A loop left by break ends everything too; goleak and the bubble would see the rest.
		c.Heal()
		for _, err := range r.w.Watch(t.Context(), Now()) {
			if err != nil {
				t.Error(err)
			}
			break
		}
	})
}

func TestBreakOutOfLoop(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		watcher := must(New(s.Client(), Config{}))
		for batch, err := range watcher.Watch(t.Context(), Now()) {
			if err != nil || batch.Kind != Snapshot {
				t.Fatalf("got %s, %v", batch.Kind, err)
			}
			break
		}
		if v := watcher.View(); v != nil {
			t.Errorf("a batch that was not acknowledged moved the position to %d", v.Revision())
		}
	})
}

func TestClosedClient(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		client := s.Client()
		r := watch(t, client, Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		if err := r.fails(); err == nil {
			t.Error("the watch of a closed client ended without an error")
		}
	})
}

func TestCompactedWhileCutOff(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		c := s.NewClient()
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		inc2 := w.txn(putRecord(vol2), putAlive(vol2, lease))
		r := watch(t, c.Client, Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		c.Cut()
		w.txn(del(testKeys.Alive(vol1)))
		w.txn(putRecord(vol2, ended("left", "bye", inc2)), del(testKeys.Alive(vol2)))
		back := w.txn(putRecord(vol2), putAlive(vol2, lease))
		newest := w.txn(putRecord(vol1, report(7)))
		w.compact(newest)
		r.want(Stale)
		c.Heal()
		r.want(Live)
		b := r.want(Changes)
		wantLines(t, tell(b.Events), []string{
			fmt.Sprintf("down vol/n1 inc=%d cause=lost synthetic=true zone=az1 state=down", inc),
			fmt.Sprintf("down vol/n2 inc=%d cause=lost synthetic=true zone=az1 state=down", inc2),
			fmt.Sprintf("up vol/n2 inc=%d prev=%d synthetic=true zone=az1 state=up", back, inc2),
		})
		if b.Revision != newest {
			t.Errorf("difference at %d, want %d", b.Revision, newest)
		}
		rev := w.txn(del(testKeys.Alive(vol2)))
		b = r.want(Changes)
		if e := b.Events[0]; len(b.Events) != 1 || e.Kind != Down || e.Cause == nil || b.Revision != rev {
			t.Errorf("told %v, want the stream to go on", tell(b.Events))
		}
	})
}

func TestCompactedWhileAway(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease), putAlive(name(3), lease))
		r := watch(t, s.Client(), Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		r.stop()
		saved, err := json.Marshal(r.w.View())
		if err != nil {
			t.Fatal(err)
		}
		w.txn(del(testKeys.Alive(vol1)))
		came := w.txn(putRecord(vol2), putAlive(vol2, lease))
		newest := w.txn(putRecord(vol2, report(3)))
		w.compact(newest)

		var view View
		if err := json.Unmarshal(saved, &view); err != nil {
			t.Fatal(err)
		}
		r = watch(t, s.Client(), From(&view))
		b := r.want(Changes)
		wantLines(t, tell(b.Events), []string{
			fmt.Sprintf("down vol/n1 inc=%d cause=lost synthetic=true zone=az1 state=down", inc),
			fmt.Sprintf("up vol/n2 inc=%d synthetic=true zone=az1 state=up", came),
		})
		if b := r.want(Bookmark); !b.Synced || b.Revision != newest {
			t.Errorf("start complete %v at %d, want %d", b.Synced, b.Revision, newest)
		}
		r.quiet(time.Minute)

		bare := watch(t, s.Client(), After(inc))
		if b := bare.want(Reset); !errors.Is(b.Reason, rpctypes.ErrCompacted) || b.Cluster == 0 || b.Revision != 0 {
			t.Errorf("%+v, want the reason, and no position until the snapshot", b)
		}
		if b := bare.want(Snapshot); !b.Synced || len(b.Services) != 3 || b.Revision != newest {
			t.Errorf("snapshot at %d of %d, synced %v", b.Revision, len(b.Services), b.Synced)
		}
		bare.quiet(time.Minute)
	})
}

// A reader who keeps the position of the last batch must not lose his to an etcd that is away when he resumes.
func TestStaleKeepsThePosition(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		inc := w.txn(putRecord(vol1), putAlive(vol1, w.grant(3600)))
		w.txn(del(testKeys.Alive(vol1)))
		c := s.NewClient()
		c.Cut()
		r := watch(t, c.Client, After(inc))
		if b := r.want(Stale); b.Revision != inc {
			t.Errorf("stale at %d, want %d", b.Revision, inc)
		}
		c.Heal()
		if b := r.want(Live); b.Revision != inc {
			t.Errorf("live at %d, want %d", b.Revision, inc)
		}
		wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d deleted=%d zone=az1 state=down", inc, inc+1)})
	})
}

func TestResumeFromViewReplays(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := watch(t, s.Client(), Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		view := r.w.View()
		r.stop()
		left := w.txn(putRecord(vol1, ended("left", "bye", inc)), del(testKeys.Alive(vol1)))
		back := w.txn(putRecord(vol1), putAlive(vol1, lease))
		for range 2 { // the view is not used up
			r = watch(t, s.Client(), From(view))
			wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d cause=left reason=bye deleted=%d zone=az1 state=down", inc, left)})
			wantLines(t, r.events(), []string{fmt.Sprintf("up vol/n1 inc=%d prev=%d zone=az1 state=up", back, inc)})
			if b := r.want(Bookmark); !b.Synced || b.Revision != back {
				t.Errorf("start complete %v at %d, want %d", b.Synced, b.Revision, back)
			}
			r.stop()
		}
	})
}

func TestFarBehindIsCompared(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := watch(t, s.Client(), Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		view := r.w.View()
		r.stop()
		w.txn(del(testKeys.Alive(vol1)))
		var newest int64
		for newest <= inc+101 {
			newest = w.txn(write{key: "/elsewhere", value: []byte("x")})
		}
		for _, from := range []Position{From(view), After(inc)} {
			watcher := must(New(s.Client(), Config{}))
			watcher.limits.replay = 100
			r = watcher.read(t, from)
			wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d cause=lost synthetic=true zone=az1 state=down", inc)})
			if b := r.want(Bookmark); !b.Synced || b.Revision != newest {
				t.Errorf("start complete %v at %d, want %d", b.Synced, b.Revision, newest)
			}
			r.stop()
		}
	})
}

func TestSlowReader(t *testing.T) {
	const n = 1000 // far more than fits
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(36000)
		watcher := must(New(s.Client(), Config{}))
		watcher.limits.events = 400
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		session := newSession(watcher)
		done := make(chan struct{})
		go func() { defer close(done); session.run(ctx, Now()) }()
		first, err := session.queue.next(ctx)
		if err != nil || first.batch.Kind != Snapshot {
			t.Fatalf("%s, %v", first.batch.Kind, err)
		}
		for i := range n {
			w.txn(putAlive(name(i), lease))
		}
		time.Sleep(time.Minute)
		q := session.queue
		q.mu.Lock()
		waiting, bytes, paused := q.events, q.bytes, q.paused
		q.mu.Unlock()
		if waiting < 400 || waiting > 402 || !paused {
			t.Errorf("%d events and %d bytes wait for the reader (paused: %v), want 400 events", waiting, bytes, paused)
		}
		for i := range n {
			it, err := q.next(ctx)
			if err != nil || it.batch.Kind != Changes || it.batch.Events[0].Name != name(i) || it.batch.Events[0].Synthetic {
				t.Fatalf("batch %d: %s %v, %v", i, it.batch.Kind, tell(it.batch.Events), err)
			}
		}
		time.Sleep(time.Minute)
		if !q.empty() {
			t.Error("more came than was written")
		}
		cancel()
		<-done
	})
}

// Whatever goes wrong again and again, a reader that takes nothing costs no more.
func TestNoAttemptForASlowReader(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, _ writer) {
		watcher := must(New(s.Client(), Config{}))
		watcher.limits.events = 2
		session := newSession(watcher)
		for range 3 {
			if err := session.begin(t.Context(), Now()); err != nil {
				t.Fatal(err)
			}
		}
		if err := session.attempt(t.Context()); !errors.Is(err, errSlow) {
			t.Errorf("attempt with a full queue: %v, want errSlow", err)
		}
	})
}

func TestSlowReaderIsNotStale(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(36000)
		watcher := must(New(s.Client(), Config{}))
		watcher.limits.bytes = 10_000
		r := watcher.read(t, Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		const n = 500
		for i := range n {
			w.txn(putAlive(name(i), lease))
		}
		time.Sleep(10 * time.Minute)
		for i := range n {
			if b := r.want(Changes); b.Events[0].Name != name(i) {
				t.Fatalf("batch %d: %v", i, tell(b.Events))
			}
		}
		r.quiet(time.Minute)
	})
}

func TestOtherClusterAnswers(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		w.txn(putRecord(vol1))
		client := s.Client()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		session := newSession(must(New(client, Config{})))
		if err := session.begin(ctx, Now()); err != nil {
			t.Fatal(err)
		}
		session.head.cluster++
		if err := session.attempt(ctx); !errors.Is(err, errStrange) {
			t.Errorf("attempt: %v, want errStrange", err)
		}
		for _, want := range []BatchKind{Snapshot, Reset, Snapshot} {
			if it, err := session.queue.next(ctx); err != nil || it.batch.Kind != want {
				t.Errorf("got %s, %v; want %s", it.batch.Kind, err, want)
			}
		}
	})
}

func TestAuth(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		auth(t, w.c)
		as := func(user string) *etcdtest.Client {
			return s.NewClient(func(cfg *clientv3.Config) { cfg.Username, cfg.Password = user, "pw" })
		}
		root := writer{t, as("root").Client}
		denied := watch(t, as("nobody").Client, Now())
		if err := denied.fails(); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("without rights: %v, want permission denied", err)
		}
		if err := watch(t, s.Client(), Now()).fails(); !errors.Is(err, rpctypes.ErrUserEmpty) {
			t.Errorf("no user: %v, want user name is empty", err)
		}

		// A token lives for five minutes; a watch that comes back after longer must still be let in.
		c := as("reader")
		r := watch(t, c.Client, Now())
		r.want(Snapshot)
		r.quiet(time.Second)
		c.Cut()
		r.want(Stale)
		r.quiet(10 * time.Minute)
		rev := root.txn(putRecord(vol1))
		c.Heal()
		r.want(Live)
		if b := r.want(Changes); b.Revision != rev {
			t.Errorf("told %v at %d, want revision %d", tell(b.Events), b.Revision, rev)
		}

		// Rights that are taken from a running watch may be given back.
		revoke := func() error {
			_, err := root.c.UserRevokeRole(t.Context(), "reader", "reads")
			return err
		}
		if err := revoke(); err != nil {
			t.Fatal(err)
		}
		c.Break()
		if b := r.want(Stale); !errors.Is(b.Reason, rpctypes.ErrPermissionDenied) {
			t.Errorf("stale because of %v, want permission denied", b.Reason)
		}
		if _, err := root.c.UserGrantRole(t.Context(), "reader", "reads"); err != nil {
			t.Fatal(err)
		}
		r.want(Live)
	})
}

func auth(t *testing.T, c *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	try := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(c.RoleAdd(ctx, "root"))
	try(c.RoleAdd(ctx, "reads"))
	try(c.RoleGrantPermission(ctx, "reads", "/hb/", clientv3.GetPrefixRangeEnd("/hb/"), clientv3.PermissionType(clientv3.PermRead)))
	for user, role := range map[string]string{"root": "root", "reader": "reads", "nobody": ""} {
		try(c.UserAdd(ctx, user, "pw"))
		if role != "" {
			try(c.UserGrantRole(ctx, user, role))
		}
	}
	try(c.AuthEnable(ctx))
}

// A frozen member must be given up soon, and a slow cluster reached at all: calls get more time with each failure.
func TestPatienceGrows(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, _ writer) {
		session := newSession(must(New(s.Client(), Config{})))
		begin, tries := time.Now(), 0
		err := session.retry(t.Context(), func() error {
			if tries++; tries < 20 {
				return errSilent
			}
			return nil
		}, fatal)
		if err != nil || session.patience != maxPatience {
			t.Errorf("after %d failures: %v and a patience of %v, want %v", tries, err, session.patience, maxPatience)
		}
		if took := time.Since(begin); took > 20*500*time.Millisecond {
			t.Errorf("waited %v in all, want half a second between two tries at most", took)
		}
		if session.healthy(); session.patience != minPatience {
			t.Errorf("patience stays at %v", session.patience)
		}
	})
}
