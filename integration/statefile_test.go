package integration_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/watcher"
)

// lineOf is what one line of `hbctl watch -o json` has that is the same whenever it is told. Causes are not: why a key went is
// asked as it happens, and not known of what is replayed.
type lineOf struct {
	Kind                string
	Revision            int64
	Binary, Host, Zone  string
	Incarnation         int64
	PreviousIncarnation int64 `json:"previous_incarnation"`
	Synthetic           bool
	More                bool
	Service             struct{ State, Status string }
}

// change says whether the line is of an instance to which something happened.
func (l *lineOf) change() bool {
	return !slices.Contains([]string{"present", "synced", "reset", "stale", "live", "bookmark", "warning"}, l.Kind)
}

// watchRun is one run of `hbctl watch -o json`.
type watchRun struct {
	cmd    *exec.Cmd
	began  chan struct{} // closed with the first line
	ended  chan struct{} // closed when all lines are read
	stderr strings.Builder

	mu    sync.Mutex
	lines []lineOf
	at    []time.Time // when each was read
	torn  bool        // the last line was not written to its end
}

func watchProcess(t testing.TB, etcd *etcdtest.Nodes, args ...string) *watchRun {
	t.Helper()
	r := &watchRun{began: make(chan struct{}), ended: make(chan struct{})}
	r.cmd = exec.Command(etcdtest.Binary(t, "./cmd/hbctl"), append([]string{"watch", "-o", "json"}, args...)...)
	r.cmd.Env = append(os.Environ(), "HBCTL_ENDPOINTS="+strings.Join(etcd.Endpoints(), ","))
	r.cmd.Stderr = &r.stderr
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go r.read(t, out)
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			r.end(syscall.SIGKILL)
		}
	})
	return r
}

func (r *watchRun) read(t testing.TB, out io.Reader) {
	defer close(r.ended)
	in := bufio.NewReaderSize(out, 1<<20)
	for first := true; ; first = false {
		text, err := in.ReadBytes('\n')
		now := time.Now()
		if first {
			close(r.began)
		}
		if err != nil {
			r.torn = len(text) > 0
			return
		}
		var l lineOf
		if err := json.Unmarshal(text, &l); err != nil {
			t.Errorf("a line is no JSON: %v: %s", err, text)
			return
		}
		r.mu.Lock()
		r.lines, r.at = append(r.lines, l), append(r.at, now)
		r.mu.Unlock()
	}
}

// end ends the process and reads what it had written by then.
func (r *watchRun) end(sig syscall.Signal) {
	_ = r.cmd.Process.Signal(sig) // it may have ended by itself
	<-r.ended
	_ = r.cmd.Wait()
}

// until waits for a line, and gives all up to it.
func (r *watchRun) until(t testing.TB, limit time.Duration, what string, is func(*lineOf) bool) []lineOf {
	t.Helper()
	seen, found := 0, -1
	hbtest.Eventually(t, limit, what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for ; seen < len(r.lines) && found < 0; seen++ {
			if is(&r.lines[seen]) {
				found = seen
			}
		}
		return found >= 0
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines[:found+1])
}

func synced(l *lineOf) bool { return l.Kind == "synced" }

// A watch that was away while three died and one was restarted, and whose history is gone, says exactly that when it is back.
func TestStateFileSaysWhatChangedMeanwhile(t *testing.T) {
	const ttl, long = 2 * time.Second, 60 * time.Second
	etcd := etcdtest.Standalone(t)
	w := hbtest.Watch(t, etcd.Client(), watcher.Now())
	file := filepath.Join(t.TempDir(), "state")
	died := make([]int64, 3)
	dying := make([]*hbtest.Program, 3)
	for i := range died {
		dying[i], died[i] = hold(t, etcd, w, hbtest.Node(i), ttl, 0)
	}
	restarting, before := hold(t, etcd, w, hbtest.Node(3), long, 0)
	_, stays := hold(t, etcd, w, hbtest.Node(4), long, 0)

	first := watchProcess(t, etcd, "--state-file", file)
	first.until(t, 20*time.Second, "synced", synced)
	put(t, etcd.Client(), "/hb/admin/vol/node004", `{"schema":1,"disabled":{"reason":"x"}}`)
	first.until(t, 20*time.Second, "disabled", func(l *lineOf) bool { return l.Kind == "disabled" })
	put(t, etcd.Client(), "/hb/admin/vol/node004", `{"schema":1}`) // when this comes, that was acknowledged
	first.until(t, 20*time.Second, "enabled", func(l *lineOf) bool { return l.Kind == "enabled" })
	first.end(syscall.SIGKILL)

	for i, p := range dying {
		p.Signal(syscall.SIGKILL)
		w.Down(20*time.Second, hbtest.Node(i), died[i])
	}
	restarting.Kill()
	_, after := hold(t, etcd, w, hbtest.Node(3), long, before)
	etcd.Compact(0)

	second := watchProcess(t, etcd, "--state-file", file)
	lines := second.until(t, 20*time.Second, "synced", synced)
	var got []string
	for _, l := range lines {
		if l.Kind == "enabled" {
			continue // may have been in flight
		}
		got = append(got, fmt.Sprintf("%s %s %d synthetic=%v", l.Kind, l.Host, l.Incarnation, l.Synthetic))
	}
	want := []string{
		fmt.Sprintf("down node000 %d synthetic=true", died[0]),
		fmt.Sprintf("down node001 %d synthetic=true", died[1]),
		fmt.Sprintf("down node002 %d synthetic=true", died[2]),
		fmt.Sprintf("down node003 %d synthetic=true", before),
		fmt.Sprintf("up node003 %d synthetic=true", after),
		"synced  0 synthetic=false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if s := hbtest.List(t, etcd.Client())[hbtest.Node(4)]; *s.Incarnation != stays {
		t.Errorf("the one that stayed is another incarnation")
	}
	second.end(syscall.SIGTERM)
	third := watchProcess(t, etcd, "--state-file", file)
	if lines := third.until(t, 20*time.Second, "synced", synced); len(lines) != 1 {
		t.Errorf("after a clean end, with nothing new: %+v", lines)
	}
}

// A busy writer does everything that a watch tells, on many names, in transactions of one to four.
type busyWriter struct {
	client *clientv3.Client
	random *rand.Rand
	names  int
	lease  clientv3.LeaseID
	filler string // makes records long, so that snapshots come often

	writes int
	last   int64 // revision
}

// write does one transaction.
func (b *busyWriter) write(t testing.TB) error {
	ops := map[string]clientv3.Op{}
	for range 1 + b.random.IntN(4)*b.random.IntN(2) {
		host := fmt.Sprintf("n%05d", b.random.IntN(b.names))
		record, alive, admin := "/hb/instances/vol/"+host, "/hb/alive/vol/"+host, "/hb/admin/vol/"+host
		switch b.random.IntN(5) {
		case 0, 1:
			ops[record] = b.record(host)
			ops[alive] = clientv3.OpPut(alive, fmt.Sprintf(`{"schema":1,"registration":"%x"}`, b.random.Uint64()), clientv3.WithLease(b.lease))
		case 2:
			ops[alive] = clientv3.OpDelete(alive)
		case 3:
			ops[record] = b.record(host)
		case 4:
			ops[admin] = clientv3.OpPut(admin, [...]string{`{"schema":1,"disabled":{"reason":"r"}}`, `{"schema":1}`}[b.random.IntN(2)])
		}
	}
	var all []clientv3.Op
	for _, op := range ops {
		all = append(all, op)
	}
	resp, err := b.client.Txn(t.Context()).Then(all...).Commit()
	if err != nil {
		return err
	}
	b.writes++
	b.last = resp.Header.Revision
	return nil
}

func (b *busyWriter) record(host string) clientv3.Op {
	return clientv3.OpPut("/hb/instances/vol/"+host, fmt.Sprintf(`{"schema":1,"binary":"vol","host":"%s","zone":"az%d","filler":"%s"}`, host, b.random.IntN(5), b.filler))
}

func newBusyWriter(t testing.TB, client *clientv3.Client, seed uint64, names, filler int) *busyWriter {
	t.Helper()
	lease, err := client.Grant(t.Context(), 3600)
	if err != nil {
		t.Fatal(err)
	}
	return &busyWriter{client: client, random: rand.New(rand.NewPCG(seed, 1)), names: names, lease: lease.ID, filler: strings.Repeat("x", filler)}
}

// stream writes until it is told to stop, at most so many transactions a second, and gives the figures.
func (b *busyWriter) stream(t testing.TB, perSecond int, stop <-chan struct{}) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if err := b.write(t); err != nil {
				t.Errorf("writing: %v", err)
				return
			}
		}
	}
}

// batchesOf groups the lines of changes by batches. The last may lack its end.
func batchesOf(lines []lineOf) [][]lineOf {
	var batches [][]lineOf
	goesOn := false
	for _, l := range lines {
		if !l.change() {
			continue
		}
		if !goesOn {
			batches = append(batches, nil)
		}
		last := len(batches) - 1
		batches[last] = append(batches[last], l)
		goesOn = l.More
	}
	return batches
}

// number reads a number from the environment.
func number(t testing.TB, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// A watch with a state file is killed at random moments of a busy stream, and started again at once. All of its runs together
// tell what one uninterrupted watch tells, in the same order, and repeat only what was printed and not yet noted: one batch.
//
// HBCTL_TEST_KILLS says how often it is killed, HBCTL_TEST_SEED when and in what stream.
func TestStateFileSurvivesKills(t *testing.T) {
	kills, seed := number(t, "HBCTL_TEST_KILLS", 40), uint64(number(t, "HBCTL_TEST_SEED", 1))
	etcd := etcdtest.Standalone(t)
	file := filepath.Join(t.TempDir(), "state")
	writer := newBusyWriter(t, etcd.Client(), seed, 60, 1500)
	random := rand.New(rand.NewPCG(seed, 2))

	whole := watchProcess(t, etcd)
	whole.until(t, 20*time.Second, "synced", synced)
	run := watchProcess(t, etcd, "--state-file", file)
	run.until(t, 20*time.Second, "synced", synced)
	hbtest.Eventually(t, 20*time.Second, "the first snapshot is saved", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() > 0
	})

	stop := make(chan struct{})
	var writing sync.WaitGroup
	begin := time.Now()
	writing.Go(func() { writer.stream(t, 400, stop) })
	runs := []*watchRun{run}
	snapshots := 0
	for range kills {
		if random.IntN(5) > 0 {
			select { // else it may be killed before it tells anything
			case <-run.began:
			case <-time.After(20 * time.Second):
				t.Fatalf("a run tells nothing; stderr: %s", run.stderr.String())
			}
		}
		before, _ := os.Stat(file)
		time.Sleep(time.Duration(random.IntN(200_000)) * time.Microsecond) // the moment of the fault
		run.end(syscall.SIGKILL)
		if now, err := os.Stat(file); err != nil || !os.SameFile(before, now) {
			snapshots++
		}
		run = watchProcess(t, etcd, "--state-file", file)
		runs = append(runs, run)
	}
	close(stop)
	writing.Wait()
	took := time.Since(begin)
	last := func(l *lineOf) bool { return l.Revision >= writer.last && !l.More }
	// What was written last need not have been a change, so a last one is.
	put(t, etcd.Client(), "/hb/instances/vol/last", `{"schema":1,"binary":"vol","host":"last","zone":"z"}`)
	writer.last++
	whole.until(t, 60*time.Second, "the uninterrupted one has told everything", last)
	run.until(t, 60*time.Second, "the last run has told everything", last)
	whole.end(syscall.SIGTERM)
	run.end(syscall.SIGTERM)
	checkRuns(t, whole, runs)
	t.Logf("seed %d: %d transactions in %v (%.0f/s), %d kills, the name of the file changed hands in %d of them",
		seed, writer.writes, took.Round(time.Millisecond), float64(writer.writes)/took.Seconds(), kills, snapshots)
}

// checkRuns compares all runs with the uninterrupted one.
func checkRuns(t *testing.T, whole *watchRun, runs []*watchRun) {
	t.Helper()
	want := batchesOf(whole.lines)
	at := make(map[int64]int, len(want))
	for i, b := range want {
		at[b[0].Revision] = i
	}
	next, repeated, silent, torn, cut, lines := 0, 0, 0, 0, 0, 0
	for i, r := range runs {
		got := batchesOf(r.lines)
		for _, l := range r.lines {
			if i > 0 && (l.Kind == "present" || l.Kind == "reset" || l.Synthetic) {
				t.Errorf("run %d began anew: %+v", i, l)
			}
		}
		if strings.Contains(r.stderr.String(), "cut off") {
			cut++
		}
		if r.torn {
			torn++
		}
		if len(got) == 0 {
			silent++
			continue
		}
		for k, b := range got {
			lines += len(b)
			place, known := at[b[0].Revision]
			switch {
			case !known:
				t.Fatalf("run %d tells revision %d, the uninterrupted one does not: %+v", i, b[0].Revision, b)
			case k == 0 && place < next:
				repeated += next - place
				if next-place > 1 {
					t.Errorf("run %d repeats %d batches", i, next-place)
				}
			case place != next:
				t.Fatalf("run %d tells batch %d (revision %d), want %d", i, place, b[0].Revision, next)
			}
			complete := k < len(got)-1 || !b[len(b)-1].More
			if same := want[place]; complete && !slices.Equal(b, same) || !complete && !slices.Equal(b, same[:len(b)]) {
				t.Errorf("run %d tells\n%+v\nwant\n%+v", i, b, same)
			}
			next = place + 1
		}
		// A batch whose end was not printed is to come again.
		if last := got[len(got)-1]; last[len(last)-1].More || r.torn {
			t.Logf("run %d was killed inside of a batch", i)
		}
	}
	if next != len(want) {
		t.Errorf("%d batches told, the uninterrupted one told %d", next, len(want))
	}
	t.Logf("%d batches in %d lines over %d runs: %d missing, %d repeated; %d runs ended before they told a change, %d inside of a line, %d found the end of the file cut",
		len(want), lines, len(runs), len(want)-next, repeated, silent, torn, cut)
}

// With 10,000 instances and 1,000 batches a second a watch with a state file keeps up, and costs hardly more than without.
func TestStateFileKeepsUp(t *testing.T) {
	const instances, perSecond = 10_000, 1000
	seconds := number(t, "HBCTL_TEST_SECONDS", 5)
	etcd := etcdtest.Standalone(t)
	client := etcd.Client()
	writer := newBusyWriter(t, client, 1, instances, 100)
	for first := 0; first < instances; first += 60 {
		var ops []clientv3.Op
		for i := first; i < min(first+60, instances); i++ {
			host := fmt.Sprintf("n%05d", i)
			ops = append(ops, writer.record(host), clientv3.OpPut("/hb/alive/vol/"+host, `{"schema":1,"registration":"r"}`, clientv3.WithLease(writer.lease)))
		}
		if _, err := client.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{nil, {"--state-file", filepath.Join(t.TempDir(), "state")}} {
		r := watchProcess(t, etcd, append(args, "--only-changes")...)
		r.until(t, 30*time.Second, "synced", synced)
		started := processTime(t, r.cmd.Process.Pid)
		committed := updates(t, client, writer, instances, perSecond, seconds)
		last := slices.Max(slices.Collect(maps.Keys(committed)))
		r.until(t, time.Duration(seconds)*time.Second*hbtest.Slow, "all is told", func(l *lineOf) bool { return l.Revision == last })
		used := processTime(t, r.cmd.Process.Pid) - started
		r.end(syscall.SIGTERM)
		if code := r.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%v: exit code %d: %s", args, code, r.stderr.String())
		}
		lags := r.lags(committed)
		if len(lags) != len(committed) {
			t.Errorf("%v: %d of %d changes told", args, len(lags), len(committed))
		}
		t.Logf("%d instances, %d batches in %d s, %s: CPU %.1f%% of one (%v a batch); told after the commit: median %v, 99%% %v, at most %v",
			instances, len(committed), seconds, strings.Join(append([]string{"hbctl watch"}, args...), " "),
			100*used.Seconds()/float64(seconds), (used / time.Duration(max(1, len(committed)))).Round(time.Microsecond),
			lags[len(lags)/2], lags[len(lags)*99/100], lags[len(lags)-1])
	}
}

// updates changes one record after the other, and gives when each revision was committed.
func updates(t testing.TB, client *clientv3.Client, writer *busyWriter, instances, perSecond, seconds int) map[int64]time.Time {
	t.Helper()
	const writers = 8
	var mu sync.Mutex
	var all sync.WaitGroup
	committed := make(map[int64]time.Time)
	ends := time.Now().Add(time.Duration(seconds) * time.Second)
	for k := range writers {
		random := rand.New(rand.NewPCG(uint64(seconds), uint64(k)))
		all.Go(func() {
			tick := time.NewTicker(writers * time.Second / time.Duration(perSecond))
			defer tick.Stop()
			for n := 0; time.Now().Before(ends); n++ {
				<-tick.C
				host := fmt.Sprintf("n%05d", k+writers*random.IntN(instances/writers))
				value := fmt.Sprintf(`{"schema":1,"binary":"vol","host":"%s","zone":"%d-%d-%d","filler":"%s"}`, host, ends.Unix(), k, n, writer.filler)
				resp, err := client.Put(t.Context(), "/hb/instances/vol/"+host, value)
				if err != nil {
					t.Errorf("writing: %v", err)
					return
				}
				mu.Lock()
				committed[resp.Header.Revision] = time.Now()
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return committed
}

// lags gives how long after its commit each change was read, sorted.
func (r *watchRun) lags(committed map[int64]time.Time) []time.Duration {
	var lags []time.Duration
	for i, l := range r.lines {
		if at, ours := committed[l.Revision]; ours && l.change() {
			lags = append(lags, r.at[i].Sub(at).Round(10*time.Microsecond))
		}
	}
	slices.Sort(lags)
	return lags
}

// processTime gives the CPU time that a process has used, as far as the kernel counts it: in hundredths of a second.
func processTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skipf("no CPU time to be read here: %v", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	ticks := 0
	for _, field := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
