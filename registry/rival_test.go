package registry

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A model of a lease in etcd's leader. Renew and remaining are what LeaseRenew and LeaseTimeToLive do: the answer is cut to
// whole seconds, towards zero, and a lease that ran out stays for a while, with less and less than nothing left.
type leaseModel struct {
	ttl    time.Duration
	expiry time.Time
}

func (l *leaseModel) renew(at time.Time)           { l.expiry = at.Add(l.ttl) }
func (l *leaseModel) remaining(at time.Time) int64 { return int64(l.expiry.Sub(at).Seconds()) }

// question is one question to etcd: asked, handled by the leader and answered at these times after the beginning.
func (l *leaseModel) question(asked, handled, answered time.Time) leaseAnswer {
	return leaseAnswer{asked: asked, answered: answered, term: 3, granted: int64(l.ttl / time.Second), remaining: l.remaining(handled)}
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A wrong "it is alive" would keep a service from ever starting, so a lease that nobody renews must never be called renewed,
// however the seconds are cut and however long an answer takes.
func TestLeaseLeftAloneIsNeverCalledRenewed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := leaseModel{ttl: time.Duration(rapid.Int64Range(2, 3600).Draw(t, "ttl")) * time.Second}
		// Coarse steps make it likely that times meet the seconds at which an answer is cut.
		step := rapid.SampledFrom([]time.Duration{1, time.Millisecond, 100 * time.Millisecond}).Draw(t, "step")
		upTo := func(limit time.Duration, what string) time.Duration {
			return step * time.Duration(rapid.Int64Range(0, int64(limit/step)).Draw(t, what))
		}
		now := epoch
		l.expiry = now.Add(l.ttl - upTo(l.ttl+2*time.Second, "age"))
		v := &rival{}
		for range rapid.IntRange(2, 30).Draw(t, "questions") {
			asked := now
			handled := asked.Add(upTo(500*time.Millisecond, "way"))
			answered := handled.Add(upTo(500*time.Millisecond, "way back"))
			if a := l.question(asked, handled, answered); v.renewed(a) {
				t.Fatalf("called renewed with %ds left, %v before it runs out; at first at most %v were left, %v ago",
					a.remaining, l.expiry.Sub(handled), v.remaining, asked.Sub(v.at))
			}
			now = answered.Add(upTo(l.ttl/2, "pause"))
		}
	})
}

// The first answer was on its way for long: what was left is what was left when it came, not when it was asked for.
func TestSlowFirstAnswerProvesNothing(t *testing.T) {
	l := leaseModel{ttl: 10 * time.Second, expiry: epoch.Add(6400 * time.Millisecond)}
	v := &rival{}
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	for _, a := range []leaseAnswer{l.question(at(0), at(500), at(500)), l.question(at(1400), at(1400), at(1900))} {
		if v.renewed(a) {
			t.Errorf("called renewed with %ds left", a.remaining)
		}
	}
}

// One that is renewed every quarter of its TTL is found out within half of it, so that a second start fails soon.
func TestRenewedLeaseIsFoundOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := leaseModel{ttl: time.Duration(rapid.Int64Range(2, 3600).Draw(t, "ttl")) * time.Second}
		const step = time.Millisecond
		way := time.Duration(rapid.Int64Range(1, 20).Draw(t, "way")) * step
		next := epoch.Add(-time.Duration(rapid.Int64Range(1, int64(l.ttl/4)-1).Draw(t, "renewed before")))
		l.renew(next)
		v := &rival{}
		limit := l.ttl/2 + rivalInterval + 2*way
		for now := epoch; ; now = now.Add(rivalInterval + 2*way) {
			for handled := now.Add(way); !next.After(handled); next = next.Add(l.ttl / 4) {
				l.renew(next)
			}
			if v.renewed(l.question(now, now.Add(way), now.Add(2*way))) {
				return
			}
			if since := now.Sub(epoch); since > limit {
				t.Fatalf("not found out within %v at a TTL of %v", since, l.ttl)
			}
		}
	})
}

// A new leader gives every lease its full TTL again, which proves no renewal: the measure is taken anew.
func TestNewLeaderProvesNoRenewal(t *testing.T) {
	l := leaseModel{ttl: 10 * time.Second}
	l.renew(epoch)
	at := func(d time.Duration, term uint64) leaseAnswer {
		a := l.question(epoch.Add(d), epoch.Add(d), epoch.Add(d))
		a.term = term
		return a
	}
	v := &rival{}
	for _, a := range []leaseAnswer{at(5*time.Second, 3), at(6*time.Second, 3)} {
		if v.renewed(a) {
			t.Fatal("called renewed while it was left alone")
		}
	}
	l.renew(epoch.Add(7 * time.Second)) // the new leader
	for d := 7 * time.Second; d < 17*time.Second; d += rivalInterval {
		if v.renewed(at(d, 4)) {
			t.Fatalf("called renewed %v after a change of leader", d-7*time.Second)
		}
	}
	l.renew(epoch.Add(17 * time.Second))
	if !v.renewed(at(17*time.Second, 4)) {
		t.Error("not called renewed although it was")
	}
}
