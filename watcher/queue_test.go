package watcher

import (
	"testing"

	"pgregory.net/rapid"
)

// A queue hands everything over once and in order, however puts and takes come, and however long it is never empty; what it keeps
// room for does not grow with what has gone through it.
func TestQueueKeepsOrderAndSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(DefaultStaleAfter, defaultLimits)
		put, took, longest := int64(0), int64(0), 0
		take := func() {
			it, found, _, err := q.take()
			if took++; err != nil || !found || it.batch.Revision != took {
				t.Fatalf("took %d (%v, %v), want %d", it.batch.Revision, found, err, took)
			}
		}
		for _, puts := range rapid.SliceOfN(rapid.IntRange(0, 9), 1, 300).Draw(t, "puts before each take") {
			for range puts {
				put++
				q.put(item{batch: Batch{Revision: put}})
			}
			longest = max(longest, int(put-took))
			if took < put {
				take()
			}
		}
		for took < put {
			take()
		}
		if _, found, _, _ := q.take(); found || !q.empty() {
			t.Fatal("there is more than was put")
		}
		for range 1000 { // always one behind
			put++
			q.put(item{batch: Batch{Revision: put}})
			if put-took > 1 {
				take()
			}
		}
		if room := cap(q.items); room > 4*max(longest, keptItems) {
			t.Fatalf("room for %d, of %d at most", room, longest)
		}
	})
}
