package faults_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// The readers are a process of their own, led by what they read: the records of these names are signs to them.
const (
	stopSign = "stop" // those who are to stop stop, in the middle of a batch
	goSign   = "go"   // they go on
	endSign  = "end"  // everybody says what he saw
)

func sign(name string) registry.Name { return registry.Name{Binary: "sign", Host: name} }

func init() {
	roles["readers"] = func(ctx context.Context, args []string, say func(string, ...any)) error {
		steady, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		stopping, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return newReaders(args[0]).run(ctx, steady, stopping, say)
	}
}

// readers are watches of one process.
type readers struct {
	endpoints string
	stopped   chan struct{} // closed when the stop sign was seen
	resume    chan struct{} // closed when the go sign was seen
	once      [2]sync.Once
}

func newReaders(endpoints string) *readers {
	return &readers{endpoints: endpoints, stopped: make(chan struct{}), resume: make(chan struct{})}
}

func (r *readers) run(ctx context.Context, steady, stopping int, say func(string, ...any)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var meter sync.WaitGroup
	memory := &memory{}
	meter.Go(func() { memory.measure(ctx, r.stopped, r.resume) })
	var reading errgroup.Group
	for i := range steady + stopping {
		reading.Go(func() error { return r.read(ctx, i, i >= steady, say) })
	}
	err := reading.Wait()
	cancel()
	meter.Wait()
	say("memory %d %d %d", memory.before, memory.during, memory.resident)
	return err
}

// memory is the most that lived on the heap, and that was resident, in bytes.
type memory struct{ before, during, resident uint64 }

func (m *memory) measure(ctx context.Context, stopped, resumed <-chan struct{}) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	during := false
	for {
		select {
		case <-stopped:
			stopped, during = nil, true
		case <-tick.C:
			metrics.Read(sample)
			m.resident = max(m.resident, residentBytes())
			if live := sample[0].Value.Uint64(); during {
				m.during = max(m.during, live)
			} else {
				m.before = max(m.before, live)
			}
		case <-ctx.Done():
			return
		}
	}
}

// residentBytes is the resident memory of this process, 0 where it can't be known.
func residentBytes() uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(statm))
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}

// read watches to the end and says what it saw: delays before and after the stop sign, and whether what it has adds up to the list.
func (r *readers) read(ctx context.Context, number int, stops bool, say func(string, ...any)) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{r.endpoints}})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	w, err := watcher.New(client, watcher.Config{})
	if err != nil {
		return err
	}
	rows := map[registry.Name]string{}
	var delays [2][]time.Duration
	phase, events, over := 0, 0, false
	for batch, err := range w.Watch(ctx, watcher.Now()) {
		if err != nil {
			return err
		}
		now := time.Duration(history.Now())
		switch batch.Kind {
		case watcher.Snapshot:
			clear(rows)
			for i := range batch.Services {
				rows[batch.Services[i].Name()] = batch.Services[i].Labels["number"]
			}
			say("reading %d", number)
		case watcher.Changes:
			for i := range batch.Events {
				e := &batch.Events[i]
				rows[e.Name] = e.Service.Labels["number"]
				events++
				if sent, err := strconv.ParseInt(e.Service.Labels["sent"], 10, 64); err == nil {
					delays[phase] = append(delays[phase], now-time.Duration(sent))
				}
				switch e.Name {
				case sign(stopSign):
					phase = 1
					r.once[0].Do(func() { close(r.stopped) })
					if stops {
						say("stopped %d", number)
						select {
						case <-r.resume:
						case <-ctx.Done():
							return nil
						}
					}
				case sign(goSign):
					r.once[1].Do(func() { close(r.resume) })
				case sign(endSign):
					over = true // with the batch: what was found by comparing comes in one, by name
				}
			}
		default:
		}
		if over {
			different, err := compare(ctx, client, rows, batch.Revision)
			if err != nil {
				return err
			}
			say("reader %d events %d different %d before %d %d %d after %d %d %d", number, events, different,
				quantile(delays[0], 50), quantile(delays[0], 99), quantile(delays[0], 100),
				quantile(delays[1], 50), quantile(delays[1], 99), quantile(delays[1], 100))
			return nil
		}
	}
	return errors.New("the watch ended")
}

// compare counts the rows in which a reader differs from a list at his revision.
func compare(ctx context.Context, client *clientv3.Client, rows map[registry.Name]string, revision int64) (int, error) {
	snap, err := registry.List(ctx, client, registry.ListOptions{Revision: revision})
	if err != nil {
		return 0, err
	}
	different := len(rows) - len(snap.Services)
	if different < 0 {
		different = -different
	}
	for i := range snap.Services {
		if s := &snap.Services[i]; rows[s.Name()] != s.Labels["number"] {
			different++
		}
	}
	return different, nil
}

// quantile gives a percentile in microseconds.
func quantile(d []time.Duration, percent int) int64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, len(d)*percent/100)].Microseconds()
}

// A report is what the readers said at the end.
type report struct {
	before, during, resident uint64
	readers                  []reading
}

// A reading is what one reader saw; delays in microseconds: median, 99th percentile, greatest.
type reading struct {
	number, events, different int
	before, after             [3]int64
}

// An ordeal is a stream of events at an even pace, during which some of the readers of a process stop.
type ordeal struct {
	steady, stopping int
	warm, length     time.Duration // before they stop, and while they stand
	pace             int           // events a second
	configure        func(*exec.Cmd)
}

const instances = 1000

func (o ordeal) run(t *testing.T) (r report, written int) {
	t.Helper()
	etcd := etcdtest.Standalone(t)
	writer := &recordWriter{client: etcd.Client(), pace: o.pace}
	writer.settle(t)
	c := spawn(t, "readers", []string{etcd.Endpoints()[0], strconv.Itoa(o.steady), strconv.Itoa(o.stopping)}, func(cmd *exec.Cmd) {
		if o.configure != nil {
			o.configure(cmd)
		}
	})
	hbtest.Eventually(t, 30*time.Second, "all read", func() bool { return c.count("reading ") == o.steady+o.stopping })
	writer.write(t, o.warm)
	writer.put(t, sign(stopSign))
	if o.stopping > 0 {
		hbtest.Eventually(t, 10*time.Second, "all have stopped", func() bool { return c.count("stopped ") == o.stopping })
	}
	written = writer.write(t, o.length)
	writer.put(t, sign(goSign))
	writer.put(t, sign(endSign))
	rest, _ := c.await(60*time.Second, "memory ")
	if _, err := fmt.Sscanf(rest, "%d %d %d", &r.before, &r.during, &r.resident); err != nil {
		t.Fatal(err)
	}
	if code := c.ends(10 * time.Second); code != 0 {
		t.Fatalf("the readers ended with %d and said:\n%s", code, c.story())
	}
	for _, l := range c.said {
		if rest, found := strings.CutPrefix(l.text, "reader "); found {
			var x reading
			if _, err := fmt.Sscanf(rest, "%d events %d different %d before %d %d %d after %d %d %d", &x.number, &x.events, &x.different,
				&x.before[0], &x.before[1], &x.before[2], &x.after[0], &x.after[1], &x.after[2]); err != nil {
				t.Fatal(err)
			}
			r.readers = append(r.readers, x)
		}
	}
	if len(r.readers) != o.steady+o.stopping {
		t.Fatalf("%d readers reported, want %d:\n%s", len(r.readers), o.steady+o.stopping, c.story())
	}
	slices.SortFunc(r.readers, func(a, b reading) int { return a.number - b.number })
	return r, written
}

// A recordWriter writes records at an even pace.
type recordWriter struct {
	client *clientv3.Client
	pace   int
	next   int
}

// filler makes a record of some 300 bytes.
var filler = strings.Repeat("x", 60)

func (w *recordWriter) record(name registry.Name) clientv3.Op {
	w.next++
	keys, err := registry.NewKeys("")
	if err != nil {
		panic(err) // the default prefix is valid
	}
	return clientv3.OpPut(keys.Record(name), fmt.Sprintf(
		`{"schema":1,"binary":%q,"host":%q,"zone":"az1","labels":{"number":"%d","sent":"%d","filler":%q},"created_at":"2026-01-02T15:04:05Z"}`,
		name.Binary, name.Host, w.next, time.Duration(history.Now()), filler))
}

// settle writes every record once.
func (w *recordWriter) settle(t *testing.T) {
	t.Helper()
	for i := 0; i < instances; i += 100 {
		var ops []clientv3.Op
		for j := range 100 {
			ops = append(ops, w.record(hbtest.Node(i+j)))
		}
		if _, err := w.client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *recordWriter) put(t *testing.T, name registry.Name) {
	t.Helper()
	if _, err := w.client.Do(t.Context(), w.record(name)); err != nil {
		t.Fatal(err)
	}
}

// write writes for so long, and gives how much: every few milliseconds some records, each at a revision of its own, of which none is
// written twice, so that none overtakes another.
func (w *recordWriter) write(t *testing.T, length time.Duration) int {
	t.Helper()
	const beat = 20 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	each := w.pace * int(beat) / int(time.Second)
	total := int(length/beat) * each
	for written := 0; written < total; written += each {
		<-tick.C
		var putting errgroup.Group
		putting.SetLimit(16)
		for range each {
			op := w.record(hbtest.Node(w.next % instances))
			putting.Go(func() error { _, err := w.client.Do(t.Context(), op); return err })
		}
		if err := putting.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	return total
}

// memoryBound is by how much the memory in use of a process may grow for a reader that has stopped, however long and whatever
// happens: its queue of 4,096 events or 1 MiB of keys and values, decoded, and what etcd's connection holds.
const memoryBound = 24 << 20

// One of four readers of a process stops for a minute. The memory of the process stays under the bound, the other three are as prompt
// as before, and when it reads on it gets what adds up to the list.
func TestF29SlowReader(t *testing.T) {
	o := ordeal{
		steady: 3, stopping: 1, warm: either(4*time.Second, 30*time.Second), length: either(12*time.Second, time.Minute),
		pace: either(1000/hbtest.Slow, 1700),
	}
	r, written := o.run(t)
	for _, x := range r.readers {
		if x.different != 0 {
			t.Errorf("reader %d differs from the list in %d rows", x.number, x.different)
		}
	}
	if growth := int64(r.during) - int64(r.before); growth > memoryBound {
		t.Errorf("the live heap grew by %d MiB, want %d at most", growth>>20, memoryBound>>20)
	}
	var before, after int64
	for _, x := range r.readers[:o.steady] {
		before, after = max(before, x.before[1]), max(after, x.after[1])
		if x.events < written {
			t.Errorf("reader %d was told %d events of %d", x.number, x.events, written)
		}
	}
	// As prompt as before, to within what a busy machine adds to either.
	if after > 4*before+(100*hbtest.Slow*time.Millisecond).Microseconds() {
		t.Errorf("the other readers' p99 delay was %d us before and %d us while one stood", before, after)
	}
	t.Logf("F29: one of %d readers of a process stood for %v and %d events: most live heap %.1f MiB before, %.1f MiB from then on (bound: +%d MiB), resident %.1f MiB; the others' worst p99 delay %.1f ms before, %.1f ms meanwhile; all agree with the list",
		o.steady+o.stopping, o.length, written, mib(r.before), mib(r.during), memoryBound>>20, mib(r.resident), float64(before)/1000, float64(after)/1000)
}

func mib(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

// Ten readers stop in a process that is allowed so much memory by the kernel and not a page more, and by Go's runtime three quarters
// of it, as a container sets both. It lives, and all of them get what adds up to the list.
func TestF28MemoryLimit(t *testing.T) {
	limit := 128 << 20 * hbtest.Slow // the race detector takes its share
	group := newControlGroup(t, "memory", groupLimit{"memory.limit_in_bytes", limit}).folder
	o := ordeal{
		steady: 2, stopping: 10, warm: time.Second, length: either(8*time.Second, time.Minute), pace: either(1000/hbtest.Slow, 1700),
		configure: func(cmd *exec.Cmd) { // it joins before it begins
			cmd.Args = []string{"sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$1"`, group, cmd.Path}
			cmd.Path = "/bin/sh"
			cmd.Env = append(cmd.Env, fmt.Sprintf("GOMEMLIMIT=%d", limit/4*3/hbtest.Slow))
		},
	}
	r, written := o.run(t)
	for _, x := range r.readers {
		if x.different != 0 {
			t.Errorf("reader %d differs from the list in %d rows", x.number, x.different)
		}
	}
	most, err := os.ReadFile(group + "/memory.max_usage_in_bytes")
	if err != nil {
		t.Fatal(err)
	}
	used, err := strconv.ParseUint(strings.TrimSpace(string(most)), 10, 64)
	if err != nil || used == 0 {
		t.Fatalf("the group used %q: %v", most, err)
	}
	t.Logf("F28: %d readers stood for %v and %d events in a process limited to %d MiB: it used %.1f MiB, most live heap %.1f MiB; all agree with the list",
		o.stopping, o.length, written, limit>>20, mib(used), mib(r.during))
}

// All keys of one lease go in one revision. Every reader is told every one of them once, one that was busy meanwhile too.
func TestF30Burst(t *testing.T) {
	n := either(10_000, 100_000)
	etcd := etcdtest.Standalone(t)
	client := etcd.Client()
	grant, err := client.Grant(t.Context(), 3600)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := registry.NewKeys("")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 100 {
		var ops []clientv3.Op
		for j := range 100 {
			ops = append(ops, clientv3.OpPut(keys.Alive(hbtest.Node(i+j)), `{"schema":1}`, clientv3.WithLease(grant.ID)))
		}
		if _, err := client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	w := watchAll(t, etcd.Client())
	begin := time.Now()
	if _, err := client.Revoke(t.Context(), grant.ID); err != nil {
		t.Fatal(err)
	}
	hbtest.Eventually(t, 30*hbtest.Slow*time.Second, "all are told down", func() bool { return w.Count(watcher.Down, everyone) >= n })
	took := time.Since(begin)
	seen := map[registry.Name]int{}
	revisions := map[int64]bool{}
	for _, s := range w.Sightings(watcher.Down, everyone) {
		seen[s.Name]++
		revisions[s.Revision] = true
	}
	for name, times := range seen {
		if times != 1 {
			t.Errorf("%s was told down %d times", name, times)
		}
	}
	if len(seen) != n || len(revisions) != 1 {
		t.Errorf("%d of %d are down, in %d revisions, want all in one", len(seen), n, len(revisions))
	}
	w.Consistent()
	t.Logf("F30: %d keys of one lease gone at once: each told down once, in one batch, %v after the revoke was sent", n, took.Round(time.Millisecond))
}
