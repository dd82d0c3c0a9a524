package history

import (
	"testing"
	"time"
)

// A history in which every promise is kept passes, whatever happened in it.
func TestGoodHistoriesPass(t *testing.T) {
	var sum Counts
	for seed := range uint64(60) {
		report := Check(goodHistory(seed, 90*time.Second), Options{Required: Invariants()[1:]})
		if report.Verdict == Fail {
			t.Fatalf("seed %d:\n%s", seed, report)
		}
		sum.Add(report.Counts)
		if seed == 0 {
			t.Logf("seed 0:\n%s", report)
		}
	}
	for _, n := range sum.List() {
		if n.N == 0 {
			t.Errorf("the histories contained no %s", n.What)
		}
	}
	t.Logf("contained: %s", sum)
}

// What etcd deletes when a frozen leader wakes is no late fence of a holder that was frozen before, and has been told since that
// its lease lives. Of one that was not told, it is.
func TestTrustedSinceItWoke(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		s := start()
		s.inject(4, Stopped, Record{Target: "holder"})
		s.inject(6, Stopped, Record{Target: "etcd0"})
		s.inject(8, Resumed, Record{Target: "holder"})
		s.add(8.01, "holder", Record{Kind: Fenced, Name: svc, Incarnation: 1})
		if trusted {
			s.add(8.1, "holder", Record{Kind: Trusted, Name: svc, Incarnation: 1})
		}
		s.inject(8.6, Resumed, Record{Target: "etcd0"})
		s.gone(8.7)
		if trusted {
			s.add(8.705, "holder", Record{Kind: Valid, Name: svc, Incarnation: 1, Yes: true}) // it can't know yet
		}
		s.tell(8.71, "a", "down", 1, "expired")
		s.add(8.72, "holder", Record{Kind: Lost, Name: svc, Incarnation: 1})
		s.up(8.8, "abc")
		s.tell(8.81, "a", "up", s.revision, "")
		s.until(9)
		report := Check(s.records, Options{})
		if trusted && report.Verdict != Pass {
			t.Errorf("etcd's own false delete does not pass:\n%s", report)
		}
		if !trusted && report.Of(FencedFirst).Checked == 0 {
			t.Errorf("that a holder was fenced before it is told down was not judged:\n%s", report)
		}
	}
}
