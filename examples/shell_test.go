package examples_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

var clock = registry.Name{Binary: "clock", Host: "node1"}

// A shellService is the script under `hbctl run`.
type shellService struct {
	*hbtest.Program
	t   testing.TB
	w   *hbtest.Witness
	out string // where it writes
}

func startShell(t testing.TB, flags ...string) *shellService {
	t.Helper()
	etcd := etcdtest.Standalone(t)
	s := &shellService{t: t, w: hbtest.Watch(t, etcd.Client(), watcher.Now()), out: filepath.Join(t.TempDir(), "folder", "clock")}
	if err := os.Mkdir(filepath.Dir(s.out), 0o755); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"run", "--binary", "clock", "--host", "node1", "--ttl", "3s"}, flags...)
	dependsOn(t, "shell/*")
	s.Program = startHbctl(t, etcd, append(args, "--", "shell/service.sh", s.out)...)
	return s
}

// works waits until the script has written, and gives its process id.
func (s *shellService) works() (pid int) {
	s.t.Helper()
	hbtest.Eventually(s.t, long, "it writes", func() bool {
		text, err := os.ReadFile(s.out)
		n, _ := fmt.Sscan(string(text), &pid)
		return err == nil && n == 1
	})
	return pid
}

// down waits for the down and gives its cause and the reason.
func (s *shellService) down(after int64) (cause registry.Cause, reason string, at int64) {
	s.t.Helper()
	e, batch := s.w.Event(long, watcher.Down, clock, after)
	if e.Cause != nil {
		cause = *e.Cause
	}
	if e.CauseReason != nil {
		reason = *e.CauseReason
	}
	return cause, reason, batch.Revision
}

// Asked to stop it finishes its work and has left.
func TestShellLeaves(t *testing.T) {
	s := startShell(t)
	pid := s.works()
	s.Signal(syscall.SIGTERM)
	if cause, reason, _ := s.down(0); cause != registry.CauseLeft {
		t.Errorf("cause %s (%s), want left", cause, reason)
	}
	if code := s.Ends(long); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if text, err := os.ReadFile(s.out); err != nil || strings.TrimSpace(string(text)) != fmt.Sprintf("%d has ended", pid) {
		t.Errorf("its last words are %q (%v)", text, err)
	}
}

// Where it can't do its work it has failed, and its exit code is the reason.
func TestShellFails(t *testing.T) {
	s := startShell(t)
	s.works()
	if err := os.RemoveAll(filepath.Dir(s.out)); err != nil {
		t.Fatal(err)
	}
	if cause, reason, _ := s.down(0); cause != registry.CauseFailed || reason != "exit status 3" {
		t.Errorf("cause %s (%s), want failed (exit status 3)", cause, reason)
	}
	if code := s.Ends(long); code != 3 {
		t.Errorf("exit code %d, want 3", code)
	}
}

// Where it hangs it is unhealthy, and up again when it goes on.
func TestShellHangs(t *testing.T) {
	if _, err := exec.LookPath("systemd-notify"); err != nil {
		t.Skip("needs systemd-notify:", err)
	}
	s := startShell(t, "--notify", "--watchdog", "5s")
	pid := s.works()
	up, _ := s.w.Event(long, watcher.Up, clock, 0)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cause, reason, at := s.down(0)
	if cause != registry.CauseUnhealthy {
		t.Errorf("cause %s (%s), want unhealthy", cause, reason)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if again, _ := s.w.Event(long, watcher.Up, clock, at); again.Incarnation <= up.Incarnation {
		t.Errorf("incarnation %d after %d", again.Incarnation, up.Incarnation)
	}
	s.Signal(syscall.SIGTERM)
	if cause, reason, _ := s.down(at); cause != registry.CauseLeft {
		t.Errorf("cause %s (%s), want left", cause, reason)
	}
	if code := s.Ends(long); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}
