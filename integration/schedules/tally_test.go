package schedules_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// A tally counts what happened in all schedules: what never happens proves nothing.
type tally struct {
	mu       sync.Mutex
	counts   map[string]int
	numbers  int
	smallest time.Duration // of what a fence was ahead of its expiry
	fenced   bool
}

func newTally() *tally { return &tally{counts: make(map[string]int)} }

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

// next gives a number that no other call gets.
func (t *tally) next() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.numbers++
	return t.numbers
}

// lead notes by how much a holder knew of its end before it came.
func (t *tally) lead(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.fenced || d < t.smallest {
		t.smallest, t.fenced = d, true
	}
}

// wanted is all that a run must have contained.
func wanted() []string {
	all := []string{
		"ended: expired", "ended: operated", "ended: announced", "ended: replaced", "put back",
		"holder fenced", "holder trusted", "holder replaced", "holder evicted", "holder lost", "conflict refused", "conflict with a live one", "registered later", "taken over",
		"told stale", "told live", "reset", "synthetic", "resumed from " + fromView, "resumed from " + fromRevision,
		"suspect", "cleared", "confirmed", "compared with a list",
		"down expired", "down deleted", "down left", "down failed", "down evicted", "down replaced", "down forced", "down lost", "down ",
	}
	for k := range kinds {
		all = append(all, string(k))
	}
	slices.Sort(all)
	return all
}

// missing gives what did not happen.
func (t *tally) missing() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var missing []string
	for _, what := range wanted() {
		if t.counts[what] == 0 {
			missing = append(missing, what)
		}
	}
	return missing
}

// String gives all counts.
func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(&b, "%8d %s\n", t.counts[what], what)
	}
	fmt.Fprintf(&b, "smallest lead of a fence over its expiry: %v\n", t.smallest)
	return b.String()
}
