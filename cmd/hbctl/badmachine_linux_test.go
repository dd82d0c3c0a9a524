package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// shellCase is a case that a shell sets up: a program of its own, and not a call inside of the tests.
type shellCase struct {
	name, script string
	env          []string
	code         int
	says         []string
	data         bool
}

// program runs the script, in which hbctl is this program, see TestMain.
func (c shellCase) program(t *testing.T, wrapper ...string) outcome {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrapper, "sh", "-c", c.script)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = openDir(t)
	cmd.Env = append([]string{"PATH=" + filepath.Dir(hbctlProgram(t, self)) + ":" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}, c.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return outcome{code: codeOf(cmd.ProcessState), stdout: stdout.String(), stderr: stderr.String(), took: time.Since(begin)}
}

func (s *badSection) addShell(t *testing.T, c shellCase, wrapper ...string) {
	t.Helper()
	b := badCase{name: c.name, shown: c.script, code: c.code, says: c.says, data: c.data}
	b.run = func(t *testing.T) outcome { return c.program(t, wrapper...) }
	s.add(t, b)
}

func badMachines(t *testing.T, s *badSection) {
	endpoint, _ := etcd(t)
	at := []string{"HBCTL_ENDPOINTS=" + endpoint, "HBCTL_PREFIX=/nothing/", "HBCTL_COMMAND_TIMEOUT=50s"}
	for _, c := range []shellCase{
		{name: "few open files", script: "ulimit -n 10; hbctl list", env: at, code: exitFailed, says: []string{"no more than 10 files", "ulimit -n"}},
		{name: "few open files, run", script: "ulimit -n 10; hbctl run --binary b -- true", env: at, code: exitRun, says: []string{"no more than 10 files", "ulimit -n"}},
		{name: "few open files for an etcd", script: "ulimit -n 100; hbctl dev --listen 127.0.0.1:0", env: at, code: exitFailed, says: []string{"no more than 100 files", "ulimit -n"}},
		{name: "unknown time zone", script: "TZ=Mars/Phobos hbctl list -o name", env: at},
		{name: "no home, no user", script: "env -u HOME -u USER hbctl list -o name", env: at},
		{name: "stdout that is full", script: "hbctl list >/dev/full", env: at, code: exitFailed, says: []string{"no space left on device"}},
		{name: "stdout that is closed", script: "hbctl list >&-", env: at},
		{name: "reader that has seen enough", script: "hbctl watch | head -n 1 >/dev/null", env: at},
		{name: "stderr that is closed", script: "hbctl lsit 2>&-", env: at, code: exitUsage},
		{name: "etcd's and gRPC's own switches for debugging", script: "ETCD_CLIENT_DEBUG=debug GRPC_GO_LOG_SEVERITY_LEVEL=info GRPC_GO_LOG_VERBOSITY_LEVEL=99 hbctl list --endpoints 127.0.0.1:1", code: exitUnreachable, says: []string{"connection refused"}},
		{name: "top without a terminal", script: "TERM=xterm hbctl top | head -n 1 >/dev/null", env: at},
		{name: "address of another machine", script: "hbctl dev --listen 192.0.2.1:2379", code: exitFailed, says: []string{"192.0.2.1:2379: cannot assign requested address", "--listen"}},
		{name: "address without a port", script: "hbctl dev --listen localhost", code: exitUsage, says: []string{"want HOST:PORT"}},
		{name: "address in use", script: "hbctl dev --listen " + strings.TrimPrefix(endpoint, "http://"), code: exitFailed, says: []string{"is already in use", "--listen"}},
		{name: "data folder that can't be made", script: "hbctl dev --listen 127.0.0.1:0 --data-dir /dev/null/data", code: exitFailed, says: []string{"/dev/null/data can't be made: not a directory", "--data-dir"}},
		{name: "state file in a folder that is not there", script: "hbctl watch --state-file /no/such/state", env: at, code: exitFailed, says: []string{"state file /no/such/state: no such file or directory"}},
		{name: "revision that is still to come", script: "hbctl watch --since 4611686018427387904", env: at, code: exitUsage, says: []string{"is ahead of etcd"}},
		{name: "query that does not fit", script: "hbctl list --jq .services.x", env: at, code: exitUsage, says: []string{"--jq"}},
	} {
		if c.code == exitUsage && strings.Contains(c.script, "2>&-") {
			b := badCase{name: c.name, shown: c.script, code: c.code, lines: anyLines, run: func(t *testing.T) outcome { return c.program(t) }}
			s.add(t, b)
			continue
		}
		s.addShell(t, c)
	}
	badDisks(t, s, at)
	badTerminals(t, s)
}

// badDisks are places where nothing can be kept.
func badDisks(t *testing.T, s *badSection, env []string) {
	for _, c := range []shellCase{
		{name: "state file on a read-only file system", script: "hbctl watch --state-file read-only/state", code: exitFailed, says: []string{"state file read-only/state: read-only file system"}},
		{name: "data folder on a read-only file system", script: "hbctl dev --listen 127.0.0.1:0 --data-dir read-only/data", code: exitFailed, says: []string{"read-only/data can't be made: read-only file system"}},
	} {
		c.env = env
		b := badCase{name: c.name, shown: c.script, code: c.code, says: c.says}
		b.run = func(t *testing.T) outcome {
			if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
				t.Skipf("no file system can be made here: %v %s", err, out)
			}
			c.script = "mkdir read-only && mount -t tmpfs -o ro none read-only && exec " + c.script
			return c.program(t, "unshare", "-m")
		}
		s.add(t, b)
	}
	s.add(t, badCase{
		name: "state file without the right to write", shown: "hbctl watch --state-file DIR/state", code: exitFailed,
		run: func(t *testing.T) (o outcome) {
			dir := openDir(t)
			if err := os.Chmod(dir, 0o555); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "state")
			asNobody(t, func() { o = invocation{}.run(t, "watch", "--state-file", file) })
			o.wants(t, exitFailed, "state file "+file+": permission denied; choose a folder")
			return o
		},
	})
}

// badTerminals are screens that lack something: a pseudo terminal has no size until somebody gives it one.
func badTerminals(t *testing.T, s *badSection) {
	w := down(t)
	for _, test := range []struct {
		name, command, types, wants string
		env                         map[string]string
	}{
		{"terminal without a size", "list", "", red + "down" + reset, map[string]string{"TERM": "xterm"}},
		{"terminal without a size, top", "top", "q", "cinder-volume", map[string]string{"TERM": "xterm"}},
		{"no colour wanted", "list", "", "down ", map[string]string{"TERM": "xterm", "NO_COLOR": "1"}},
		{"terminal that can do nothing", "list", "", "down ", map[string]string{"TERM": "dumb"}},
	} {
		c := badCase{name: test.name, args: []string{test.command}, env: test.env, data: true, told: func(outcome) string { return "" }}
		c.run = func(t *testing.T) outcome {
			text, o := onTerminal(t, test.env, test.types, test.wants, append([]string{test.command}, w.flags...)...)
			if !strings.Contains(text, test.wants) || (test.env["NO_COLOR"] != "" && strings.Contains(text, red)) {
				t.Errorf("shown is %q", text)
			}
			return o
		}
		s.add(t, c)
	}
}

// onTerminal runs the program on a terminal, types keys once it shows a text, and gives all that was shown.
func onTerminal(t *testing.T, env map[string]string, keys, shows string, args ...string) (string, outcome) {
	t.Helper()
	master, slave := openTerminal(t)
	var shown strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() {
		buffer := make([]byte, 4096)
		for typed := false; ; {
			n, err := master.Read(buffer) // ends with EIO, as terminals do
			shown.Write(buffer[:n])
			if !typed && strings.Contains(shown.String(), shows) {
				typed = true
				_, _ = master.WriteString(keys)
			}
			if err != nil {
				return
			}
		}
	})
	begin := time.Now()
	code := run(t.Context(), system{
		args: append([]string{"hbctl"}, args...), stdin: slave, stdout: slave, stderr: slave, getenv: func(name string) string { return env[name] },
	})
	took := time.Since(begin)
	slave.Close()
	reading.Wait()
	return shown.String(), outcome{code: code, took: took}
}
