package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// TestScripts runs the whole program, as processes of its own, in the scripts of testdata/script. Beside testscript's own
// commands they have:
//
//	ends CODE PROGRAM ARGS...    runs a program that must end with this code
//	start NAME PROGRAM ARGS...   starts one in the background; what it writes goes to NAME.out and NAME.err
//	signal NAME SIGNAL           sends it a signal, as TERM
//	ended NAME CODE              waits until it has ended with this code, 128 + n for a signal
//	await FILE REGEXP            waits until the file has this
//	dials NAME                   waits until it has a connection to somebody: by then it minds signals
//	gone FILE                    waits until the process whose id is in the file is gone
//	put KEY VALUE, del KEY       changes the etcd in HBCTL_ENDPOINTS, under the script's prefix
//	compact                      drops its history
//	appears PREFIX               waits until there is a key under the prefix
//	nothing                      checks that there is neither a key nor a lease in it
//	users PREFIX                 has it know root (rootpw) and ann (annpw), who may only read what is under the prefix
//	endpoint NAME                sets HBCTL_ENDPOINTS to what the "dev" that was started as NAME says
//	freeport VARIABLE            sets a variable to a port where nothing listens
func TestScripts(t *testing.T) {
	t.Parallel()
	endpoint, _ := etcd(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			prefix := fmt.Sprintf("/%s-%d/", filepath.Base(env.WorkDir), time.Now().UnixNano()) // also when it is run again
			env.Setenv("HBCTL_ENDPOINTS", endpoint)
			env.Setenv("HBCTL_PREFIX", prefix)
			s := &script{prefix: prefix, processes: make(map[string]*process)}
			env.Values[scriptKey{}] = s
			env.Defer(s.kill)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"start": with(2, (*script).start), "signal": with(2, (*script).signal), "ended": with(2, (*script).ended),
			"await": with(2, (*script).await), "dials": with(1, (*script).dials), "gone": with(1, (*script).gone), "put": with(2, (*script).put), "del": with(1, (*script).del),
			"compact": with(0, (*script).compact), "users": with(1, (*script).users),
			"appears": with(1, (*script).appears), "nothing": with(0, (*script).nothing),
			"endpoint": with(1, (*script).endpoint), "freeport": with(1, (*script).freeport),
		},
	})
}

// ends is the program of that name.
func ends() {
	want, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	cmd := exec.Command(os.Args[2], os.Args[3:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	_ = cmd.Run() // the code tells
	if got := codeOf(cmd.ProcessState); got != want {
		fmt.Fprintf(os.Stderr, "ended with %d and not with %d\n", got, want)
		os.Exit(1)
	}
}

// says is the program of that name: it says its arguments by sd_notify, as one message.
func says() {
	if sent, err := daemon.SdNotify(false, strings.Join(os.Args[1:], "\n")); err != nil || !sent {
		fmt.Fprintln(os.Stderr, "not said:", err)
		os.Exit(1)
	}
}

func codeOf(state *os.ProcessState) int {
	if state == nil {
		return -1
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

type scriptKey struct{}

type script struct {
	prefix    string
	mu        sync.Mutex
	processes map[string]*process
}

type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func with(arguments int, do func(*script, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < arguments {
			ts.Fatalf("wrong use of a command")
		}
		s, _ := ts.Value(scriptKey{}).(*script)
		do(s, ts, args)
	}
}

func (s *script) start(ts *testscript.TestScript, args []string) {
	name := args[0]
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "HBCTL_ENDPOINTS", "HBCTL_PREFIX"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	for suffix, to := range map[string]func(*os.File){
		".out": func(f *os.File) { cmd.Stdout = f }, ".err": func(f *os.File) { cmd.Stderr = f },
	} {
		f, err := os.Create(ts.MkAbs(name + suffix))
		ts.Check(err)
		defer f.Close()
		to(f)
	}
	ts.Check(cmd.Start())
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // its code is looked at later
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.processes[name] = p
}

func (s *script) process(ts *testscript.TestScript, name string) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.processes[name]
	if p == nil {
		ts.Fatalf("nothing was started as %s", name)
	}
	return p
}

func (s *script) signal(ts *testscript.TestScript, args []string) {
	number := unix.SignalNum("SIG" + args[1])
	if number == 0 {
		ts.Fatalf("unknown signal %s", args[1])
	}
	process := s.process(ts, args[0]).cmd.Process
	ts.Check(process.Signal(number))
	if number == syscall.SIGSTOP && !poll(func() bool { return frozen(process.Pid) }) {
		ts.Fatalf("%s does not stop", args[0])
	}
}

// frozen says whether all threads of a process are stopped, which takes a moment after SIGSTOP.
func frozen(pid int) bool {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range stats {
		stat, readErr := os.ReadFile(path)
		_, state, _ := strings.Cut(string(stat), ") ")
		if readErr == nil && !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return err == nil
}

func (s *script) ended(ts *testscript.TestScript, args []string) {
	p := s.process(ts, args[0])
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s does not end; stderr: %s", args[0], ts.ReadFile(args[0]+".err"))
	}
	if got := strconv.Itoa(codeOf(p.cmd.ProcessState)); got != args[1] {
		ts.Fatalf("%s ended with %s and not with %s; stderr: %s", args[0], got, args[1], ts.ReadFile(args[0]+".err"))
	}
}

// poll looks until something is so.
func poll(so func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if so() {
			return true
		}
	}
	return so()
}

func (s *script) await(ts *testscript.TestScript, args []string) {
	want := regexp.MustCompile("(?m)" + args[1])
	if !poll(func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && want.Match(text)
	}) {
		ts.Fatalf("%s does not come to have %q: %s", args[0], args[1], ts.ReadFile(args[0]))
	}
}

func (s *script) dials(ts *testscript.TestScript, args []string) {
	pid := s.process(ts, args[0]).cmd.Process.Pid
	if !poll(func() bool { return connected(pid) }) {
		ts.Fatalf("%s connects to nobody; stderr: %s", args[0], ts.ReadFile(args[0]+".err"))
	}
}

// connected says whether a process has a TCP connection that stands. It may have other sockets from its very start,
// before it minds signals.
func connected(pid int) bool {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false
	}
	const stateAt, inodeAt, established = 3, 9, "01"
	standing := make(map[string]bool)
	for line := range strings.Lines(string(table)) {
		if columns := strings.Fields(line); len(columns) > inodeAt && columns[stateAt] == established {
			standing["socket:["+columns[inodeAt]+"]"] = true
		}
	}
	fds := fmt.Sprintf("/proc/%d/fd/", pid)
	entries, err := os.ReadDir(fds)
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		target, err := os.Readlink(fds + e.Name())
		return err == nil && standing[target]
	})
}

func (s *script) gone(ts *testscript.TestScript, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	if !poll(func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(stat), ") ")
		return errors.Is(err, os.ErrNotExist) || strings.HasPrefix(state, "Z")
	}) {
		ts.Fatalf("process %d is still there", pid)
	}
}

func (s *script) put(ts *testscript.TestScript, args []string) {
	s.etcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Put(ctx, s.prefix+args[0], args[1])
		return err
	})
}

func (s *script) del(ts *testscript.TestScript, args []string) {
	s.etcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		resp, err := client.Delete(ctx, s.prefix+args[0])
		if err == nil && resp.Deleted != 1 {
			err = fmt.Errorf("there is no %s", args[0])
		}
		return err
	})
}

func (s *script) compact(ts *testscript.TestScript, _ []string) {
	s.etcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		resp, err := client.Get(ctx, "any")
		if err == nil {
			_, err = client.Compact(ctx, resp.Header.Revision)
		}
		return err
	})
}

func (s *script) users(ts *testscript.TestScript, args []string) {
	s.etcd(ts, func(_ context.Context, client *clientv3.Client) error { return addUsers(client, args[0]) })
}

func (s *script) appears(ts *testscript.TestScript, args []string) {
	s.etcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		if !poll(func() bool {
			resp, err := client.Get(ctx, args[0], clientv3.WithPrefix(), clientv3.WithCountOnly())
			return err == nil && resp.Count > 0
		}) {
			return fmt.Errorf("no key appears under %s", args[0])
		}
		return nil
	})
}

func (s *script) nothing(ts *testscript.TestScript, _ []string) {
	s.etcd(ts, func(ctx context.Context, client *clientv3.Client) error {
		keys, err := client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		leases, err := client.Leases(ctx)
		if err == nil && len(keys.Kvs)+len(leases.Leases) > 0 {
			err = fmt.Errorf("%d keys and %d leases are there", len(keys.Kvs), len(leases.Leases))
		}
		return err
	})
}

// etcd does something to the etcd in HBCTL_ENDPOINTS.
func (s *script) etcd(ts *testscript.TestScript, do func(context.Context, *clientv3.Client) error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{ts.Getenv("HBCTL_ENDPOINTS")}, Logger: zap.NewNop()})
	ts.Check(err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(client.Ctx(), patience)
	defer cancel()
	ts.Check(do(ctx, client))
}

func (s *script) endpoint(ts *testscript.TestScript, args []string) {
	file := args[0] + ".out"
	s.await(ts, []string{file, "^export HBCTL_ENDPOINTS="})
	rest := strings.TrimPrefix(ts.ReadFile(file), "export HBCTL_ENDPOINTS=")
	ts.Setenv("HBCTL_ENDPOINTS", strings.Fields(rest)[0])
}

func (s *script) freeport(ts *testscript.TestScript, args []string) {
	address, err := freeAddress()
	ts.Check(err)
	_, port, err := net.SplitHostPort(address)
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// kill ends what a script has left running.
func (s *script) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		_ = p.cmd.Process.Kill() // fails if it has ended
		<-p.done
	}
}
