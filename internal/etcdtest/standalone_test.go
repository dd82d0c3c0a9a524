//go:build unix

package etcdtest_test

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

// answers tells whether a node answers within a second.
func answers(t *testing.T, n *etcdtest.Node) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Endpoint()+"/version", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return true
}

func runs(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestStandalone(t *testing.T) {
	s := etcdtest.Standalone(t, "--quota-backend-bytes=104857600")
	node, c := s.Nodes[0], s.Client()
	id := grant(t, c, "k", 60)

	t.Run("is killed and restarted", func(t *testing.T) {
		endpoint, pid := node.Endpoint(), node.PID()
		node.Kill()
		if runs(pid) {
			t.Error("process lives on")
		}
		if answers(t, node) {
			t.Error("somebody answers")
		}
		node.Restart()
		if node.Endpoint() != endpoint {
			t.Errorf("endpoint went from %s to %s", endpoint, node.Endpoint())
		}
		if !present(t, c, "k") {
			t.Error("key is gone")
		}
		if _, err := c.KeepAliveOnce(quick(t), id); err != nil {
			t.Errorf("lease is gone: %v", err)
		}
	})
	t.Run("is frozen and thawed", func(t *testing.T) {
		node.Freeze()
		if answers(t, node) {
			t.Error("a frozen node answers")
		}
		node.Thaw()
		if !answers(t, node) {
			t.Error("a thawed node does not answer")
		}
	})
	t.Run("is killed while frozen", func(t *testing.T) {
		node.Freeze()
		node.Kill()
		node.Restart()
		if !present(t, c, "k") {
			t.Error("key is gone")
		}
	})
	t.Run("is stopped", func(t *testing.T) {
		node.Stop()
		node.Stop()
		node.Start()
		node.WaitHealthy()
		s.Compact(0)
		if _, err := c.Get(quick(t), "k", clientv3.WithRev(1)); err == nil {
			t.Error("history is still there")
		}
	})
}

func TestStandaloneCluster(t *testing.T) {
	s := etcdtest.StandaloneCluster(t, 3)
	c := s.Client()
	grant(t, c, "k", 60)

	old := s.Leader()
	old.Freeze()
	next := s.Leader()
	if next == old {
		t.Error("a frozen node leads")
	}
	if !present(t, s.NewClient(next).Client, "k") {
		t.Error("key is gone")
	}
	old.Thaw()
	old.WaitHealthy()

	for _, node := range s.Nodes {
		node.Kill()
	}
	for _, node := range s.Nodes {
		node.Start()
	}
	for _, node := range s.Nodes {
		node.WaitHealthy()
	}
	if !present(t, c, "k") {
		t.Error("key is gone after all nodes were killed")
	}
	if got := len(s.Followers()); got != 2 {
		t.Errorf("%d followers, want 2", got)
	}
}

func TestStandaloneEndsWithItsTest(t *testing.T) {
	var pid int
	t.Run("inner", func(t *testing.T) {
		node := etcdtest.Standalone(t).Nodes[0]
		pid = node.PID()
		node.Freeze()
	})
	if pid != 0 && runs(pid) {
		t.Error("process lives on after its test")
	}
}

func TestBinary(t *testing.T) {
	begin := time.Now()
	program := etcdtest.Binary(t, "go.etcd.io/etcd/server/v3")
	first := time.Since(begin)
	begin = time.Now()
	if again := etcdtest.Binary(t, "go.etcd.io/etcd/server/v3"); again != program {
		t.Errorf("built twice: %s and %s", program, again)
	}
	t.Logf("first call %v, second %v", first, time.Since(begin))
	out, err := exec.CommandContext(quick(t), program, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(out), "etcd Version: 3.7") {
		t.Errorf("it says %q", out)
	}
}
