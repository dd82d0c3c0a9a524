package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// A program is a process of the built hbctl, or of a tool that runs it.
type program struct {
	*exec.Cmd
	t    testing.TB
	over chan struct{} // closed when it has ended
	mu   sync.Mutex
	logs bytes.Buffer
}

// Write collects what the program says.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.Write(b)
}

func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.String()
}

// start starts a command line against the endpoints. It is killed at the end of the test.
func start(t testing.TB, etcd *etcdtest.Nodes, line ...string) *program {
	t.Helper()
	p := &program{t: t, Cmd: exec.Command(line[0], line[1:]...), over: make(chan struct{})}
	p.Env = append(os.Environ(), "HBCTL_ENDPOINTS="+strings.Join(etcd.Endpoints(), ","))
	p.Stdout, p.Stderr = p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.over)
		_ = p.Wait() // the code says it
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", strings.Join(line, " "), p.said())
		}
	})
	return p
}

// kill ends the program, if it has not ended by itself, and waits for it.
func (p *program) kill() {
	_ = p.Process.Kill()
	<-p.over
}

// ends waits for the end of the program and gives its exit code.
func (p *program) ends(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.over:
	case <-time.After(limit):
		p.t.Fatalf("did not end within %v:\n%s", limit, p.said())
	}
	return p.ProcessState.ExitCode()
}

// registering is the command line that holds a name.
func registering(t testing.TB, name registry.Name, ttl time.Duration, more ...string) []string {
	t.Helper()
	return append([]string{etcdtest.Binary(t, "./cmd/hbctl"), "register", "--binary", name.Binary, "--host", name.Host, "--ttl", ttl.String(), "--report-interval", "0"}, more...)
}

// A holder with 20 descriptors lives with them: it opens none for a renewal, and comes back after etcd was away. With too few to
// start with, the program says so and ends.
func TestF27DescriptorsExhausted(t *testing.T) {
	t.Parallel()
	const ttl, limit = 3 * time.Second, 20
	prlimit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Skip("there is no prlimit here to take descriptors away")
	}
	etcd := etcdtest.Standalone(t)
	w := watchAll(t, etcd.Client())
	limited := func(n int, line ...string) []string {
		return append([]string{prlimit, fmt.Sprintf("--nofile=%d", n), "--"}, line...)
	}
	p := start(t, etcd, limited(limit, registering(t, hbtest.Node(1), ttl)...)...)
	up, _ := w.Event(15*time.Second, watcher.Up, hbtest.Node(1), 0)
	before := descriptors(t, p.Process.Pid)
	hbtest.Sleep(t, 2*ttl)
	etcd.Nodes[0].Restart()
	hbtest.Sleep(t, 2*ttl) // longer than etcd would forgive one that does not come back
	after := descriptors(t, p.Process.Pid)
	if s := hbtest.List(t, etcd.Client())[hbtest.Node(1)]; s.State != registry.Up || *s.Incarnation != up.Incarnation {
		t.Errorf("the holder is %s", s.State)
	}
	if n := w.Count(watcher.Down, everyone); n != 0 || after > before {
		t.Errorf("%d downs, %d descriptors before and %d after", n, before, after)
	}
	few, said := outOfFiles(t, etcd, limited)
	t.Logf("F27: with %d descriptors, of which it uses %d before and %d after a restart of etcd: 0 downs in %v at TTL %v; with %d, Go's runtime itself can't start, and `hbctl list` ends and says %q; with one more it works",
		limit, before, after, 4*ttl, ttl, few, said)
}

// outOfFiles gives the program fewer and fewer descriptors until it can't work any more, which it must say, and soon. It needs no more
// than Go's runtime and one connection do, so the words are those of the runtime.
func outOfFiles(t *testing.T, etcd *etcdtest.Nodes, limited func(int, ...string) []string) (few int, said string) {
	t.Helper()
	for few = 16; few > 3; few-- {
		list := start(t, etcd, limited(few, etcdtest.Binary(t, "./cmd/hbctl"), "list")...)
		if list.ends(20*time.Second) == 0 {
			continue
		}
		said, _, _ = strings.Cut(strings.TrimSpace(list.said()), "\n")
		if !strings.Contains(said, "too many open files") && !strings.Contains(said, "failed with 24") {
			t.Errorf("with %d descriptors it says %q", few, said)
		}
		return few, said
	}
	t.Error("it works without descriptors")
	return few, said
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no /proc here to count descriptors by")
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// memoryGroup makes a control group of so much memory, and gives the folder that a process joins.
func memoryGroup(t *testing.T, limit int) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	group := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("hbctl-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no control group of memory can be made here (version 1, as root): %v", err)
	}
	t.Cleanup(func() {
		hbtest.Eventually(t, 10*time.Second, "the control group is empty", func() bool {
			err := syscall.Rmdir(group)
			return err == nil || errors.Is(err, os.ErrNotExist)
		})
	})
	if err := os.WriteFile(filepath.Join(group, "memory.limit_in_bytes"), fmt.Append(nil, limit), 0o600); err != nil {
		t.Skipf("memory can't be limited here: %v", err)
	}
	return group
}
