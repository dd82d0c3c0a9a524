package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hbctl/hbctl/internal/supervise"
)

// ownEtcdPatience is how long an etcd of our own may take to start, on a machine that may be busy.
const ownEtcdPatience = 30 * time.Second

// ownEtcd is an etcd that was started for a bench: "hbctl dev", as a process of its own, so that what it takes is not taken from
// what is measured, and can be told apart.
type ownEtcd struct {
	child  *supervise.Process
	log    bytes.Buffer // its stderr, to be shown only if it fails
	ending chan struct{}
}

// startOwnEtcd starts one, and has all that follows use it, whatever the environment is made for.
func (p *program) startOwnEtcd(ctx context.Context) (*ownEtcd, error) {
	fmt.Fprintln(p.stderr, "No endpoints were given: starting an etcd of our own, with its data in a temporary folder.")
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s := &ownEtcd{ending: make(chan struct{})}
	s.child, err = supervise.Start(supervise.Command{
		Args: []string{self, "dev", "--listen", "127.0.0.1:0", "--log-level", "error", "--log-format", "json"},
		Env:  ownEnvironment(os.Environ()), Stdout: w, Stderr: &s.log,
	})
	w.Close()
	if err != nil {
		return nil, err
	}
	where, err := s.endpoint(ctx, r)
	if err == nil {
		p.settings.endpoints, err = parseEndpoints(setting{text: where, source: "hbctl dev"})
	}
	if err != nil {
		s.stop()
		return nil, err
	}
	p.settings.tls, p.settings.user, p.settings.password = nil, "", ""
	return s, nil
}

// endpoint reads where it is.
func (s *ownEtcd) endpoint(ctx context.Context, r *os.File) (string, error) {
	var line string
	reading := inBackground(func() (err error) {
		line, err = bufio.NewReader(r).ReadString('\n')
		return err
	})
	select {
	case <-reading.done:
	case <-time.After(ownEtcdPatience):
		_ = r.SetReadDeadline(time.Now()) // or it would be read for as long as the process lives
		_ = reading.wait()
		return "", &exitError{code: exitFailed, err: fmt.Errorf("an etcd of our own did not start within %v", ownEtcdPatience)}
	case <-ctx.Done():
		_ = r.SetReadDeadline(time.Now())
		_ = reading.wait()
		return "", context.Cause(ctx)
	}
	where, found := strings.CutPrefix(line, "export HBCTL_ENDPOINTS=")
	if fields := strings.Fields(where); found && len(fields) > 0 {
		return fields[0], nil
	}
	return "", s.failed()
}

// failed says why it ended.
func (s *ownEtcd) failed() error {
	<-s.child.Done() // nobody writes to the log any more
	return &exitError{code: exitFailed, err: fmt.Errorf("the etcd of our own ended: %s", oneLine(s.log.String()))}
}

// watch ends the context if the etcd ends by itself. What it gives ends the watch.
func (s *ownEtcd) watch(cancel context.CancelCauseFunc) (unwatch func()) {
	watching := inBackground(func() error {
		select {
		case <-s.child.Done():
			cancel(s.failed())
		case <-s.ending:
		}
		return nil
	})
	return func() {
		close(s.ending)
		_ = watching.wait()
	}
}

// stop stops it; it removes its folder.
func (s *ownEtcd) stop() {
	s.child.Pass(syscall.SIGTERM)
	select {
	case <-s.child.Done():
	case <-time.After(5 * time.Second):
		s.child.Stop(syscall.SIGKILL)
		<-s.child.Done()
	}
}

// listCommandFor is "hbctl list -o json" of a prefix, as a program of its own that talks to the same etcd as this one.
func (p *program) listCommandFor(self, prefix string) *exec.Cmd {
	s := &p.settings
	args := []string{
		"list", "-o", "json", "--endpoints", strings.Join(urls(s.endpoints), ","), "--prefix", prefix,
		"--command-timeout", (10 * time.Minute).String(), "--dial-timeout", s.dialTimeout.String(), "--log-level", "error",
	}
	if s.tls != nil {
		for _, f := range []struct{ flag, value string }{{"--cacert", s.tls.cacert}, {"--cert", s.tls.cert}, {"--key", s.tls.key}} {
			if f.value != "" {
				args = append(args, f.flag, f.value)
			}
		}
		if s.tls.skipVerify {
			args = append(args, "--insecure-skip-tls-verify")
		}
	}
	cmd := exec.Command(self, args...)
	cmd.Env = ownEnvironment(os.Environ())
	if s.user != "" {
		cmd.Args = append(cmd.Args, "--user", s.user)
		cmd.Env = append(cmd.Env, "HBCTL_PASSWORD="+s.password)
	}
	return cmd
}
