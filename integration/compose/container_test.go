//go:build linux

package compose

import (
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
)

// A container is a service of the project, held by one process after another. What is done to it goes into the history.
type container struct {
	t       testing.TB
	service string
	id      string
	network string
	rec     *history.Recorder // of the injector
	// listen, if set, reads what a process prints. The source is that process.
	listen  func(source string, stdout, stderr io.Reader)
	reading *sync.WaitGroup

	number int // of processes so far
	member bool
}

// source names the process in the history. Members keep their name.
func (c *container) source() string {
	if c.member {
		return c.service
	}
	return fmt.Sprintf("%s#%d", c.service, c.number)
}

// begins takes down that a new process begins.
func (c *container) begins() {
	c.number++
	c.record(history.Spawn)
}

// follow reads the log of the process, which began after a time of the day, until it ends.
func (c *container) follow(from time.Time) {
	if c.listen == nil {
		return
	}
	cmd := exec.Command("docker", "logs", "--follow", "--since", from.Format(time.RFC3339Nano), c.id)
	stdout, one := cmd.StdoutPipe()
	stderr, two := cmd.StderrPipe()
	if one != nil || two != nil {
		c.t.Fatal(one, two)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	source := c.source()
	c.reading.Go(func() {
		c.listen(source, stdout, stderr)
		_ = cmd.Wait() // the log has ended
	})
}

func (c *container) record(kind history.Kind) {
	c.rec.Record(history.Record{Kind: kind, Target: c.source()})
}

func (c *container) kill() {
	c.t.Helper()
	c.record(history.Killed)
	docker(c.t, "kill", c.id)
	c.record(history.Died)
}

func (c *container) stop() {
	c.t.Helper()
	c.record(history.Asked)
	docker(c.t, "stop", c.id)
	c.record(history.Died)
}

func (c *container) start() {
	c.t.Helper()
	at := time.Now()
	c.begins()
	docker(c.t, "start", c.id)
	c.follow(at)
}

func (c *container) pause() {
	c.t.Helper()
	c.record(history.Stopped)
	docker(c.t, "pause", c.id)
}

func (c *container) unpause() {
	c.t.Helper()
	c.record(history.Resumed)
	docker(c.t, "unpause", c.id)
}

func (c *container) disconnect() {
	c.t.Helper()
	docker(c.t, "network", "disconnect", c.network, c.id)
}

// connect gives the container its network and its name in it back.
func (c *container) connect() {
	c.t.Helper()
	docker(c.t, "network", "connect", "--alias", c.service, c.network, c.id)
}

// running says whether it runs, and was started by nobody but us.
func (c *container) running() error {
	if state := docker(c.t, "inspect", "--format", "{{.State.Status}} {{.RestartCount}}", c.id); state != "running 0" {
		return fmt.Errorf("%s is %s", c.service, state)
	}
	return nil
}

// discard reads what nobody wants, so that who writes it is not held up.
func discard(r io.Reader) { _, _ = io.Copy(io.Discard, r) }
