package schedules_test

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// draw draws a schedule.
func draw(t *rapid.T) schedule {
	s := schedule{TTL: []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second}[pick(t, "TTL", 3)], Names: 1 + pick(t, "names", 4)}
	s.Together = pick(t, "together", s.Names+1)
	s.Steps = rapid.SliceOfN(stepOf(s.TTL), 1, maxSteps).Draw(t, "steps")
	return s
}

func stepOf(ttl time.Duration) *rapid.Generator[step] {
	all := []kind{nothing} // what everything shrinks to
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		for range kinds[k] {
			all = append(all, k)
		}
	}
	// Around what matters: a moment, what a reader or a holder waits, the fence, the TTL and its multiples.
	lasts := []time.Duration{100 * time.Millisecond, time.Second, ttl / 2, ttl, ttl * 3 / 2, 3 * ttl}
	passes := []time.Duration{0, 0, 0, 20 * time.Millisecond, 300 * time.Millisecond, time.Second, ttl, 2 * ttl}
	return rapid.Custom(func(t *rapid.T) step {
		return step{
			Kind: all[pick(t, "kind", len(all))],
			Who:  pick(t, "who", 4),
			How:  pick(t, "how", 12),
			For:  lasts[pick(t, "for", len(lasts))],
			Then: passes[pick(t, "then", len(passes))],
		}
	})
}

// pick draws one of the numbers below n, each as often as the others: rapid's own integers are mostly small ones.
func pick(t *rapid.T, what string, n int) int {
	number := 0
	for _, bit := range rapid.SliceOfN(rapid.Bool(), 10, 10).Draw(t, what) {
		number <<= 1
		if bit {
			number++
		}
	}
	return number % n
}
