package lease_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/lease"
)

// rig is a real etcd in fake time with one renewer on a client of its own.
type rig struct {
	server  *etcdtest.FakeServer
	client  *clientv3.Client // of the test itself
	holder  *etcdtest.Client
	renewer *lease.Renewer
	suspend atomic.Int64 // nanoseconds that CLOCK_BOOTTIME is ahead

	mu      sync.Mutex
	events  []lease.Event
	onEvent func(lease.Event) // if set, is told each too
}

// inFakeTime runs the test in a bubble.
func inFakeTime(t *testing.T, test func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{server: etcdtest.Fake(t)}
		r.holder = r.server.NewClient()
		r.client = r.server.Client()
		r.start(t)
		test(t, r)
	})
}

// start makes the renewer on the holder's client and runs it until the end of the test.
func (r *rig) start(t *testing.T) {
	begin := time.Now()
	r.renewer = lease.New(r.holder.Client, lease.Config{
		OnEvent: func(e lease.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
			if r.onEvent != nil {
				r.onEvent(e)
			}
		},
		Boottime: func() time.Duration { return time.Since(begin) + time.Duration(r.suspend.Load()) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.renewer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want context.Canceled", err)
		}
	})
	synctest.Wait()
}

func (r *rig) grant(t *testing.T, ttl time.Duration) *lease.Lease {
	t.Helper()
	l, err := r.renewer.Grant(t.Context(), ttl)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (r *rig) count(kind lease.EventKind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// last gives the newest event of the kind.
func (r *rig) last(t *testing.T, kind lease.EventKind) lease.Event {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.events) - 1; i >= 0; i-- {
		if r.events[i].Kind == kind {
			return r.events[i]
		}
	}
	t.Fatalf("no %v event among %d", kind, len(r.events))
	return lease.Event{}
}

// wait lets fake time pass until the condition holds.
func wait(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// gone asks etcd, not the renewer.
func (r *rig) gone(t *testing.T, l *lease.Lease) bool {
	t.Helper()
	resp, err := r.client.TimeToLive(t.Context(), l.ID())
	if err != nil {
		t.Fatal(err)
	}
	return resp.GrantedTTL == 0
}

func TestLeaseIsHeld(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		short, long := r.grant(t, 2*time.Second), r.grant(t, 10*time.Second)
		time.Sleep(10 * time.Minute)
		for _, l := range []*lease.Lease{short, long} {
			if !l.Valid() || l.Trusted().Err() != nil || r.gone(t, l) {
				t.Errorf("lease with TTL %v is not held after 10m", l.TTL())
			}
			s := l.Stats()
			if s.Fences != 0 || s.LongestGap > l.TTL()/3 {
				t.Errorf("TTL %v: %+v", l.TTL(), s)
			}
			// Every quarter of the TTL, shortened by up to a tenth.
			if least, most := int64(10*time.Minute/(l.TTL()/4)), int64(10*time.Minute/(l.TTL()/4*9/10)); s.Renewals < least-1 || s.Renewals > most+2 {
				t.Errorf("TTL %v: %d renewals, want %d to %d", l.TTL(), s.Renewals, least, most)
			}
		}
		if n := r.count(lease.Stalled) + r.count(lease.Reopening); n != 0 {
			t.Errorf("%d streams were given up on a quiet network", n)
		}
	})
}

func TestFenceComesBeforeExpiry(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 5 * time.Second, 10 * time.Second} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			l := r.grant(t, ttl)
			time.Sleep(7*time.Second + 137*time.Millisecond)
			trusted := l.Trusted()
			r.holder.Gate.Cut()
			wait(t, ttl, "fenced", func() bool { return trusted.Err() != nil })
			if l.Valid() || !l.Expires().IsZero() {
				t.Error("Valid after the trusted period ended")
			}
			if !errors.Is(context.Cause(trusted), lease.ErrFenced) {
				t.Errorf("cause %v, want ErrFenced", context.Cause(trusted))
			}
			if r.gone(t, l) {
				t.Error("etcd has expired the lease before the holder was fenced")
			}
			fenced := time.Now()
			wait(t, 2*ttl, "expired in etcd", func() bool { return r.gone(t, l) })
			if lead := time.Since(fenced); lead < 200*time.Millisecond {
				t.Errorf("fenced only %v before the expiry", lead)
			}
			r.holder.Gate.Heal()
			wait(t, 3*time.Second, "gone", func() bool { return r.count(lease.LeaseGone) == 1 })
			<-l.Gone()
		})
	}
}

// A lease that outlived an outage is the same lease, but only a holder that has read back its keys may trust it again.
func TestRestoreAfterOutage(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.grant(t, 5*time.Second)
		r.server.Stop()
		wait(t, 5*time.Second, "fenced", func() bool { return r.count(lease.Fenced) == 1 })
		time.Sleep(time.Minute)
		r.server.Start()
		back := time.Now()
		wait(t, 2*time.Second, "answered", func() bool { return r.count(lease.Answered) > 0 })
		t.Logf("answered %v after etcd was back", time.Since(back))
		if l.Valid() || l.Trusted().Err() == nil {
			t.Error("trusted before the keys were read back")
		}
		e := r.last(t, lease.Answered)
		if l.Restore(e.Fence-1) || l.Valid() {
			t.Error("restored by a read from before the fence")
		}
		if !l.Restore(e.Fence) || !l.Valid() || l.Trusted().Err() != nil {
			t.Error("not trusted after the keys were read back")
		}
		time.Sleep(time.Minute)
		if !l.Valid() || r.count(lease.LeaseGone) != 0 || r.count(lease.Fenced) != 1 {
			t.Error("the lease was not held after the outage")
		}
	})
}

// Go's clock stands still in suspend: by it alone the holder would wake with a lease that seems fresh.
func TestSuspendFences(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.grant(t, 10*time.Second)
		time.Sleep(time.Minute)
		trusted := l.Trusted()
		r.suspend.Store(int64(time.Hour))
		if l.Valid() || !l.Expires().IsZero() {
			t.Error("Valid right after a suspend of an hour")
		}
		wait(t, 2*time.Second, "the trusted period ended", func() bool { return trusted.Err() != nil })
		if l.Valid() {
			t.Error("Valid again without a read-back")
		}
	})
}

// Whoever wakes from a suspend to the word that the lease is gone was fenced before, and is told so first.
func TestFencedBeforeGone(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.grant(t, 10*time.Second)
		if _, err := r.client.Revoke(t.Context(), l.ID()); err != nil {
			t.Fatal(err)
		}
		r.holder.Gate.CutAnswers()
		time.Sleep(2900 * time.Millisecond) // the renewal is on its way, and not given up yet
		r.suspend.Store(int64(time.Hour))
		r.holder.Gate.Heal()
		wait(t, 2*time.Second, "gone", func() bool { return r.count(lease.LeaseGone) == 1 })
		r.mu.Lock()
		defer r.mu.Unlock()
		var kinds []lease.EventKind
		for _, e := range r.events {
			if e.Lease == l {
				kinds = append(kinds, e.Kind)
			}
		}
		if want := []lease.EventKind{lease.Fenced, lease.LeaseGone}; !slices.Equal(kinds, want) {
			t.Errorf("told %v, want %v", kinds, want)
		}
	})
}

func TestFencesSeesOneThatIsPassed(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.grant(t, 10*time.Second)
		if n := l.Fences(); n != 0 || r.count(lease.Fenced) != 0 {
			t.Errorf("%d fences, %d told, of a lease that is renewed", n, r.count(lease.Fenced))
		}
		r.suspend.Store(int64(time.Hour))
		if n, again := l.Fences(), l.Fences(); n != 1 || again != 1 || r.count(lease.Fenced) != 1 {
			t.Errorf("%d fences, then %d, %d told, after a suspend", n, again, r.count(lease.Fenced))
		}
	})
}

func TestRevokeElsewhere(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l, other := r.grant(t, 10*time.Second), r.grant(t, 10*time.Second)
		trusted := l.Trusted()
		if _, err := r.client.Revoke(t.Context(), l.ID()); err != nil {
			t.Fatal(err)
		}
		wait(t, 3*time.Second, "gone", func() bool { return r.count(lease.LeaseGone) == 1 })
		if l.Valid() || !errors.Is(context.Cause(trusted), lease.ErrGone) {
			t.Errorf("Valid %v, cause %v", l.Valid(), context.Cause(trusted))
		}
		time.Sleep(time.Minute)
		if !other.Valid() || r.count(lease.Fenced) != 0 {
			t.Error("the other lease on the stream was hurt")
		}
	})
}

// A renewal of an expired lease blocks its stream until the revoke is done, so it must never be sent on the shared one.
func TestExpiredLeasesDoNotHoldUpOthers(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		var doomed []*lease.Lease
		for range 200 {
			doomed = append(doomed, r.grant(t, 2*time.Second))
		}
		healthy := r.grant(t, 10*time.Second)
		r.holder.Gate.Cut()
		time.Sleep(2600 * time.Millisecond)
		r.holder.Gate.Break()
		r.holder.Gate.Heal()
		wait(t, 10*time.Second, "all doomed are gone or held again", func() bool {
			for _, l := range doomed {
				select {
				case <-l.Gone():
				default:
					if l.Stats().Fences == 0 {
						return false
					}
				}
			}
			return true
		})
		time.Sleep(20 * time.Second)
		if !healthy.Valid() || healthy.Stats().Fences != 0 {
			t.Errorf("the healthy lease was hurt: %+v", healthy.Stats())
		}
	})
}

func TestStallReopensTheStream(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		l := r.grant(t, 10*time.Second)
		r.holder.Gate.CutAnswers()
		wait(t, 5*time.Second, "stalled", func() bool { return r.count(lease.Stalled) > 0 })
		if by := r.last(t, lease.Stalled).By; by < 900*time.Millisecond || by > 1200*time.Millisecond {
			t.Errorf("stalled after %v, want about 1s", by)
		}
		r.holder.Gate.Heal()
		time.Sleep(time.Minute)
		if !l.Valid() || l.Stats().Fences != 0 {
			t.Errorf("the lease was lost over a stall: %+v", l.Stats())
		}
	})
}

func TestGrantAfterLostAnswer(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.grant(t, 10*time.Second) // the connection is there
		r.holder.Gate.CutAnswers()
		time.AfterFunc(2500*time.Millisecond, r.holder.Gate.Heal)
		l := r.grant(t, 10*time.Second)
		resp, err := r.client.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Leases) != 2 {
			t.Errorf("%d leases, want 2: a try after a lost answer must not leave a second one behind", len(resp.Leases))
		}
		if left := time.Until(l.Expires()); left > 7*time.Second {
			t.Errorf("trusted for another %v; it must count from the first try", left)
		}
	})
}

func TestRevokeAndDrop(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		revoked, dropped := r.grant(t, 5*time.Second), r.grant(t, 5*time.Second)
		if err := r.renewer.Revoke(t.Context(), revoked); err != nil {
			t.Fatal(err)
		}
		if !r.gone(t, revoked) || revoked.Valid() {
			t.Error("the revoked lease lives")
		}
		if err := r.renewer.Revoke(t.Context(), revoked); err != nil {
			t.Errorf("revoking twice: %v", err)
		}
		r.renewer.Drop(dropped)
		if dropped.Valid() {
			t.Error("a dropped lease is Valid")
		}
		wait(t, 6*time.Second, "the dropped lease ran out", func() bool { return r.gone(t, dropped) })
	})
}

func TestGrantRefusals(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		for _, ttl := range []time.Duration{-5 * time.Second, 0, time.Second, 1500 * time.Millisecond, 2 * time.Hour} {
			if _, err := r.renewer.Grant(t.Context(), ttl); !errors.Is(err, lease.ErrInvalid) {
				t.Errorf("TTL %v: %v, want ErrInvalid", ttl, err)
			}
		}
		if err := r.renewer.Run(t.Context()); !errors.Is(err, lease.ErrStarted) {
			t.Errorf("second Run: %v, want ErrStarted", err)
		}
		r.server.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := r.renewer.Grant(ctx, 2*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without etcd: %v, want DeadlineExceeded", err)
		}
		r.server.Start()
	})
}

var _ lease.Client = (*clientv3.Client)(nil)
