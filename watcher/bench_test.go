package watcher

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// crowd fills a store with n live instances as a registry writes them, 1,000 to a lease.
func crowd(n int) *store {
	s := newStore()
	for i := range n {
		at := time.Unix(1_700_000_000+int64(i), 123456789).UTC()
		record := putRecord(name(i), func(r *registry.Record) {
			r.CreatedAt, r.UpdatedAt = at, at
			r.Labels = map[string]string{"rack": fmt.Sprint(i % 40)}
			r.Endpoints = []string{fmt.Sprintf("http://10.0.%d.%d:8776", i/250%250, i%250)}
		})
		holder := must(registry.EncodeHolder(&registry.Holder{
			Schema: registry.Schema, Registration: fmt.Sprintf("%032x", i), PID: 1000 + i, ProcessStart: "1234567",
			MachineID: fmt.Sprintf("%032x", i/20), BootID: fmt.Sprintf("%036x", i/20), PIDNamespace: "pid:[4026531836]", Since: at,
		}))
		s.txn(record, write{key: testKeys.Alive(name(i)), value: holder, lease: int64(1 + i/1000)})
	}
	return s
}

// BenchmarkViewMemory measures what a watch keeps for each instance: what it was told last, twice, once as received and once
// as acknowledged.
func BenchmarkViewMemory(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := crowd(n)
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				head := s.view(testRules(registry.Filter{}))
				acknowledged := head.Clone()
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/instance")
				runtime.KeepAlive(head)
				runtime.KeepAlive(acknowledged)
			}
		})
	}
}

// BenchmarkFold measures one death told and taken, which must cost the same in a small and in a big view.
func BenchmarkFold(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, s := testRules(registry.Filter{}), crowd(n)
			r.scratch = &scratch{} // as of a session
			view := s.view(r)
			alive := s.kvs[testKeys.Alive(name(7))]
			b.ReportAllocs()
			for b.Loop() {
				for _, w := range []write{del(string(alive.Key)), {key: string(alive.Key), value: alive.Value, lease: alive.Lease}} {
					events := s.txn(w)
					step := r.fold(view, s.rev, events, true)
					view.apply(&step.patch)
				}
			}
		})
	}
}

// BenchmarkFoldUpdate measures a record written anew with something else in it, told and taken.
func BenchmarkFoldUpdate(b *testing.B) {
	r, s := testRules(registry.Filter{}), crowd(1000)
	r.scratch = &scratch{}
	view := s.view(r)
	var records [2]write
	for i := range records {
		records[i] = putRecord(name(7), func(r *registry.Record) {
			r.CreatedAt, r.UpdatedAt = time.Unix(1_700_000_000, 123456789).UTC(), time.Unix(1_700_000_000, 123456789).UTC()
			r.Labels = map[string]string{"rack": fmt.Sprint(i)}
			r.Endpoints = []string{"http://10.0.0.1:8776"}
		})
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		events := s.txn(records[i%2])
		b.StartTimer()
		step := r.fold(view, s.rev, events, true)
		if view.apply(&step.patch); len(step.events) != 1 {
			b.Fatal(tell(step.events))
		}
	}
}

// BenchmarkDiff measures finding nothing different.
func BenchmarkDiff(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, s := testRules(registry.Filter{}), crowd(n)
			view := s.view(r)
			names, _ := s.names(r.keys)
			b.ReportAllocs()
			for b.Loop() {
				if step := compared(r, view, names); len(step.events) > 0 {
					b.Fatal(tell(step.events))
				}
			}
		})
	}
}

// BenchmarkCompare measures what a reader costs who was away while every record was written: finding what became of each.
func BenchmarkCompare(b *testing.B) {
	const n = 50_000
	r, s := testRules(registry.Filter{}), crowd(n)
	view := s.view(r)
	for i := range n {
		s.txn(putRecord(name(i), func(r *registry.Record) { r.Zone, r.Labels = "other", map[string]string{"rack": "r1"} }))
	}
	names, _ := s.names(r.keys)
	b.ReportAllocs()
	for b.Loop() {
		if step := compared(r, view, names); len(step.events) != n {
			b.Fatal(len(step.events))
		}
	}
}

func compared(r rules, view *View, names []registry.NameKeys) step {
	c := r.compare(view, view.revision)
	for i := range names {
		c.take(&names[i])
	}
	return c.end(nil)
}

// BenchmarkQueue hands a batch from the stream to the reader.
func BenchmarkQueue(b *testing.B) {
	q := newQueue(DefaultStaleAfter, defaultLimits)
	it := item{batch: Batch{Kind: Changes, Events: make([]Event, 1)}, patch: &patch{}}
	b.ReportAllocs()
	for b.Loop() {
		q.put(it)
		if _, err := q.next(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
