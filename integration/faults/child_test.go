package faults_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A role is what this test binary does in a process of its own: with the arguments that its test gave, until ctx ends, which
// is SIGTERM. What it says its test reads, a line each. An error is the end, and its last line.
type role func(ctx context.Context, args []string, say func(format string, args ...any)) error

// roles has the roles by name. A file adds its own in an init.
var roles = map[string]role{}

const roleVariable, argsVariable = "HBCTL_FAULTS_ROLE", "HBCTL_FAULTS_ARGS"

// play plays the role in this process and gives the exit code.
func play(name string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...)
	}
	if err := roles[name](ctx, strings.Fields(os.Getenv(argsVariable)), say); err != nil {
		say("error: %v", err)
		return 1
	}
	return 0
}

// A line is one that a child said, and when it arrived.
type line struct {
	text string
	at   time.Time
}

// A child is a process that plays a role. It is killed at the end of its test.
type child struct {
	t    testing.TB
	cmd  *exec.Cmd
	mu   sync.Mutex
	said []line
	news chan struct{} // closed and replaced with each line
	over chan struct{} // closed when all is read and the process is gone
}

// spawn starts a child. Configure may change the command before it starts.
func spawn(t testing.TB, name string, args []string, configure ...func(*exec.Cmd)) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(self), news: make(chan struct{}), over: make(chan struct{})}
	c.cmd.Dir = filepath.Dir(self)
	c.cmd.Env = append(os.Environ(), roleVariable+"="+name, argsVariable+"="+strings.Join(args, " "))
	c.cmd.Stderr = os.Stderr
	for _, f := range configure {
		f(c.cmd)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.over)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.mu.Lock()
			c.said = append(c.said, line{lines.Text(), time.Now()})
			close(c.news)
			c.news = make(chan struct{})
			c.mu.Unlock()
		}
		_ = c.cmd.Wait()
	}()
	t.Cleanup(c.kill)
	return c
}

// await waits for a line, from the first on, that begins with the prefix, and gives the rest of it.
func (c *child) await(limit time.Duration, prefix string) (rest string, at time.Time) {
	c.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for seen := 0; ; {
		c.mu.Lock()
		said, news := c.said[seen:], c.news
		c.mu.Unlock()
		for _, l := range said {
			seen++
			if rest, found := strings.CutPrefix(l.text, prefix); found {
				return strings.TrimSpace(rest), l.at
			}
		}
		select {
		case <-news:
		case <-timer.C:
			c.t.Fatalf("the child did not say %q within %v, but:\n%s", prefix, limit, c.story())
		}
	}
}

// count counts the lines that begin with the prefix.
func (c *child) count(prefix string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, l := range c.said {
		if strings.HasPrefix(l.text, prefix) {
			n++
		}
	}
	return n
}

// lines gives the rest of each line that begins with the prefix.
func (c *child) lines(prefix string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []string
	for _, l := range c.said {
		if rest, ok := strings.CutPrefix(l.text, prefix); ok {
			found = append(found, rest)
		}
	}
	return found
}

func (c *child) story() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, l := range c.said {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) signal(sig syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// ends waits for the end of the child and gives its exit code.
func (c *child) ends(limit time.Duration) int {
	c.t.Helper()
	select {
	case <-c.over:
	case <-time.After(limit):
		c.t.Fatalf("the child did not end within %v, and said:\n%s", limit, c.story())
	}
	return c.cmd.ProcessState.ExitCode()
}

// kill ends the child, stopped or not, and waits for it.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // fails when it has ended by itself
	<-c.over
}
