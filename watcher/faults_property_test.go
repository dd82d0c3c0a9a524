package watcher

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

// A trial is one reader under random faults, and what it was told so far.
type trial struct {
	t      *testing.T
	rt     *rapid.T
	s      *etcdtest.FakeServer
	w      writer
	client *etcdtest.Client
	keys   *store // what etcd holds, as far as the test wrote it
	lease  int64

	compacted int64

	reader *reader
	limits limits
	held   *Batch    // handed over, not acknowledged
	seen   *observer // as acknowledged
	log    []string
	last   int64
}

func newTrial(t *testing.T, rt *rapid.T, l limits) *trial {
	t.Helper()
	s := etcdtest.Fake(t)
	tr := &trial{t: t, rt: rt, s: s, w: writer{t, s.Client()}, client: s.NewClient(), keys: newStore(), compacted: 1, limits: l}
	tr.lease = tr.w.grant(3600)
	tr.follow(Now())
	return tr
}

func (tr *trial) follow(from Position) {
	watcher := must(New(tr.client.Client, Config{}))
	watcher.limits = tr.limits
	tr.reader = watcher.read(tr.t, from)
}

// write commits a random transaction.
func (tr *trial) write() {
	ws := writes(tr.rt, tr.keys)
	for i := range ws {
		if ws[i].lease != 0 {
			ws[i].lease = tr.lease // the only one that etcd knows
		}
	}
	tr.keys.txn(ws...)
	tr.keys.rev = tr.w.txn(ws...)
}

// drain takes what comes until nothing has come for a while.
func (tr *trial) drain(patience time.Duration) {
	for {
		tr.reader.acknowledge()
		tr.acknowledge()
		select {
		case b := <-tr.reader.batches:
			tr.reader.held, tr.held = true, &b
		case <-tr.reader.ended:
			tr.rt.Fatalf("the watch ended: %v", tr.reader.err)
		case <-time.After(patience):
			return
		}
	}
}

// acknowledge makes the observer believe the batch that is handed over.
func (tr *trial) acknowledge() {
	b := tr.held
	if b == nil {
		return
	}
	tr.held = nil
	if b.Revision < tr.last && b.Kind != Stale && b.Kind != Live {
		tr.rt.Fatalf("%s at %d after %d", b.Kind, b.Revision, tr.last)
	}
	if (b.Kind == Changes) && b.Revision == tr.last && tr.last > 0 {
		tr.rt.Fatalf("revision %d told twice: %v", b.Revision, tell(b.Events))
	}
	tr.last = b.Revision
	switch b.Kind {
	case Snapshot:
		if tr.seen != nil {
			tr.rt.Fatal("a second snapshot")
		}
		tr.seen = &observer{rows: map[registry.Name]registry.Service{}, up: map[registry.Name]int64{}}
		for _, row := range b.Services {
			tr.seen.rows[row.Name()] = row
			if row.State == registry.Up {
				tr.seen.up[row.Name()] = *row.Incarnation
			}
		}
	case Changes:
		if err := tr.seen.take(b.Events); err != nil {
			tr.rt.Fatalf("at %d: %v in %v", b.Revision, err, tell(b.Events))
		}
		for _, line := range essence(b.Events) {
			tr.log = append(tr.log, fmt.Sprintf("%d %s", b.Revision, line))
		}
	case Reset:
		tr.rt.Fatalf("reset at %d: %v", b.Revision, b.Reason)
	}
}

// resume stops the reader, with what was handed over perhaps not acknowledged, and goes on from its view.
func (tr *trial) resume() {
	tr.reader.stop()
	tr.held = nil
	view := tr.reader.w.View()
	if view == nil {
		tr.follow(Now())
		return
	}
	data, err := json.Marshal(view)
	if err != nil {
		tr.rt.Fatal(err)
	}
	var read View
	if err := json.Unmarshal(data, &read); err != nil {
		tr.rt.Fatal(err)
	}
	tr.follow(From(&read))
}

func (tr *trial) compact() {
	if tr.keys.rev > tr.compacted {
		tr.w.compact(tr.keys.rev)
		tr.compacted = tr.keys.rev
	}
}

// step is one random thing that happens.
func (tr *trial) step(compact bool) {
	steps := []func(){
		tr.write, tr.write, tr.write,
		tr.client.Cut, tr.client.Heal, tr.client.Break, tr.client.CutAnswers, tr.client.CutRequests,
		func() { tr.drain(time.Second) },
		func() { time.Sleep(time.Duration(rapid.IntRange(1, 5000).Draw(tr.rt, "ms")) * time.Millisecond) },
		tr.s.Restart,
		tr.resume,
	}
	if compact {
		steps = append(steps, tr.compact)
	}
	steps[rapid.IntRange(0, len(steps)-1).Draw(tr.rt, "step")]()
}

// finish heals everything, and compares what the reader holds with what is there.
func (tr *trial) finish() {
	tr.client.Heal()
	tr.drain(30 * time.Second)
	if tr.seen == nil {
		tr.rt.Fatal("never started")
	}
	if err := tr.seen.agrees(testRules(registry.Filter{}), tr.keys.table(testKeys)); err != nil {
		tr.rt.Fatal(err)
	}
	tr.reader.stop()
	tr.s.Close()
}

// essence is what must be the same however events reach a reader: a cause may be unknown later.
func essence(events []Event) []string {
	lines := make([]string, 0, len(events))
	for _, e := range events {
		lines = append(lines, fmt.Sprintf("%s %s %d %d %s", e.Kind, e.Name, e.Incarnation, e.PreviousIncarnation, e.Service.State))
	}
	return lines
}

func inBubble(t *testing.T, check func(t *testing.T, rt *rapid.T)) {
	synctest.Test(t, func(t *testing.T) {
		// A test's deadline is real time, which means nothing here.
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) { check(t, rt) })
	})
}

// Whatever happens to the connection, the server and the reader: each revision is told once, in order, whole, exactly as to a
// reader to whom nothing happened.
func TestFaultsChangeNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, rt *rapid.T) {
		l := defaultLimits
		l.events = rapid.IntRange(1, 20).Draw(rt, "limit")
		tr := newTrial(t, rt, l)
		tr.drain(time.Second)
		calm := watch(t, tr.s.Client(), Now())
		calm.want(Snapshot)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			tr.step(false)
		}
		tr.finish2(calm)
	})
}

// finish2 compares with a calm reader as well.
func (tr *trial) finish2(calm *reader) {
	tr.client.Heal()
	tr.drain(30 * time.Second)
	var want []string
	for {
		calm.acknowledge()
		select {
		case b := <-calm.batches:
			calm.held = true
			for _, line := range essence(b.Events) {
				want = append(want, fmt.Sprintf("%d %s", b.Revision, line))
			}
			continue
		case <-time.After(30 * time.Second):
		}
		break
	}
	calm.stop()
	if !slices.Equal(tr.log, want) {
		tr.rt.Fatalf("told\n%q\nwant\n%q", tr.log, want)
	}
	tr.finish()
}

// With compactions and comparisons in between, history may be skipped, but never a promise: ups and downs alternate, one down
// for each incarnation, and the end is what is there.
func TestFaultsAndCompaction(t *testing.T) {
	inBubble(t, func(t *testing.T, rt *rapid.T) {
		l := limits{
			events: rapid.IntRange(1, 20).Draw(rt, "limit"), bytes: 1 << 20,
			replay: rapid.Int64Range(1, 10).Draw(rt, "replay"),
		}
		tr := newTrial(t, rt, l)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			tr.step(true)
		}
		tr.finish()
	})
}

// Resumed after any revision, a reader is told exactly the rest.
func TestAfterAnyRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			tr := newTrial(t, rt, defaultLimits)
			tr.drain(time.Second)
			first := tr.last
			for range rapid.IntRange(1, 15).Draw(rt, "writes") {
				tr.write()
			}
			tr.drain(5 * time.Second)
			for after := first; after <= tr.keys.rev; after++ {
				var want []string
				for _, line := range tr.log {
					var rev int64
					if _, err := fmt.Sscan(line, &rev); err != nil {
						rt.Fatal(err)
					}
					if rev > after {
						want = append(want, line)
					}
				}
				if got := rest(t, tr.s, after); !slices.Equal(got, want) {
					rt.Fatalf("after %d told\n%q\nwant\n%q", after, got, want)
				}
			}
			tr.finish()
		})
	})
}

// rest gives what a reader that resumes after the revision is told until the start is complete.
func rest(t *testing.T, s *etcdtest.FakeServer, after int64) []string {
	t.Helper()
	r := watch(t, s.Client(), After(after))
	defer r.stop()
	var got []string
	for {
		b := r.next()
		if b.Synced {
			return got
		}
		for _, line := range essence(b.Events) {
			got = append(got, fmt.Sprintf("%d %s", b.Revision, line))
		}
	}
}
