package supervise_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/supervise"
)

// stubborn starts a job that ignores what can be ignored, and tells its number.
const stubborn = `sh -c 'trap "" TERM HUP INT; echo $$; while :; do sleep 1; done' & `

func guarded(t *testing.T, script string) (*supervise.Process, *bufio.Reader) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	g, err := supervise.StartGuardian()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Release)
	if err := g.Ready(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := supervise.Start(supervise.Command{Args: []string{"sh", "-c", script}, Stdout: w, Stderr: os.Stderr, Guardian: g})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop(syscall.SIGKILL)
		p.Sweep(context.Background(), 0)
		r.Close()
	})
	return p, bufio.NewReader(r)
}

// members are the live processes of a group.
func members(t *testing.T, group int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, _ := os.ReadFile(path)
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" && fields[0] != "X" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestGuardianLeadsTheGroupAndGoesWithIt(t *testing.T) {
	t.Parallel()
	p, out := guarded(t, stubborn+"exec sleep 1000")
	line(t, out)
	if p.Group() == p.PID() || !alive(p.Group()) {
		t.Fatalf("group %d of child %d has no guardian", p.Group(), p.PID())
	}
	if name, _ := os.ReadFile("/proc/" + strconv.Itoa(p.Group()) + "/comm"); string(name) != "guardian\n" {
		t.Errorf("the guardian is called %q", name)
	}
	p.Pass(syscall.SIGINT) // to all of the group, the guardian too
	if got := wait(t, p); got.Code != 130 || !got.Asked {
		t.Errorf("got %+v", got)
	}
	if !alive(p.Group()) {
		t.Error("Ctrl-C ended the guardian while the group is not empty")
	}
	p.Sweep(t.Context(), 100*time.Millisecond)
	if left := members(t, p.Group()); len(left) > 0 {
		t.Errorf("processes %v are still there", left)
	}
}

// A sweep of a group whose members listen must not wait for the guardian.
func TestSweepDoesNotWaitForTheGuardian(t *testing.T) {
	t.Parallel()
	p, out := guarded(t, "sleep 1000 & echo; exit 0")
	line(t, out)
	wait(t, p)
	swept := make(chan struct{})
	go func() { defer close(swept); p.Sweep(context.Background(), time.Hour) }()
	select {
	case <-swept:
	case <-time.After(patience):
		t.Fatal("the sweep does not end")
	}
	if left := members(t, p.Group()); len(left) > 0 {
		t.Errorf("processes %v are still there", left)
	}
}

func TestGuardianIsReplaced(t *testing.T) {
	t.Parallel()
	p, out := guarded(t, stubborn+"exec sleep 1000")
	line(t, out)
	if err := syscall.Kill(p.Group(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Unguarded():
	case <-time.After(patience):
		t.Fatal("nobody noticed")
	}
	if err := p.Reguard(); err != nil {
		t.Fatal(err)
	}
	if got := len(members(t, p.Group())); got < 3 { // child, job, the other guardian
		t.Errorf("%d processes in the group", got)
	}
	p.Pass(syscall.SIGTERM)
	wait(t, p)
	p.Sweep(t.Context(), 0)
	if left := members(t, p.Group()); len(left) > 0 {
		t.Errorf("processes %v are still there", left)
	}
}

// The whole group goes with a parent that is killed, at any moment, and what is stopped goes too.
func TestGroupDiesWithItsParent(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"stubborn": stubborn + "exec sleep 1000",
		"stopped":  `sh -c 'trap "" TERM HUP; echo $$; kill -STOP 0; while :; do sleep 1; done' & exec sleep 1000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				t.Skip("starts processes")
			}
			parent := exec.Command(os.Args[0])
			parent.Env = append(os.Environ(), "SUPERVISE_PARENT="+script, "SUPERVISE_GUARDED=1")
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			pid := pidOf(t, line(t, bufio.NewReader(out)))
			group, err := syscall.Getpgid(pid)
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = parent.Wait() // it was killed
			for deadline := time.Now().Add(patience); len(members(t, group)) > 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("processes %v are still there", members(t, group))
				}
			}
		})
	}
}

// What the command inherits is what it would have without us: no end of a guardian's pipe.
func TestCommandInheritsNothing(t *testing.T) {
	t.Parallel()
	const count = "set -- /proc/$$/fd/*; echo $#; exec sleep 1000"
	_, plain := start(t, count)
	_, out := guarded(t, count)
	if got, want := line(t, out), line(t, plain); got != want {
		t.Errorf("the command has %s files open, without a guardian %s", got, want)
	}
}

// A stop is told once, and again for another one.
func TestStoppedIsTold(t *testing.T) {
	t.Parallel()
	p, out := guarded(t, "echo; kill -STOP $$; echo on; kill -STOP $$; sleep 1000")
	line(t, out)
	for range 2 {
		select {
		case <-p.Stopped():
		case <-time.After(patience):
			t.Fatal("nobody told")
		}
		p.Pass(syscall.SIGCONT)
	}
	line(t, out)
}
