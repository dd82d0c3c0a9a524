package lease

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// At any time the schedule's first lease is the one that is due first, and each lease knows its place.
func TestScheduleIsAHeap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s schedule
		all := make([]*Lease, 24)
		for i := range all {
			all[i] = &Lease{heapIndex: -1}
		}
		in := make(map[*Lease]time.Duration)
		for range rapid.IntRange(1, 200).Draw(t, "changes") {
			l := all[rapid.IntRange(0, len(all)-1).Draw(t, "lease")]
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				s.remove(l)
				delete(in, l)
			} else {
				in[l] = time.Duration(rapid.IntRange(0, 20).Draw(t, "due")) * time.Second
				s.set(l, in[l])
			}
			if len(s) != len(in) {
				t.Fatalf("%d leases in the schedule, want %d", len(s), len(in))
			}
			for i, e := range s {
				if due, isIn := in[e.lease]; !isIn || e.due != due || e.lease.heapIndex != i {
					t.Fatalf("at %d is one, due at %v, that takes itself to be at %d (to be there: %v, due at %v)", i, e.due, e.lease.heapIndex, isIn, due)
				}
				if e.due < s[0].due {
					t.Fatalf("the first is due at %v, another one at %v", s[0].due, e.due)
				}
			}
			for _, l := range all {
				if _, isIn := in[l]; !isIn && l.heapIndex != -1 {
					t.Fatal("a lease that is not in the schedule takes itself to be there")
				}
			}
		}
	})
}

// For every TTL: the fence comes before etcd can expire the lease, and between two renewals there is room for a stall.
func TestFenceArithmetic(t *testing.T) {
	for ttl := MinTTL; ttl <= MaxTTL; ttl += time.Second {
		m := margin(ttl)
		if m < 250*time.Millisecond || m < ttl/10 || m > ttl/4 {
			t.Fatalf("TTL %v: margin %v", ttl, m)
		}
		if needs := interval(ttl) + max(stallLimit(ttl), interval(ttl)) + maxWait; ttl-m < needs {
			t.Fatalf("TTL %v: the fence after %v leaves no second try, which needs %v", ttl, ttl-m, needs)
		}
		if stall := stallLimit(ttl); stall < 500*time.Millisecond || stall > time.Second {
			t.Fatalf("TTL %v: a stall of %v", ttl, stall)
		}
	}
}

// Whatever the two clocks do, what is left is what the stricter one leaves, it only shrinks, and a suspend takes from it.
func TestTimeLeftByTheStricterClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		drawn := func(what string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(2*MaxTTL)).Draw(t, what))
		}
		start := instant{mono: time.Now(), boot: drawn("uptime")}
		ttl := drawn("ttl")
		fence := start.add(ttl - margin(ttl))
		ran, slept := drawn("ran"), drawn("slept")
		now := instant{mono: start.mono.Add(ran), boot: start.boot + ran + slept}
		left := now.until(fence)
		if want := ttl - margin(ttl) - ran - slept; left != want {
			t.Fatalf("%v left, want %v", left, want)
		}
		if now.skew(start) != slept {
			t.Fatalf("skew %v, want %v", now.skew(start), slept)
		}
		if at := now.when(fence); at.Sub(now.mono) != left {
			t.Fatalf("due in %v, want %v", at.Sub(now.mono), left)
		}
		if later := now.add(drawn("later")); later.until(fence) > left {
			t.Fatalf("more is left later: %v, before %v", later.until(fence), left)
		}
		// A clock that lags behind the other, as CLOCK_BOOTTIME never does, must not give more either.
		lagging := instant{mono: now.mono, boot: start.boot}
		if got := lagging.until(fence); got > fence.mono.Sub(now.mono) {
			t.Fatalf("%v left, the monotonic clock leaves %v", got, fence.mono.Sub(now.mono))
		}
	})
}

// Waits grow, and never above what an outage may cost.
func TestAttemptDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		failures := rapid.IntRange(1, 1<<30).Draw(t, "failures")
		if d := attemptDelay(failures); d < firstWait/2 || d > maxWait {
			t.Fatalf("%v after %d failures", d, failures)
		}
	})
}

// A renewal may go a little early, to go together with others. Nothing else may: a fence that comes early ends a period for
// nothing, and an attempt that does is more load on an etcd in trouble.
func TestOnlyRenewalsGoEarly(t *testing.T) {
	const ttl = 10 * time.Second
	now := time.Minute
	for _, c := range []struct {
		what        string
		due         time.Duration
		place       place
		outstanding bool
		noStream    bool
		want        bool
	}{
		{what: "its time has come", due: now, want: true},
		{what: "its time is over", due: now - time.Second, outstanding: true, want: true},
		{what: "a renewal within what is gathered", due: now + gather(ttl), want: true},
		{what: "a renewal after it", due: now + gather(ttl) + 1},
		{what: "a fence, the renewal being under way", due: now + 1, outstanding: true},
		{what: "a fence, without a stream", due: now + 1, noStream: true},
		{what: "an attempt outside of the stream", due: now + 1, place: alone},
		{what: "the fence of one that is being tried", due: now + 1, place: trying},
	} {
		l := &Lease{place: c.place, outstanding: c.outstanding}
		l.granted.Store(int64(ttl))
		r := &Renewer{stream: &stream{}}
		if c.noStream {
			r.stream = nil
		}
		if got := r.isDue(entry{due: c.due, lease: l}, now); got != c.want {
			t.Errorf("%s: due is %v", c.what, got)
		}
	}
	if g := gather(MinTTL); g <= 0 || g > interval(MinTTL)/50 {
		t.Errorf("at TTL %v renewals go up to %v early", MinTTL, g)
	}
	if g := gather(MaxTTL); g > 50*time.Millisecond {
		t.Errorf("at TTL %v renewals go up to %v early", MaxTTL, g)
	}
}

// A stream is dead when it says nothing, and not when it is late: what waits in line is answered in turn.
func TestStall(t *testing.T) {
	sent := instant{mono: time.Now()}
	never := time.Time{}.Sub(sent.mono)
	for _, c := range []struct {
		what       string
		ttl        time.Duration
		heard      time.Duration // after the sending
		wantToLast time.Duration // after the sending
	}{
		{what: "nothing was ever heard", ttl: 30 * time.Second, heard: never, wantToLast: time.Second},
		{what: "the last answer came before", ttl: 30 * time.Second, heard: -time.Minute, wantToLast: time.Second},
		{what: "answers come", ttl: 30 * time.Second, heard: 900 * time.Millisecond, wantToLast: 1900 * time.Millisecond},
		{what: "answers come for too long", ttl: 30 * time.Second, heard: 7 * time.Second, wantToLast: 7500 * time.Millisecond},
		{what: "answers come, and there is no time to lose", ttl: MinTTL, heard: 400 * time.Millisecond, wantToLast: 500 * time.Millisecond},
	} {
		l := &Lease{}
		l.granted.Store(int64(c.ttl))
		s := &stream{pending: []renewal{{lease: l, sent: sent}}, heard: sent.mono.Add(c.heard)}
		if c.heard == never {
			s.heard = time.Time{}
		}
		at, ok := s.stallsAt()
		if got := at.Sub(sent.mono); !ok || got != c.wantToLast {
			t.Errorf("%s, TTL %v: a stall after %v, want %v", c.what, c.ttl, got, c.wantToLast)
		}
	}
	if _, ok := new(stream).stallsAt(); ok {
		t.Error("a stream on which nothing is open stalls")
	}
}
