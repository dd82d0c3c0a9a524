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
