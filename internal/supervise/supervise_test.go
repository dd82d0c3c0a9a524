package supervise_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/supervise"
)

const patience = 10 * time.Second

// TestMain lets the test binary be a parent that dies.
func TestMain(m *testing.M) {
	if supervise.IsGuardian(os.Args) {
		os.Exit(supervise.Guard())
	}
	if script := os.Getenv("SUPERVISE_PARENT"); script != "" {
		command := supervise.Command{Args: []string{"sh", "-c", script}, Stdout: os.Stdout}
		if os.Getenv("SUPERVISE_GUARDED") != "" {
			g, err := supervise.StartGuardian()
			if err != nil || g.Ready() != nil {
				os.Exit(1)
			}
			command.Guardian = g
		}
		p, err := supervise.Start(command)
		if err != nil {
			os.Exit(1)
		}
		<-p.Done()
		os.Exit(0)
	}
	if os.Getenv("SUPERVISE_STOPPED") != "" {
		os.Exit(startStopped())
	}
	os.Exit(m.Run())
}

func start(t *testing.T, script string) (*supervise.Process, *bufio.Reader) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := supervise.Start(supervise.Command{Args: []string{"sh", "-c", script}, Stdout: w, Stderr: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		p.Stop(syscall.SIGKILL)
		p.Sweep(t.Context(), 0)
		r.Close()
	})
	return p, bufio.NewReader(r)
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("reading the child's output: %v", err)
	}
	return strings.TrimSpace(s)
}

func wait(t *testing.T, p *supervise.Process) supervise.Result {
	t.Helper()
	select {
	case <-p.Done():
		return p.Result()
	case <-time.After(patience):
		t.Fatal("the child does not end")
	}
	return supervise.Result{}
}

func TestResult(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, script string
		pass         syscall.Signal
		code         int
		asked        bool
		words        string
	}{
		{"done", "echo; exit 0", 0, 0, true, "exit status 0"},
		{"failed", "echo; exit 3", 0, 3, false, "exit status 3"},
		{"ended by a signal of its own", "echo; kill -SEGV $$", 0, 139, false, "signal: segmentation fault"},
		{"stopped", "echo; exec sleep 100", syscall.SIGTERM, 143, true, "signal: terminated"},
		{"stopped by a key", "echo; exec sleep 100", syscall.SIGINT, 130, true, "signal: interrupt"},
		{"ended by a passed user signal", "echo; exec sleep 100", syscall.SIGUSR1, 138, true, "signal: user defined signal 1"},
		{"handles the signal and ends well", "trap 'exit 0' TERM; echo; while :; do sleep 0.01; done", syscall.SIGTERM, 0, true, "exit status 0"},
		{"handles the signal as shells do", "trap 'exit 143' TERM; echo; while :; do sleep 0.01; done", syscall.SIGTERM, 143, true, "exit status 143"},
		{"handles the signal and fails", "trap 'exit 1' TERM; echo; while :; do sleep 0.01; done", syscall.SIGTERM, 1, false, "exit status 1"},
		{"a code above 128 without a signal", "echo; exit 143", 0, 143, false, "exit status 143"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, out := start(t, test.script)
			line(t, out)
			if test.pass != 0 {
				p.Pass(test.pass)
			}
			got := wait(t, p)
			if got.Code != test.code || got.Asked != test.asked || got.String() != test.words {
				t.Errorf("got code %d, asked %v, %q; want %d, %v, %q", got.Code, got.Asked, got, test.code, test.asked, test.words)
			}
		})
	}
}

func TestStopIsNotAsked(t *testing.T) {
	t.Parallel()
	p, out := start(t, "echo; exec sleep 100")
	line(t, out)
	p.Stop(syscall.SIGTERM)
	if got := wait(t, p); got.Asked || got.Code != 143 {
		t.Errorf("got %+v", got)
	}
}

func TestStoppedChildActsOnSignals(t *testing.T) {
	t.Parallel()
	p, out := start(t, "echo; kill -STOP $$; exec sleep 100")
	line(t, out)
	p.Pass(syscall.SIGTERM)
	if got := wait(t, p); got.Code != 143 {
		t.Errorf("got %+v", got)
	}
	p.Pass(syscall.SIGTERM) // must do nothing
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name, program string
		code          int
		words         string
	}{
		{"not in PATH", "no-such-command-anywhere", 127, "no-such-command-anywhere: command not found"},
		{"no such file", dir + "/nothing", 127, dir + "/nothing: command not found"},
		{"not executable", script("plain", "", 0o644), 126, dir + "/plain can't be executed: permission denied"},
		{"directory", dir, 126, dir + " can't be executed: is a directory"},
		{"no interpreter", script("lost", "#!/no/such/sh\n", 0o755), 127, dir + "/lost: its interpreter is not found"},
		{"no program", script("junk", "\x01\x02", 0o755), 126, dir + "/junk can't be executed: exec format error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := supervise.Start(supervise.Command{Args: []string{test.program}})
			var startErr *supervise.StartError
			if !errors.As(err, &startErr) || startErr.Code != test.code || err.Error() != test.words {
				t.Errorf("got %#v %v; want %d %q", err, err, test.code, test.words)
			}
		})
	}
}

// alive says whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); alive(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("process %d is still there", pid)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func pidOf(t *testing.T, text string) int {
	t.Helper()
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"a job in the background": "sleep 100 & echo $!; exit 0",
		"one that ignores TERM":   "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 100; done' & sleep 100",
		"one that is stopped":     "sh -c 'echo $$; kill -STOP $$' & sleep 100",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, out := start(t, script)
			pid := pidOf(t, line(t, out))
			p.Pass(syscall.SIGTERM)
			wait(t, p)
			p.Sweep(t.Context(), 200*time.Millisecond)
			if alive(pid) {
				t.Errorf("process %d is still there", pid)
			}
		})
	}
}

func TestSweepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p, out := start(t, "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 100; done' & sleep 100")
	pid := pidOf(t, line(t, out))
	p.Pass(syscall.SIGTERM)
	wait(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Sweep(ctx, time.Hour)
	if alive(pid) {
		t.Errorf("process %d is still there", pid)
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "SUPERVISE_PARENT=echo $$; exec sleep 100")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, line(t, bufio.NewReader(out)))
	if !alive(pid) {
		t.Fatal("the child is not there")
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	_ = parent.Wait()
	awaitGone(t, pid)
}

// The death signal follows the thread that started the child: threads that end meanwhile must not kill it.
func TestChildOutlivesThreads(t *testing.T) {
	t.Parallel()
	p, out := start(t, "echo; read x; echo alive; exec sleep 100")
	line(t, out)
	for range 50 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and end it
		}()
		<-done
	}
	if !alive(p.PID()) {
		t.Error("the child died with a thread")
	}
}

func TestInputAndOutputAreTheChilds(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	p, err := supervise.Start(supervise.Command{
		Args: []string{"sh", "-c", "cat; echo $X"}, Env: append(os.Environ(), "X=set"), Stdin: strings.NewReader("in\n"), Stdout: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, p)
	if got := out.String(); got != "in\nset\n" {
		t.Errorf("wrote %q", got)
	}
}
