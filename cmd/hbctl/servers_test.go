package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/hbctl/hbctl/internal/devserver"
)

// listen gives the address of a listener whose connections are served by serve.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// silent takes connections and never says a word.
func silent(t *testing.T) string {
	return listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// freeAddress is an address where nothing listens, and where the kernel puts nobody by chance: it gives clients ports from
// 32768 on.
func freeAddress() (string, error) {
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(5000))
		l, err := net.Listen("tcp", address)
		if err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no free port found")
}

// closedPort is an address where nothing listens and, as it is taken, nobody else can for as long as the test runs.
func closedPort(t *testing.T) string {
	t.Helper()
	_, address := bound(t)
	return address
}

// bound is a socket that has an address and does not listen.
func bound(t *testing.T) (fd int, address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
}

// addressForEtcd is a free address at which a test starts an etcd.
func addressForEtcd(t *testing.T, scheme string) url.URL {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return url.URL{Scheme: scheme, Host: address}
}

// blackhole is an address that drops attempts to connect: a listener whose queue is full.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, address := bound(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("the queue of a listener does not fill up here")
	return ""
}

func tlsServer(t *testing.T, certFile, keyFile string, auth tls.ClientAuthType) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: auth, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	return listen(t, func(c net.Conn) {
		secure := tls.Server(c, config)
		if secure.Handshake() == nil {
			_, _ = io.Copy(io.Discard, secure)
		}
	})
}

// grpcServer speaks gRPC, and knows what is registered.
func grpcServer(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// oldEtcd is in front of an etcd and says that it is of another version.
func oldEtcd(t *testing.T, client *clientv3.Client, version string) string {
	t.Helper()
	return inFrontOf(t, client, func(s *grpc.Server) {
		pb.RegisterMaintenanceServer(s, &oldMaintenance{grpcproxy.NewMaintenanceProxy(client), version})
	})
}

// inFrontOf passes what is asked on to an etcd, but for what is registered.
func inFrontOf(t *testing.T, client *clientv3.Client, register func(*grpc.Server)) string {
	t.Helper()
	kv, _ := grpcproxy.NewKvProxy(client)
	lease, _ := grpcproxy.NewLeaseProxy(t.Context(), client)
	cluster, _ := grpcproxy.NewClusterProxy(zap.NewNop(), client, "", "")
	return grpcServer(t, func(s *grpc.Server) {
		pb.RegisterKVServer(s, kv)
		pb.RegisterLeaseServer(s, lease)
		pb.RegisterClusterServer(s, cluster)
		register(s)
	})
}

// slowAuth accepts every password, and takes its time.
type slowAuth struct {
	pb.UnimplementedAuthServer
	takes time.Duration
}

func (a *slowAuth) Authenticate(ctx context.Context, _ *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	select {
	case <-time.After(a.takes):
		return &pb.AuthenticateResponse{Token: "token"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type oldMaintenance struct {
	pb.MaintenanceServer
	version string
}

// Status is that of the etcd behind, but for the version.
func (m *oldMaintenance) Status(ctx context.Context, r *pb.StatusRequest) (*pb.StatusResponse, error) {
	resp, err := m.MaintenanceServer.Status(ctx, r)
	if err == nil {
		resp.Version = m.version
	}
	return resp, err
}

// embedEtcd starts an etcd with settings of the test's own.
func embedEtcd(t *testing.T, address url.URL, configure func(*embed.Config)) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an etcd")
	}
	config := embed.NewConfig()
	config.Dir = t.TempDir()
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{address}, []url.URL{address}
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.InitialClusterToken = t.Name() // the cluster's id comes of it
	config.EnableGRPCGateway = false
	config.UnsafeNoFsync = true
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	configure(config)
	server, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(patience):
		t.Fatal("etcd does not get ready")
	}
}

// secureEtcd starts an etcd that wants certificates of the authority.
func secureEtcd(t *testing.T, ca *authority) string {
	t.Helper()
	cert, key := ca.valid("server")
	address := addressForEtcd(t, "https")
	embedEtcd(t, address, func(c *embed.Config) {
		c.ClientTLSInfo = transport.TLSInfo{CertFile: cert, KeyFile: key, TrustedCAFile: ca.file, ClientCertAuth: true, Logger: zap.NewNop()}
	})
	return address.String()
}

// startEtcd starts an etcd of the test's own.
func startEtcd(t *testing.T) (*devserver.Server, *clientv3.Client) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an etcd")
	}
	server, err := devserver.Start(t.Context(), devserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return server, client
}
