package lease

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// At any time the schedule's first lease is the one that is due first, and each lease knows its place.
func TestScheduleIsAHeap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begin := time.Now()
		var s schedule
		all := make([]*Lease, 8)
		for i := range all {
			all[i] = &Lease{heapIndex: -1}
		}
		in := make(map[*Lease]bool)
		for range rapid.IntRange(1, 60).Draw(t, "changes") {
			l := all[rapid.IntRange(0, len(all)-1).Draw(t, "lease")]
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				s.remove(l)
				delete(in, l)
			} else {
				l.due = begin.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "due")) * time.Second)
				s.fix(l)
				in[l] = true
			}
			if len(s) != len(in) {
				t.Fatalf("%d leases in the schedule, want %d", len(s), len(in))
			}
			for i, l := range s {
				if !in[l] || l.heapIndex != i {
					t.Fatalf("at %d is one that takes itself to be at %d (to be there: %v)", i, l.heapIndex, in[l])
				}
				if l.due.Before(s[0].due) {
					t.Fatalf("the first is due at %v, another one at %v", s[0].due.Sub(begin), l.due.Sub(begin))
				}
			}
			for _, l := range all {
				if !in[l] && l.heapIndex != -1 {
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
		if needs := interval(ttl) + stallLimit(ttl) + maxWait; ttl-m < needs {
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
