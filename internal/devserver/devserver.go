// Package devserver runs a single-member etcd inside this process, for trying things on
// one machine: `hbctl dev` and `hbctl demo` stand on it.
//
// It is etcd's own server with etcd's own timing, made to be left alone: it answers
// gRPC and etcd's /health, /version and /metrics, but not the HTTP gateway, through
// which any web page could write; it compacts its history; and it stops within about a
// second whoever is still connected. It has neither TLS nor users: whoever reaches the
// address may do anything, so the default address is a loopback one.
package devserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

const (
	// DefaultListen is where a server listens when it is not told otherwise.
	DefaultListen = "127.0.0.1:2379"

	name         = "hbctl-dev"
	peerURL      = "http://127.0.0.1:0" // one member has no peers, but etcd insists
	quotaBytes   = 256 << 20
	retention    = "10m" // of etcd's history
	drainTimeout = 300 * time.Millisecond
	stopTimeout  = time.Second
	portTries    = 10
)

// ErrStopped is what Err delivers when the server has stopped and left no reason.
var ErrStopped = errors.New("devserver: etcd stopped by itself")

// ErrInvalid is wrapped by the refusal of a Config.
var ErrInvalid = errors.New("invalid")

// Config says what to start. Its zero value is a server on DefaultListen whose data
// goes when it is closed.
type Config struct {
	// Listen is the address to serve clients on, an IP address or "localhost" with a
	// port. Port 0 takes any free one. An empty host means every interface. Default
	// DefaultListen.
	Listen string

	// DataDir keeps the data from one start to the next. It is made, with mode 0700,
	// when it is not there. Default: a temporary directory that Close removes, and then
	// nothing waits for the disk (fsync is off).
	DataDir string

	// Logger takes etcd's log, which is wordy: 40 lines a start at level info. Default
	// none.
	Logger *zap.Logger
}

// A Server is a running etcd. Its methods may be called by any goroutine.
type Server struct {
	etcd     *embed.Etcd
	endpoint string
	dir      string
	temp     bool // dir goes with the server

	mu      sync.Mutex
	serving []*grpc.Server

	err     chan error
	closing chan struct{}
	watched chan struct{} // closed when watch has returned

	once     sync.Once
	closeErr error
}

// Start starts a server and returns once it answers, usually within half a second: it
// has to elect itself. The context bounds the start only, not the server's life.
//
// It fails when the address is in use or no address of this machine, when DataDir is in
// use by another etcd or can't be written, and when the context is done.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if err := enoughFiles(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	temp := cfg.DataDir == ""
	if cfg.DataDir, err = prepareDir(cfg.DataDir); err != nil {
		return nil, err
	}
	s, err := start(ctx, cfg, temp, host, port)
	if err != nil {
		if temp {
			_ = os.RemoveAll(cfg.DataDir)
		}
		return nil, err
	}
	go s.watch()
	return s, nil
}

// start tries another free port when the one it picked was taken meanwhile.
func start(ctx context.Context, cfg Config, temp bool, host, port string) (*Server, error) {
	for try := 1; ; try++ {
		actual := port
		if port == "0" {
			var err error
			if actual, err = freePort(ctx, host); err != nil {
				return nil, err
			}
		}
		s, err := launch(ctx, cfg, temp, host, actual)
		switch {
		case err == nil:
			return s, nil
		case !errors.Is(err, syscall.EADDRINUSE):
			return nil, fmt.Errorf("etcd can't be started: %w", plain(err))
		case port != "0" || try == portTries:
			return nil, fmt.Errorf("address %s is already in use; choose another with --listen", net.JoinHostPort(host, actual))
		}
	}
}

// launch starts etcd on one address and waits until it answers.
func launch(ctx context.Context, cfg Config, temp bool, host, port string) (*Server, error) {
	s := &Server{
		endpoint: "http://" + net.JoinHostPort(reachable(host), port),
		dir:      cfg.DataDir,
		temp:     temp,
		err:      make(chan error, 1),
		closing:  make(chan struct{}),
		watched:  make(chan struct{}),
	}
	ec, err := s.etcdConfig(cfg, net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	if s.etcd, err = startEtcd(ctx, ec); err != nil {
		return nil, err
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
		return s, nil
	case err = <-s.etcd.Err():
	case <-s.etcd.Server.StopNotify():
		err = ErrStopped
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.etcd.Server.HardStop() // or etcd's Close waits for it to get ready
	_ = s.stop()
	return nil, err
}

// startEtcd is embed.StartEtcd with a context.
func startEtcd(ctx context.Context, ec *embed.Config) (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan result, 1)
	go func() {
		etcd, err := embed.StartEtcd(ec)
		started <- result{etcd, err}
	}()
	select {
	case r := <-started:
		return r.etcd, r.err
	case <-ctx.Done():
	}
	// It takes milliseconds, and its data must not be removed under it, so wait; but
	// not for ever, as it does for a database that somebody has locked.
	select {
	case r := <-started:
		if r.err == nil {
			r.etcd.Close()
		}
	case <-time.After(stopTimeout):
		go func() {
			if r := <-started; r.err == nil {
				r.etcd.Close()
			}
		}()
	}
	return nil, ctx.Err()
}

func (s *Server) etcdConfig(cfg Config, listen string) (*embed.Config, error) {
	client, err := url.Parse("http://" + listen)
	if err != nil {
		return nil, err
	}
	advertised, err := url.Parse(s.endpoint)
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(peerURL)
	if err != nil {
		return nil, err
	}
	ec := embed.NewConfig()
	ec.Name = name
	ec.Dir = cfg.DataDir
	ec.ListenClientUrls = []url.URL{*client}
	ec.AdvertiseClientUrls = []url.URL{*advertised}
	ec.ListenPeerUrls = []url.URL{*peer}
	ec.AdvertisePeerUrls = []url.URL{*peer}
	ec.InitialCluster = ec.InitialClusterFromName(name)
	ec.InitialClusterToken = uuid.NewString() // makes the cluster id: two servers are two clusters
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(cfg.Logger)

	// What a web page may send here: nothing. An empty list would mean every origin.
	ec.EnableGRPCGateway = false
	ec.CORS = map[string]struct{}{s.endpoint: {}}
	ec.HostWhitelist = map[string]struct{}{"127.0.0.1": {}, "localhost": {}, "::1": {}, advertised.Hostname(): {}}

	ec.QuotaBackendBytes = quotaBytes
	ec.AutoCompactionMode = embed.CompactorModePeriodic
	ec.AutoCompactionRetention = retention
	ec.UnsafeNoFsync = s.temp

	ec.ServiceRegister = func(g *grpc.Server) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.serving = append(s.serving, g)
	}
	return ec, nil
}

// Endpoint is the URL to give to an etcd client, with the port that was taken.
func (s *Server) Endpoint() string { return s.endpoint }

// DataDir is where the data is.
func (s *Server) DataDir() string { return s.dir }

// Err delivers one error when the server stops without having been closed. It is never
// closed.
func (s *Server) Err() <-chan error { return s.err }

func (s *Server) watch() {
	defer close(s.watched)
	var err error
	select {
	case <-s.closing:
		return
	case err = <-s.etcd.Err():
	case <-s.etcd.Server.StopNotify():
	}
	if err == nil {
		err = ErrStopped
	}
	s.err <- err
}

// Close stops the server and, when the directory is a temporary one, removes its data.
// Requests under way get a moment to finish; watches and renewals are cut off. It
// returns within about a second, and again at once when called again. An error means
// that etcd was still at work then, or that the data could not be removed.
func (s *Server) Close() error {
	s.once.Do(func() {
		close(s.closing)
		<-s.watched
		s.closeErr = s.stop()
		if s.temp {
			s.closeErr = errors.Join(s.closeErr, os.RemoveAll(s.dir))
		}
	})
	return s.closeErr
}

// stop closes etcd. Left alone, that waits seven seconds for clients with open streams,
// so after a moment their connections are closed for them.
func (s *Server) stop() error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.etcd.Close()
	}()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-done:
		return nil
	case <-time.After(drainTimeout):
	}
	s.mu.Lock()
	serving := s.serving
	s.mu.Unlock()
	for _, g := range serving {
		g.Stop()
	}
	select {
	case <-done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("devserver: etcd did not stop within %v", stopTimeout)
	}
}

// splitListen takes an address apart, and refuses what etcd would refuse later and in
// other words.
func splitListen(listen string) (host, port string, err error) {
	if listen == "" {
		listen = DefaultListen
	}
	host, port, err = net.SplitHostPort(listen)
	if err != nil {
		return "", "", fmt.Errorf("%w: listen address %q: want HOST:PORT, as %s", ErrInvalid, listen, DefaultListen)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if host != "localhost" && net.ParseIP(host) == nil {
		return "", "", fmt.Errorf("%w: listen address %q: the host must be an IP address or localhost", ErrInvalid, listen)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "", "", fmt.Errorf("%w: listen address %q: the port is no number from 0 to 65535", ErrInvalid, listen)
	}
	return host, port, nil
}

// reachable is the host under which a client of this machine reaches a listener.
func reachable(host string) string {
	ip := net.ParseIP(host)
	switch {
	case ip == nil || !ip.IsUnspecified():
		return host
	case ip.To4() != nil:
		return "127.0.0.1"
	default:
		return "::1"
	}
}

// freePort asks the kernel for one. It is free for a moment only, and the moment
// counts: etcd can listen on port 0, but then tells its clients that its port is 0.
func freePort(ctx context.Context, host string) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", plain(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

func prepareDir(dir string) (string, error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "hbctl-dev-") // mode 0700
		if err != nil {
			return "", fmt.Errorf("a temporary data directory can't be made: %w", err)
		}
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("data directory %s can't be made: %w; choose another with --data-dir", dir, plain(err))
	}
	return dir, checkUnlocked(dir)
}

// checkUnlocked fails when another etcd has the directory: etcd itself would wait for
// the other to end, for ever and without a word.
func checkUnlocked(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "member", "wal", "*.wal"))
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	for _, log := range logs {
		lock, err := fileutil.TryLockFile(log, os.O_WRONLY, fileutil.PrivateFileMode)
		switch {
		case errors.Is(err, fileutil.ErrLocked):
			return fmt.Errorf("data directory %s is in use by another etcd", dir)
		case err != nil:
			return fmt.Errorf("data directory %s: %w; choose another with --data-dir", dir, plain(err))
		}
		if err := lock.Close(); err != nil {
			return fmt.Errorf("data directory %s: %w; choose another with --data-dir", dir, plain(err))
		}
	}
	return nil
}

// plain leaves out of an error what is said around it already: which call failed, and on which file.
func plain(err error) error {
	var path *fs.PathError
	var op *net.OpError
	var call *os.SyscallError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &op) && errors.As(op.Err, &call):
		return fmt.Errorf("nothing can listen on %s: %w; choose another address with --listen", op.Addr, call.Err)
	}
	return err
}
