package examples_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

const (
	jobPrefix = "/example/jobs/"
	jobs      = 6
)

// an assignment of a job.
type assignment struct {
	Worker      string
	Incarnation int64
	Why         string
}

// A yard has an etcd with workers and an orchestrator in it.
type yard struct {
	t       testing.TB
	etcd    *etcdtest.Nodes
	client  *clientv3.Client
	raw     *hbtest.Witness // sees what is gone before it is confirmed
	args    []string
	workers map[string]*hbtest.Program // by name
	boss    *hbtest.Program
}

func newYard(t testing.TB, workers ...string) *yard {
	t.Helper()
	y := &yard{t: t, etcd: etcdtest.Standalone(t), workers: map[string]*hbtest.Program{}}
	y.client = y.etcd.Client()
	y.raw = hbtest.Watch(t, y.client, watcher.Now())
	state := filepath.Join(t.TempDir(), "state")
	y.args = []string{"--jobs", fmt.Sprint(jobs), "--state", state, "--confirm", "1s", "--ttl", "3s"}
	for _, host := range workers {
		y.hire(host)
	}
	y.start()
	y.settled()
	hbtest.Eventually(t, long, "what it knows is saved", func() bool {
		_, err := os.Stat(state)
		return err == nil
	})
	return y
}

// step does one thing after the other in the same yard.
func (y *yard) step(what string, do func()) {
	y.t.Helper()
	y.t.Log(what)
	do()
}

// hire starts a worker and waits until it is up.
func (y *yard) hire(host string) {
	y.t.Helper()
	p := startGo(y.t, y.etcd, "service", "--host", host, "--ttl", serviceTTL.String(), "--every", "1h")
	p.Await(long, 0, working)
	y.workers["worker/"+host] = p
}

func (y *yard) start() {
	y.t.Helper()
	y.boss = startGo(y.t, y.etcd, "orchestrator", y.args...)
}

// rows gives what is registered.
func (y *yard) rows() map[string]registry.Service {
	y.t.Helper()
	rows := map[string]registry.Service{}
	for name, row := range hbtest.List(y.t, y.client) {
		rows[name.String()] = row
	}
	return rows
}

// board gives who has which job.
func (y *yard) board() map[string]assignment {
	y.t.Helper()
	found, err := y.client.Get(y.t.Context(), jobPrefix+"job-", clientv3.WithPrefix())
	if err != nil {
		y.t.Fatal(err)
	}
	return boardOf(y.t, func(take func(string, []byte)) {
		for _, kv := range found.Kvs {
			take(string(kv.Key), kv.Value)
		}
	})
}

func boardOf(t testing.TB, each func(take func(key string, value []byte))) map[string]assignment {
	t.Helper()
	board := map[string]assignment{}
	each(func(key string, value []byte) {
		var a assignment
		if err := json.Unmarshal(value, &a); err != nil {
			t.Fatal(err)
		}
		board[strings.TrimPrefix(key, jobPrefix)] = a
	})
	return board
}

// settled waits until every job is with an incarnation that is up, and gives the board.
func (y *yard) settled() map[string]assignment {
	y.t.Helper()
	var board map[string]assignment
	hbtest.Eventually(y.t, long, "every job is with a worker that is up", func() bool {
		rows := y.rows()
		board = y.board()
		for _, a := range board {
			if row := rows[a.Worker]; row.State != registry.Up || *row.Incarnation != a.Incarnation {
				return false
			}
		}
		return len(board) == jobs
	})
	return board
}

// gone sends a worker a signal and waits until its key is gone, which is before a death is confirmed.
func (y *yard) gone(worker string, sig syscall.Signal) {
	y.t.Helper()
	row := y.rows()[worker]
	y.workers[worker].Signal(sig)
	y.raw.Down(long, row.Name(), *row.Incarnation)
}

func (y *yard) kill(worker string) {
	y.t.Helper()
	y.gone(worker, syscall.SIGKILL)
}

// of gives the jobs of a worker.
func of(board map[string]assignment, worker string) []string {
	var own []string
	for job, a := range board {
		if a.Worker == worker {
			own = append(own, job)
		}
	}
	slices.Sort(own)
	return own
}

// written gives what was written to each job since the board was as given: what must not be more than what must.
func (y *yard) written(since map[string]assignment) map[string][]assignment {
	y.t.Helper()
	all := map[string][]assignment{}
	for _, e := range history(y.t, y.client, jobPrefix) {
		for job, a := range boardOf(y.t, func(take func(string, []byte)) { take(string(e.Kv.Key), e.Kv.Value) }) {
			if all[job] = append(all[job], a); a == since[job] {
				delete(all, job)
			}
		}
	}
	return all
}

// Why a job is moved.
const (
	evacuated  = "evacuated: %s is down: "
	missed     = "evacuated: %s is not there"
	rebalanced = "rebalanced: %s left"
)

// moved checks that all jobs of a worker, and no others, were written once since, to workers that may have them.
func (y *yard) moved(before map[string]assignment, from, why string, to ...string) map[string]assignment {
	y.t.Helper()
	own := of(before, from)
	if len(own) == 0 {
		y.t.Fatalf("%s has no jobs: %v", from, before)
	}
	after := y.settled()
	writes := y.written(before)
	for job := range before {
		w := writes[job]
		if !slices.Contains(own, job) {
			if len(w) != 0 {
				y.t.Errorf("%s of %s was written, and it was not its turn: %v", job, before[job].Worker, w)
			}
			continue
		}
		if len(w) != 1 {
			y.t.Errorf("%s was written %d times, want once: %v", job, len(w), w)
			continue
		}
		if !slices.Contains(to, w[0].Worker) {
			y.t.Errorf("%s went to %s, want one of %v", job, w[0].Worker, to)
		}
		if want := fmt.Sprintf(why, fmt.Sprintf("%s (%d)", from, before[job].Incarnation)); !strings.HasPrefix(w[0].Why, want) {
			y.t.Errorf("%s was moved because %q, want %q", job, w[0].Why, want)
		}
	}
	return after
}

// A worker that dies loses its jobs once that is confirmed, one that leaves at once; one that is only suspected does not.
func TestOrchestrator(t *testing.T) {
	y := newYard(t, "node1", "node2", "node3")
	board := y.settled()
	for worker := range y.workers {
		if n := len(of(board, worker)); n != jobs/3 {
			t.Errorf("%s has %d jobs, want %d", worker, n, jobs/3)
		}
	}

	y.step("a false delete moves nothing", func() {
		was := y.rows()["worker/node1"]
		if _, err := y.client.Delete(t.Context(), "/hb/alive/worker/node1"); err != nil {
			t.Fatal(err)
		}
		y.raw.Down(long, was.Name(), *was.Incarnation)
		after := y.settled()
		for job, writes := range y.written(board) {
			if len(writes) != 1 || writes[0].Worker != "worker/node1" || board[job].Worker != "worker/node1" {
				t.Errorf("%s of %s: %v", job, board[job].Worker, writes)
			}
		}
		if n := len(of(after, "worker/node1")); n != jobs/3 {
			t.Errorf("node1 has %d jobs, want %d", n, jobs/3)
		}
		board = after
	})
	y.step("a death moves its jobs, and not to a disabled one", func() {
		o, err := registry.NewOperator(y.client, registry.OperatorConfig{})
		if err != nil {
			t.Fatal(err)
		}
		node3 := registry.Name{Binary: "worker", Host: "node3"}
		if _, err := o.Want(t.Context(), node3, registry.ToDisable("disk")); err != nil {
			t.Fatal(err)
		}
		y.kill("worker/node2")
		board = y.moved(board, "worker/node2", evacuated, "worker/node1")
		if n := len(of(board, "worker/node3")); n != jobs/3 {
			t.Errorf("node3 has %d jobs, want the %d that it had", n, jobs/3)
		}
		if _, err := o.Want(t.Context(), node3, registry.ToEnable()); err != nil {
			t.Fatal(err)
		}
	})
	y.step("one that leaves is told apart", func() {
		y.gone("worker/node3", syscall.SIGTERM)
		board = y.moved(board, "worker/node3", rebalanced, "worker/node1")
	})
	y.step("without a worker nothing moves until there is one", func() {
		said := len(y.boss.Lines())
		y.kill("worker/node1")
		y.hire("node4")
		board = y.moved(board, "worker/node1", evacuated, "worker/node4")
		y.boss.Await(long, said, "is with worker/node4")
	})
	y.step("there is only one orchestrator", func() {
		second := startGo(t, y.etcd, "orchestrator", "--state", filepath.Join(t.TempDir(), "other"), "--ttl", "3s")
		if code := second.Ends(long); code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
		second.Await(long, 0, "it renews its lease")
	})
	y.boss.Signal(syscall.SIGTERM)
	if code := y.boss.Ends(long); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

// What happens while the orchestrator does not run, or runs blind, is done when it is back: once.
func TestOrchestratorAway(t *testing.T) {
	y := newYard(t, "node1", "node2", "node3")
	board := y.settled()

	y.step("killed before a death", func() {
		y.boss.Kill()
		y.kill("worker/node1")
		y.start()
		board = y.moved(board, "worker/node1", evacuated, "worker/node2", "worker/node3")
	})
	y.step("killed while the death is not confirmed", func() {
		y.kill("worker/node2")
		y.boss.Kill()
		y.start()
		board = y.moved(board, "worker/node2", evacuated, "worker/node3")
	})
	y.step("killed before one leaves, and who would take its place dies", func() {
		y.boss.Kill()
		y.hire("node4") // would be the first to get something
		y.hire("node5")
		y.gone("worker/node3", syscall.SIGTERM)
		y.kill("worker/node4")
		y.start()
		board = y.moved(board, "worker/node3", rebalanced, "worker/node5")
	})
	y.step("etcd is frozen", func() {
		said := len(y.boss.Lines())
		y.etcd.Nodes[0].Freeze()
		y.boss.Await(long, said, "etcd is not heard")
		y.etcd.Nodes[0].Thaw()
		y.boss.Await(long, said, "etcd is heard again")
		for job, a := range y.settled() {
			if a.Worker != board[job].Worker {
				t.Errorf("%s went from %s to %s: %s", job, board[job].Worker, a.Worker, a.Why)
			}
		}
	})
	y.step("started anew, without what it knew", func() {
		board = y.settled()
		y.boss.Kill()
		y.hire("node7")
		y.kill("worker/node5")
		y.args = append(y.args, "--state", filepath.Join(t.TempDir(), "new"))
		y.start()
		y.moved(board, "worker/node5", missed, "worker/node7")
	})
}

// A worker whose process was frozen past its TTL is a dead one, whatever becomes of it: what it had, others have.
func TestOrchestratorFrozenWorker(t *testing.T) {
	y := newYard(t, "node1", "node2")
	board := y.settled()
	frozen := y.workers["worker/node1"]
	y.gone("worker/node1", syscall.SIGSTOP)
	board = y.moved(board, "worker/node1", evacuated, "worker/node2")
	said := len(frozen.Lines())
	frozen.Signal(syscall.SIGCONT)
	frozen.Await(long, said, working)
	y.raw.Await(long, "node1 is back", func(b watcher.Batch) bool {
		return slices.ContainsFunc(b.Events, func(e watcher.Event) bool {
			return e.Kind == watcher.Up && e.Name == serviceName && e.Incarnation > board["job-1"].Incarnation
		})
	})
	if writes := y.written(board); len(writes) != 0 {
		t.Errorf("its return moved %v", writes)
	}
}
