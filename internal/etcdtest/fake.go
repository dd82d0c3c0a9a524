package etcdtest

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/features"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
)

const (
	fakeName     = "fake"
	fakeURL      = "http://127.0.0.1:1" // never listened on: there are no sockets
	connBuffer   = 64 << 10             // bytes in flight, each way
	startTimeout = 30 * time.Second
	stopTimeout  = 100 * time.Millisecond
)

// A FakeServer is a single etcd member without sockets. It is etcd's own server with
// etcd's default settings (ticks of 100 ms, elections after 1 s, so leases of 2 s at
// least); what is fake is the network, and the time when it was started in a synctest
// bubble.
type FakeServer struct {
	t   testing.TB
	dir string

	// A goroutine that waits for a mutex keeps the clock of its bubble still, so
	// nothing that takes time happens under mu.
	mu      sync.Mutex
	run     *fakeRun // nil while stopped
	clients []*Client
	closed  bool
}

// A fakeRun is one life of the server, from a start to a stop.
type fakeRun struct {
	etcd     *etcdserver.EtcdServer
	grpc     *grpc.Server
	listener *bufconn.Listener
	served   chan struct{} // closed when Serve has returned
}

// Fake starts a server, in a bubble if the caller is in one, and returns once it
// serves. It is stopped by Close or at the end of t.
func Fake(t testing.TB) *FakeServer {
	t.Helper()
	if !watchInFakeTime {
		t.Fatal("etcd's client has renamed valCtxCh: a watch would stop the bubble's clock; mend valctx.go")
	}
	oneProcessor(t)
	s := &FakeServer{t: t, dir: t.TempDir()}
	t.Cleanup(s.Close)
	s.Start()
	return s
}

// Start starts a stopped server on the data that it had. As after a change of leader,
// every lease begins again with its full TTL. One goroutine at a time may start and
// stop a server.
func (s *FakeServer) Start() {
	s.t.Helper()
	s.mu.Lock()
	startable := s.run == nil && !s.closed
	s.mu.Unlock()
	if !startable {
		s.t.Fatal("etcdtest: Start of a server that runs or is closed")
	}
	run, err := startFake(s.dir)
	if err != nil {
		s.t.Fatalf("etcdtest: start etcd: %v", err)
	}
	s.mu.Lock()
	s.run = run
	s.mu.Unlock()
}

// Stop stops the server as a crash would: connections break, nothing is handed over,
// new connections are refused. A stopped server stays as it is.
func (s *FakeServer) Stop() {
	s.mu.Lock()
	run := s.run
	s.run = nil
	s.mu.Unlock()
	if run != nil {
		run.stop()
	}
}

// Restart stops the server and starts it again on its data. In a bubble it takes no
// more than a few seconds of fake time, for the election.
func (s *FakeServer) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Close closes every client that the server made and stops it for good. Only a test
// that starts many servers needs it. More than one call does nothing more.
func (s *FakeServer) Close() {
	s.mu.Lock()
	clients := s.clients
	s.clients, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range clients {
		c.shut()
	}
	s.Stop()
}

// Compact drops the history before the given revision, or before the present one when
// it is 0.
func (s *FakeServer) Compact(revision int64) {
	s.t.Helper()
	compact(s.t, s.Client(), revision)
}

// Server is the etcd server inside, to look at what no client can ask. It panics while
// the server is stopped.
func (s *FakeServer) Server() *etcdserver.EtcdServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run.etcd
}

// Client returns a new client on a network that stays whole.
func (s *FakeServer) Client() *clientv3.Client {
	s.t.Helper()
	return s.NewClient().Client
}

// NewClient returns a new client with a Gate of its own. Configure, if any, may change
// the client's configuration before it is made. The client is closed with the server.
func (s *FakeServer) NewClient(configure ...func(*clientv3.Config)) *Client {
	s.t.Helper()
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return s.dial(ctx) }
	c := newClient(s.t, []string{"http://" + fakeName}, dial, configure...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.t.Fatal("etcdtest: NewClient of a closed server")
	}
	s.clients = append(s.clients, c)
	return c
}

func (s *FakeServer) dial(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	run := s.run
	s.mu.Unlock()
	if run == nil {
		return nil, errors.New("etcdtest: connection refused: the server is stopped")
	}
	return run.listener.DialContext(ctx)
}

func startFake(dir string) (*fakeRun, error) {
	cfg, err := fakeConfig(dir)
	if err != nil {
		return nil, err
	}
	etcd, err := etcdserver.NewServer(cfg)
	if err != nil {
		return nil, err
	}
	etcd.Start()
	if err := waitServing(etcd); err != nil {
		etcd.HardStop()
		return nil, err
	}
	run := &fakeRun{
		etcd:     etcd,
		grpc:     v3rpc.Server(etcd, nil, nil, grpc.WaitForHandlers(true)),
		listener: bufconn.Listen(connBuffer),
		served:   make(chan struct{}),
	}
	go func() {
		defer close(run.served)
		_ = run.grpc.Serve(run.listener) // ends with stop
	}()
	return run, nil
}

// waitServing waits for a leader, and for the cluster's version: without it some
// requests are refused.
func waitServing(etcd *etcdserver.EtcdServer) error {
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-etcd.ReadyNotify():
	case <-timeout.C:
		return errors.New("not ready in time")
	}
	for etcd.ClusterVersion() == nil {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-timeout.C:
			return errors.New("no cluster version in time")
		}
	}
	return nil
}

// stop breaks every connection and stops etcd. A renewal of an expired lease blocks its
// handler until the lessor stops, so the handlers get a moment only.
func (r *fakeRun) stop() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.grpc.Stop()
	}()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
	r.etcd.HardStop()
	<-done
	<-r.served
}

func fakeConfig(dir string) (config.ServerConfig, error) {
	urls, err := types.NewURLs([]string{fakeURL})
	if err != nil {
		return config.ServerConfig{}, err
	}
	lg := zap.NewNop()
	return config.ServerConfig{
		Name:                        fakeName,
		ClientURLs:                  urls,
		PeerURLs:                    urls,
		DataDir:                     dir,
		InitialPeerURLsMap:          types.URLsMap{fakeName: urls},
		InitialClusterToken:         fakeName,
		NewCluster:                  true, // ignored when there is data
		SnapshotCount:               etcdserver.DefaultSnapshotCount,
		SnapshotCatchUpEntries:      etcdserver.DefaultSnapshotCatchUpEntries,
		TickMs:                      100,
		ElectionTicks:               10,
		InitialElectionTickAdvance:  true,
		PreVote:                     true,
		MaxTxnOps:                   embed.DefaultMaxTxnOps,
		MaxRequestBytes:             embed.DefaultMaxRequestBytes,
		MaxConcurrentStreams:        math.MaxUint32,
		MaxLearners:                 membership.DefaultMaxLearners,
		StrictReconfigCheck:         true,
		AuthToken:                   "simple",
		BcryptCost:                  uint(bcrypt.MinCost),
		TokenTTL:                    300,
		WarningApplyDuration:        embed.DefaultWarningApplyDuration,
		WarningUnaryRequestDuration: embed.DefaultWarningUnaryRequestDuration,
		V2Deprecation:               config.V2DeprDefault,
		ServerFeatureGate:           features.NewDefaultServerFeatureGate(fakeName, lg),
		Logger:                      lg,
		Metrics:                     "basic",
		UnsafeNoFsync:               true,
	}, nil
}
