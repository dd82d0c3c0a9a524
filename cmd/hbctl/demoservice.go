package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hbctl/hbctl/internal/supervise"
	"github.com/hbctl/hbctl/registry"
)

// demoService is one of the demo's services: a process that registers itself.
type demoService struct {
	name  registry.Name
	zone  string
	child *supervise.Process
	log   bytes.Buffer // its stderr, to be shown only if it fails
}

// start starts a service's process: this program again.
func (d *demo) start(s *demoService) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if s.child != nil {
		<-s.child.Done() // it has been killed; until it is gone it may still write to the log
		s.log.Reset()
	}
	s.child, err = supervise.Start(supervise.Command{
		Args: []string{
			self, "register", "--endpoints", d.endpoint, "--binary", s.name.Binary, "--host", s.name.Host, "--zone", s.zone,
			"--ttl", demoTTL.String(), "--log-level", "warn", "--log-format", "json",
		},
		Env: ownEnvironment(os.Environ()), Stderr: &s.log,
	})
	return err
}

// ownEnvironment leaves out what is meant for another etcd.
func ownEnvironment(env []string) []string {
	var own []string
	for _, v := range env {
		if !strings.HasPrefix(v, "HBCTL_") && !strings.HasPrefix(v, "ETCDCTL_") {
			own = append(own, v)
		}
	}
	return own
}

// complaints gives what services that have ended said last.
func (d *demo) complaints() string {
	var b strings.Builder
	for _, s := range d.services {
		if s.child == nil {
			continue
		}
		select {
		case <-s.child.Done(): // nobody writes to the log any more
			if text := strings.TrimSpace(s.log.String()); text != "" {
				fmt.Fprintf(&b, "; %s said: %s", s.name, text)
			}
		default:
		}
	}
	return b.String()
}

// stopServices ends all processes that still run.
func (d *demo) stopServices() {
	for _, s := range d.services {
		if s.child != nil {
			s.child.Pass(syscall.SIGTERM)
		}
	}
	deadline := time.After(demoGrace)
	for _, s := range d.services {
		if s.child == nil {
			continue
		}
		select {
		case <-s.child.Done():
		case <-deadline:
			s.child.Stop(syscall.SIGKILL)
			<-s.child.Done()
		}
	}
}
