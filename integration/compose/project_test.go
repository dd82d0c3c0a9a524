//go:build linux

package compose

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

// ttl is that of the services in the compose file.
const ttl = 5 * time.Second

var (
	members = []string{"etcd0", "etcd1", "etcd2"}
	// instances are the services of the compose file, and what they register as.
	instances = map[string]string{
		"scheduler": "cinder-scheduler/node1", "volume-1": "cinder-volume/node2", "volume-2": "cinder-volume/node3",
	}
)

// A project is the compose file, brought up.
type project struct {
	t         testing.TB
	name      string
	compose   []string // the command, up to its own arguments
	env       []string
	endpoints []string          // of the members, on this machine
	hbctl     string            // the program, on this machine
	flags     []string          // that hbctl needs to reach it
	id        map[string]string // of containers, by service
}

// newProject makes a project from the compose file, and further ones over it, that is gone at the end of the test.
func newProject(t *testing.T, name string, over ...string) *project {
	t.Helper()
	e := need(t)
	p := &project{
		t: t, name: fmt.Sprintf("hbctl-test-%d-%s", os.Getpid(), name), hbctl: etcdtest.Binary(t, "./cmd/hbctl"), id: make(map[string]string),
	}
	p.compose = append(append([]string{}, e.compose...), "--project-name", p.name)
	for _, file := range append([]string{"docker-compose.yml"}, over...) {
		p.compose = append(p.compose, "--file", filepath.Join(root, file))
	}
	p.endpoints = etcdtest.FreeAddresses(t, len(members))
	for i, address := range p.endpoints {
		_, port, _ := strings.Cut(address, ":")
		p.env = append(p.env, fmt.Sprintf("HBCTL_ETCD%d_PORT=%s", i, port))
	}
	t.Cleanup(p.remove)
	return p
}

// do runs compose.
func (p *project) do(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	all := append(append([]string{}, p.compose[1:]...), args...)
	return call(ctx, p.env, p.compose[0], all...)
}

// up brings services up, or all of them.
func (p *project) up(services ...string) {
	p.t.Helper()
	if _, err := p.do(append([]string{"up", "--detach"}, services...)...); err != nil {
		p.t.Fatal(err)
	}
	if len(services) == 0 {
		services = append([]string{"watcher", "scheduler", "volume-1", "volume-2"}, members...)
	}
	for _, service := range services {
		id, err := p.do("ps", "--quiet", service)
		if err != nil || id == "" {
			p.t.Fatalf("no container of %s: %v", service, err)
		}
		p.id[service] = id
	}
}

// remove ends everything, and sees that nothing is left.
func (p *project) remove() {
	p.t.Helper()
	if p.t.Failed() {
		p.keepLogs()
	}
	mine := "label=com.docker.compose.project=" + p.name
	for _, id := range strings.Fields(docker(p.t, "ps", "--quiet", "--filter", mine, "--filter", "status=paused")) {
		docker(p.t, "unpause", id)
	}
	if _, err := p.do("down", "--volumes", "--timeout", "10"); err != nil {
		p.t.Error(err)
	}
	for what, list := range map[string][]string{
		"containers": {"ps", "--all", "--quiet"}, "volumes": {"volume", "ls", "--quiet"}, "networks": {"network", "ls", "--quiet"},
	} {
		if left := docker(p.t, append(list, "--filter", mine)...); left != "" {
			p.t.Errorf("%s are left: %s", what, left)
		}
	}
}

func (p *project) keepLogs() {
	log, err := p.do("logs", "--no-color", "--timestamps")
	file := filepath.Join(os.TempDir(), p.name+".log")
	if err == nil {
		err = os.WriteFile(file, []byte(log), 0o600)
	}
	p.t.Logf("the logs of the containers are in %s (%v)", file, err)
}

// command gives hbctl on this machine, with what it needs to reach the project.
func (p *project) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.hbctl, append(append([]string{}, args...), p.flags...)...)
	cmd.Env = append(os.Environ(), "HBCTL_ENDPOINTS="+strings.Join(p.endpoints, ","))
	return cmd
}

// run runs hbctl on this machine.
func (p *project) run(ctx context.Context, args ...string) (string, error) {
	return output(p.command(ctx, args...))
}

// await waits until something is so.
func await(t testing.TB, limit time.Duration, what string, ok func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitStates waits until hbctl lists exactly these instances, as "cinder-volume/node2 up".
func (p *project) awaitStates(limit time.Duration, want ...string) {
	p.t.Helper()
	await(p.t, limit, "the list is "+strings.Join(want, ", "), func(ctx context.Context) bool {
		out, err := p.run(ctx, "list", "--jq", `.services[] | "\(.binary)/\(.host) \(.state)"`)
		return err == nil && out == strings.Join(want, "\n")
	})
}
