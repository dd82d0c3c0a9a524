package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/sdnotify"
	"github.com/hbctl/hbctl/registry"
)

// running is an hbctl of its own, whose input is that of its command.
type running struct {
	*process
	input io.WriteCloser
	err   *os.File
}

func (r *running) wants(t *testing.T, code int) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if got := codeOf(r.cmd.ProcessState); got != code {
		said, _ := os.ReadFile(r.err.Name())
		t.Errorf("ended with %d, want %d: %s", got, code, said)
	}
}

// startProgram starts this binary as hbctl, in a process group of its own, with says in its PATH.
func startProgram(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	endpoint, _ := etcd(t)
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "says")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Args[0], cmd.Dir = "hbctl", dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = append([]string{
		"PATH=" + dir + ":" + os.Getenv("PATH"), "HBCTL_ENDPOINTS=" + endpoint, "HBCTL_PREFIX=" + prefixOf(t), "GORACE=atexit_sleep_ms=0",
	}, env...)
	r := &running{process: &process{cmd: cmd, done: make(chan struct{})}}
	if r.err, err = os.Create(filepath.Join(dir, "err")); err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = r.err
	if r.input, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = cmd.Wait() // its code is looked at later
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended
		<-r.done
		r.err.Close()
	})
	return r
}

func prefixOf(t *testing.T) string { return "/" + t.Name() + "/" }

// rowOf gives the only row.
func rowOf(t *testing.T) (registry.Service, bool) {
	t.Helper()
	_, client := etcd(t)
	list, err := registry.List(t.Context(), client, registry.ListOptions{Prefix: prefixOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Services) != 1 {
		return registry.Service{}, false
	}
	return list.Services[0], true
}

// awaitRow waits until the only row is so.
func awaitRow(t *testing.T, what string, so func(registry.Service) bool) registry.Service {
	t.Helper()
	var row registry.Service
	if !poll(func() bool {
		var found bool
		row, found = rowOf(t)
		return found && so(row)
	}) {
		t.Fatalf("never %s: %+v", what, row)
	}
	return row
}

func isUp(s registry.Service) bool { return s.State == registry.Up }

func unhealthyFor(reason string) func(registry.Service) bool {
	return func(s registry.Service) bool {
		return s.State == registry.Down && s.Cause != nil && *s.Cause == registry.CauseUnhealthy &&
			s.CauseReason != nil && strings.Contains(*s.CauseReason, reason)
	}
}

// systemd is what a service manager hears.
type systemd struct {
	t      *testing.T
	socket *sdnotify.Socket
	heard  []string
	alive  int // signs of life
}

func newSystemd(t *testing.T) *systemd {
	t.Helper()
	socket, err := sdnotify.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return &systemd{t: t, socket: socket}
}

// hears waits for a message with the line, all of which must be from the process.
func (s *systemd) hears(pid int, line string) {
	s.t.Helper()
	late := time.AfterFunc(patience, func() { s.socket.Close() })
	defer late.Stop()
	for {
		m, err := s.socket.Receive()
		if err != nil {
			s.t.Fatalf("%s was never said, but %q", line, s.heard)
		}
		if m.PID != pid {
			s.t.Errorf("process %d says something, want only %d", m.PID, pid)
		}
		if m.Is("WATCHDOG", "1") {
			s.alive++
			continue
		}
		text := strings.Join(m.Select("READY", "STATUS", "STOPPING", "MAINPID", "WATCHDOG_USEC"), " ")
		s.heard = append(s.heard, text)
		if text == line {
			return
		}
	}
}

// The command is heard: ready goes on to the service manager once both are, and its watchdog is that of its registration.
func TestRunHearsItsCommand(t *testing.T) {
	etcd(t)
	s := newSystemd(t)
	r := startProgram(t, []string{"NOTIFY_SOCKET=" + s.socket.Address(), "WATCHDOG_USEC=600000"},
		"run", "--binary", "web", "--host", "n1", "--notify", "--watchdog", "1s", "--", "sh", "-c", "while read line; do says $line; done")
	say := func(line string) {
		if _, err := io.WriteString(r.input, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	first := awaitRow(t, "up", isUp)
	say("STATUS=loading MAINPID=1 WATCHDOG_USEC=1000000")
	s.hears(r.cmd.Process.Pid, "STATUS=loading")
	say("READY=1")
	s.hears(r.cmd.Process.Pid, "READY=1")
	if want := []string{"STATUS=loading", "READY=1"}; strings.Join(s.heard, ",") != strings.Join(want, ",") {
		t.Errorf("the manager heard %q, want %q", s.heard, want)
	}

	awaitRow(t, "unhealthy", unhealthyFor("the watchdog was not petted within 1s"))
	say("WATCHDOG_USEC=600000000 WATCHDOG=1")
	second := awaitRow(t, "up again", isUp)
	if *second.Incarnation <= *first.Incarnation {
		t.Errorf("incarnation %d after %d", *second.Incarnation, *first.Incarnation)
	}
	say("WATCHDOG=trigger")
	awaitRow(t, "unhealthy", unhealthyFor("tripped its watchdog"))
	say("WATCHDOG=1")
	awaitRow(t, "up again", isUp)

	r.input.Close()
	s.hears(r.cmd.Process.Pid, "STOPPING=1")
	r.wants(t, 0)
	if s.alive == 0 {
		t.Error("hbctl gave no sign of life")
	}
	row, _ := rowOf(t)
	if row.Cause == nil || *row.Cause != registry.CauseLeft {
		t.Errorf("ended as %v", row.Cause)
	}
}

// A command that never speaks is as good, and not minded, though the unit has a watchdog.
func TestRunOfASilentCommand(t *testing.T) {
	etcd(t)
	s := newSystemd(t)
	r := startProgram(t, []string{"NOTIFY_SOCKET=" + s.socket.Address(), "WATCHDOG_USEC=300000"},
		"run", "--binary", "web", "--host", "n1", "--", "sh", "-c", "read line; test $WATCHDOG_USEC = 300000")
	s.hears(r.cmd.Process.Pid, "READY=1")
	first := awaitRow(t, "up", isUp)
	for signs := s.alive; s.alive < signs+9; { // three times its time
		m, err := s.socket.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Is("WATCHDOG", "1") {
			s.alive++
		}
	}
	if row, _ := rowOf(t); row.State != registry.Up || *row.Incarnation != *first.Incarnation {
		t.Errorf("it was not left alone: %+v", row)
	}
	r.input.Close()
	r.wants(t, 0)
}

func TestRegisterTellsTheManager(t *testing.T) {
	etcd(t)
	s := newSystemd(t)
	r := startProgram(t, []string{"NOTIFY_SOCKET=" + s.socket.Address()}, "register", "--binary", "web", "--host", "n1")
	s.hears(r.cmd.Process.Pid, "READY=1")
	if row, found := rowOf(t); !found || !isUp(row) {
		t.Errorf("ready, and not registered: %+v", row)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.hears(r.cmd.Process.Pid, "STOPPING=1")
	r.wants(t, 0)
}

func TestWhoIsHeeded(t *testing.T) {
	t.Parallel()
	own, other := os.Geteuid(), os.Geteuid()+1
	group := syscall.Getpgrp()
	for name, test := range map[string]struct {
		message sdnotify.Message
		group   int
		want    bool
	}{
		"our user":                  {sdnotify.Message{PID: 0, UID: own}, group, true},
		"another, in the group":     {sdnotify.Message{PID: os.Getpid(), UID: other}, group, true},
		"another, of another group": {sdnotify.Message{PID: os.Getpid(), UID: other}, group + 1, false},
		"another, out of sight":     {sdnotify.Message{PID: 0, UID: other}, group, false},
	} {
		if got := trusted(test.message, test.group); got != test.want {
			t.Errorf("%s: heeded is %v", name, got)
		}
	}
}

// Ctrl-Z stops both, for the command must not work while nobody renews its lease; and both go on.
func TestRunIsStoppedAndGoesOn(t *testing.T) {
	etcd(t)
	r := startProgram(t, nil, "run", "--binary", "web", "--host", "n1", "--", "sh", "-c", "echo $$ > pid; while read line; do echo $line > said; done; exit 7")
	awaitRow(t, "up", isUp)
	var pid int
	if !poll(func() bool {
		text, _ := os.ReadFile(filepath.Join(r.cmd.Dir, "pid"))
		_, err := fmt.Sscan(string(text), &pid)
		return err == nil
	}) {
		t.Fatal("the command does not start")
	}
	for range 2 {
		if err := r.cmd.Process.Signal(syscall.SIGTSTP); err != nil {
			t.Fatal(err)
		}
		if !poll(func() bool { return frozen(r.cmd.Process.Pid) && frozen(pid) }) {
			t.Fatalf("stopped: hbctl %v, its command %v", frozen(r.cmd.Process.Pid), frozen(pid))
		}
		if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if !poll(func() bool { return !frozen(r.cmd.Process.Pid) && !frozen(pid) }) {
			t.Fatal("they do not go on")
		}
	}
	r.input.Close()
	r.wants(t, 7)
}

// As the first process of a container hbctl inherits what the command leaves behind, and buries it while the command runs on:
// also what has left the command's group.
func TestRunBuriesOrphans(t *testing.T) {
	endpoint, _ := etcd(t)
	first := []string{"--fork", "--pid", "--mount-proc", "--kill-child"}
	if out, err := exec.Command("unshare", append(first, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no process can be made the first of a name space here: %v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const service = `
		for i in 1 2 3 4 5; do (setsid true & true &); done
		tries=0
		while grep -qs '^State:.Z' /proc/[0-9]*/status; do
			tries=$((tries + 1))
			test $tries -lt 100 || exit 9
			sleep 0.1
		done`
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "hbctl")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", append(first, "hbctl", "run", "--binary", "web", "--host", "n1", "--", "sh", "-c", service)...)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HBCTL_ENDPOINTS=" + endpoint, "HBCTL_PREFIX=" + prefixOf(t)}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v (9: the dead stay): %s", err, out)
	}
}
