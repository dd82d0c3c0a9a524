package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
)

// handlerFolder makes this process a handler of a watch, which notes what it gets in the folder that it names.
const handlerFolder = "HBCTL_TEST_HANDLER"

// The files in a handler's folder. A call notes what it got as NUMBER.begun, and renames it when it ends.
const (
	failsLeft = "fails" // has a byte for each call that is to fail
	holdOn    = "hold"  // while it is there, a call does not end
	heldBy    = "held"  // the ids of a call that is held and of what it has started
)

// handle is a handler's process. Two at once would take the same number, and one of them would fail with 2.
func handle(folder string) int {
	got, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 2
	}
	note := filepath.Join(folder, fmt.Sprintf("note%d", os.Getpid()))
	calls, _ := filepath.Glob(filepath.Join(folder, "*.*"))
	call := filepath.Join(folder, fmt.Sprintf("%06d", len(calls)))
	if os.WriteFile(note, got, 0o600) != nil || os.Link(note, call+".begun") != nil {
		return 2
	}
	fails := filepath.Join(folder, failsLeft)
	if info, err := os.Stat(fails); err == nil && info.Size() > 0 {
		_ = os.Truncate(fails, info.Size()-1)
		_ = os.Rename(call+".begun", call+".failed")
		return 1
	}
	hold := filepath.Join(folder, holdOn)
	if _, err := os.Stat(hold); err == nil {
		child := exec.Command("sleep", "1000")
		if child.Start() != nil {
			return 2
		}
		_ = os.WriteFile(filepath.Join(folder, heldBy), fmt.Appendf(nil, "%d %d", os.Getpid(), child.Process.Pid), 0o600)
		_ = child.Wait()
	}
	if os.Rename(call+".begun", call+".done") != nil {
		return 2
	}
	return 0
}

// A handled is what the handlers of a watch have got so far.
type handled struct {
	t      testing.TB
	folder string
	read   map[string]bool // calls that are accounted for
}

func newHandled(t testing.TB) *handled {
	return &handled{t: t, folder: t.TempDir(), read: make(map[string]bool)}
}

// watch starts a watch with a state file that calls the handler.
func (h *handled) watch(etcd *etcdtest.Nodes, state string, args ...string) *hbtest.Program {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	args = append([]string{"watch", "--state-file", state}, append(args, "--", "env", handlerFolder+"="+h.folder, self)...)
	return hbctl(h.t, etcd.Endpoints(), args...)
}

func (h *handled) path(name string) string { return filepath.Join(h.folder, name) }

func (h *handled) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// call is what one call of the handler got, and how it ended: done, failed, or begun if it was cut.
type call struct {
	lines []lineOf
	end   string
}

// String gives what was told, as "done: down a, up b".
func (c call) String() string {
	told := make([]string, len(c.lines))
	for i, l := range c.lines {
		told[i] = strings.TrimSpace(l.Kind + " " + l.Host)
	}
	return c.end + ": " + strings.Join(told, ", ")
}

// tells says whether a call that ended with 0 had such a line.
func (c call) tells(is func(*lineOf) bool) bool {
	return c.end == "done" && slices.ContainsFunc(c.lines, func(l lineOf) bool { return is(&l) })
}

// calls gives the calls since the last time, which must have ended.
func (h *handled) calls() []call {
	h.t.Helper()
	calls, names := h.peek()
	for _, name := range names {
		h.read[name] = true
	}
	return calls
}

// peek gives the same, and gives them again.
func (h *handled) peek() (calls []call, names []string) {
	h.t.Helper()
	files, err := filepath.Glob(h.path("*.*"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, file := range files {
		name, end, _ := strings.Cut(filepath.Base(file), ".")
		text, err := os.ReadFile(file)
		if h.read[name] || errors.Is(err, os.ErrNotExist) {
			continue // or it is just ending, and has another name now
		}
		c := call{end: end}
		for line := range bytes.Lines(text) {
			var l lineOf
			if err := json.Unmarshal(line, &l); err != nil {
				h.t.Fatalf("%s: %v in %s", file, err, line)
			}
			c.lines = append(c.lines, l)
		}
		calls, names = append(calls, c), append(names, name)
	}
	return calls, names
}

// awaitDone waits for a call that ends with 0 and had such a line.
func (h *handled) awaitDone(limit time.Duration, what string, is func(*lineOf) bool) {
	h.t.Helper()
	hbtest.Eventually(h.t, limit, what+" is handled", func() bool {
		calls, _ := h.peek()
		return slices.ContainsFunc(calls, func(c call) bool { return c.tells(is) })
	})
}

// count says how many calls ended so.
func (h *handled) count(end string) int {
	files, _ := filepath.Glob(h.path("*." + end))
	return len(files)
}

// awaitHeld waits until a call is held, and gives its process and the one that it started.
func (h *handled) awaitHeld() (call, child int) {
	h.t.Helper()
	hbtest.Eventually(h.t, 20*time.Second, "the handler is held", func() bool {
		text, err := os.ReadFile(h.path(heldBy))
		if err != nil {
			return false
		}
		_, err = fmt.Sscan(string(text), &call, &child)
		return err == nil
	})
	return call, child
}

// want compares what was told.
func want(t testing.TB, calls []call, want ...string) {
	t.Helper()
	var got []string
	for _, c := range calls {
		got = append(got, c.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the handler got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// running says whether there is such a process, other than one that only waits for its parent to notice its end.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, state, _ := strings.Cut(string(stat), ") ")
	return !errors.Is(err, os.ErrNotExist) && !strings.HasPrefix(state, "Z")
}

// handling says whether a handler of the folder is running.
func handling(folder string) bool {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	return slices.ContainsFunc(environments, func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && bytes.Contains(text, []byte(handlerFolder+"="+folder+"\x00"))
	})
}

// asRun makes the calls during one run of a watch what a run that prints would have told, and counts those that failed.
func asRun(calls []call) (run *watchRun, failed int) {
	run = &watchRun{}
	for i, c := range calls {
		if c.end == "failed" {
			failed++
			if i < len(calls)-1 {
				continue // the same lines follow
			}
		}
		run.lines = append(run.lines, c.lines...)
	}
	return run, failed
}

// A handler that fails twice gets the same lines again; one that is cut because its watch is killed is gone, with what it
// started, before there is another; and although the history meanwhile is compacted, it is told all that changed: once, but for what was cut.
func TestHandlerMissesNothing(t *testing.T) {
	etcd := etcdtest.Standalone(t)
	client := etcd.Client()
	h, state := newHandled(t), filepath.Join(t.TempDir(), "state")
	world := newBusyWriter(t, client, 1, 0, 0)
	for _, host := range []string{"a", "b", "c"} {
		world.appear(t, host)
	}

	first := h.watch(etcd, state)
	h.awaitDone(20*time.Second, "the start", synced)
	want(t, h.calls(), "done: present a, present b, present c, synced")

	h.write(failsLeft, "xx")
	put(t, client, "/hb/admin/vol/a", `{"schema":1,"disabled":{"reason":"r"}}`)
	hbtest.Eventually(t, 20*time.Second, "the third time works", func() bool { return h.count("done") == 2 })
	want(t, h.calls(), "failed: disabled a", "failed: disabled a", "done: disabled a")

	h.write(holdOn, "")
	remove(t, client, "/hb/alive/vol/b")
	handler, child := h.awaitHeld()
	first.Kill()
	hbtest.Eventually(t, 10*time.Second, "what was running is gone", func() bool { return !running(handler) && !running(child) })
	want(t, h.calls(), "begun: down b")
	if err := os.Remove(h.path(holdOn)); err != nil {
		t.Fatal(err)
	}

	put(t, client, "/hb/admin/vol/a", `{"schema":1}`)
	world.appear(t, "c")
	world.appear(t, "d")
	remove(t, client, "/hb/alive/vol/d")
	world.appear(t, "d")
	etcd.Compact(0)
	second := h.watch(etcd, state)
	h.awaitDone(20*time.Second, "what happened meanwhile", synced)
	want(t, h.calls(), "done: enabled a, down b, down c, up c, up d", "done: synced")
	second.Signal(syscall.SIGTERM)
	if code := second.Ends(10 * time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
}

// appear has an instance appear, or another process take its name.
func (b *busyWriter) appear(t testing.TB, host string) {
	t.Helper()
	_, err := b.client.Txn(t.Context()).Then(b.record(host),
		clientv3.OpPut("/hb/alive/vol/"+host, fmt.Sprintf(`{"schema":1,"registration":"%x"}`, b.random.Uint64()), clientv3.WithLease(b.lease))).Commit()
	if err != nil {
		t.Fatal(err)
	}
}

// A watch is killed at random moments of a busy stream while its handler fails now and then. The handler gets every batch that
// an uninterrupted watch tells, in order; what it has ended with 0 it gets again only if the watch was killed right then. HBCTL_TEST_KILLS
// and HBCTL_TEST_SEED are as for TestStateFileSurvivesKills.
func TestHandlerSurvivesKills(t *testing.T) {
	kills, seed := number(t, "HBCTL_TEST_KILLS", 16/hbtest.Slow), uint64(number(t, "HBCTL_TEST_SEED", 1))
	etcd := etcdtest.Standalone(t)
	h, state := newHandled(t), filepath.Join(t.TempDir(), "state")
	writer := newBusyWriter(t, etcd.Client(), seed, 20, 0)
	random := rand.New(rand.NewPCG(seed, 2))

	whole := watchProcess(t, etcd)
	whole.until(t, 20*time.Second, "synced", synced)
	run := h.watch(etcd, state, "--only-changes")
	h.awaitDone(20*time.Second, "the start", synced)

	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() { writer.stream(t, 16/hbtest.Slow, stop) })
	var runs []*watchRun
	failed := 0
	ended := func() {
		r, again := asRun(h.calls())
		runs, failed = append(runs, r), failed+again
	}
	for range kills {
		before := h.count("done")
		hbtest.Eventually(t, 60*time.Second, "a batch is handled", func() bool { return h.count("done") > before+random.IntN(3) })
		if random.IntN(2) == 0 {
			h.write(failsLeft, "xx"[:1+random.IntN(2)])
		}
		hbtest.Sleep(t, time.Duration(random.IntN(200))*time.Millisecond) // the moment of the fault
		run.Kill()
		hbtest.Eventually(t, 10*time.Second, "no handler is running", func() bool { return !handling(h.folder) })
		ended()
		run = h.watch(etcd, state, "--only-changes")
	}
	close(stop)
	writing.Wait()
	put(t, etcd.Client(), "/hb/instances/vol/last", `{"schema":1,"binary":"vol","host":"last","zone":"z"}`)
	last := func(l *lineOf) bool { return l.Host == "last" && !l.More }
	whole.until(t, 60*time.Second, "the uninterrupted one has told everything", last)
	h.awaitDone(120*time.Second, "the last", last)
	whole.end(syscall.SIGTERM)
	run.Signal(syscall.SIGTERM)
	run.Ends(10 * time.Second)
	ended()
	checkRuns(t, whole, runs)
	t.Logf("seed %d: %d transactions, %d kills, %d calls of the handler failed", seed, writer.writes, kills, failed)
}
