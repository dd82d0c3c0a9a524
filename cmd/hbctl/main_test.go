package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/internal/devserver"
	"github.com/hbctl/hbctl/internal/supervise"
)

// patience is how long a test waits for what should happen at once, on a machine that may be busy.
const patience = 20 * time.Second

// TestMain also is hbctl itself, for scripts and for the demo, which starts its own program.
func TestMain(m *testing.M) {
	if supervise.IsGuardian(os.Args) { // of a run inside of this process
		os.Exit(supervise.Guard())
	}
	testscript.Main(suite{m}, map[string]func(){"hbctl": main, "ends": ends, "says": says})
}

// suite sets up what tests inside of this process share.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	setGlobals()
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if signal.Ignored(s) { // go test was started in the background, or by nohup. What hbctl is started from here must not inherit that.
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	code := s.m.Run()
	shared.close()
	return code
}

// shared is one etcd for all tests that do not harm it; each uses a prefix of its own.
var shared sharedServer

type sharedServer struct {
	once   sync.Once
	server *devserver.Server
	client *clientv3.Client
	err    error
}

func (s *sharedServer) start() {
	s.once.Do(func() {
		s.server, s.err = devserver.Start(context.Background(), devserver.Config{Listen: "127.0.0.1:0"})
		if s.err == nil {
			s.client, s.err = clientv3.New(clientv3.Config{Endpoints: []string{s.server.Endpoint()}, Logger: zap.NewNop()})
		}
	})
}

func (s *sharedServer) close() {
	if s.server != nil {
		s.client.Close()
		_ = s.server.Close()
	}
}

// etcd gives the shared etcd's endpoint and a client of it.
func etcd(t *testing.T) (string, *clientv3.Client) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an etcd")
	}
	shared.start()
	if shared.err != nil {
		t.Fatalf("starting etcd: %v", shared.err)
	}
	return shared.server.Endpoint(), shared.client
}

// invocation is one run of the program inside of this process.
type invocation struct {
	env   map[string]string
	stdin string
	ctx   context.Context //nolint:containedctx // of one call
}

// outcome is what came of it.
type outcome struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

// hbctl runs the program with an empty environment.
func hbctl(t *testing.T, args ...string) outcome {
	t.Helper()
	return invocation{}.run(t, args...)
}

func (i invocation) run(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx := i.ctx
	if ctx == nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(t.Context(), 3*patience)
		defer cancel()
	}
	var stdout, stderr printed
	start := time.Now()
	code := run(ctx, system{
		args: append([]string{"hbctl"}, args...), stdin: strings.NewReader(i.stdin), stdout: &stdout, stderr: &stderr,
		getenv: func(name string) string { return i.env[name] },
	})
	return outcome{code: code, stdout: stdout.String(), stderr: stderr.String(), took: time.Since(start)}
}

// printed is what was written to a stream, by any goroutine, as a file can be.
type printed struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// wants checks the exit code and what stderr says.
func (o outcome) wants(t *testing.T, code int, said ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d; stderr: %s", o.code, code, o.stderr)
	}
	for _, text := range said {
		if !strings.Contains(o.stderr, text) {
			t.Errorf("stderr does not say %q: %s", text, o.stderr)
		}
	}
}
