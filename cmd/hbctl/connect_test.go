package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
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

func closedPort(t *testing.T) string {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// blackhole is an address that drops attempts to connect: a listener whose queue is full.
func blackhole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
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

// What can't be reached is named with the reason, ends with 4, and never takes longer than the command's timeout.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	day := 24 * time.Hour
	expired, expiredKey := ca.issue("expired", time.Now().Add(-2*day), time.Now().Add(-day))
	early, earlyKey := ca.issue("early", time.Now().Add(day), time.Now().Add(2*day))
	other, otherKey := ca.issue("other", time.Now().Add(-day), time.Now().Add(day), net.IPv4(10, 0, 0, 1))
	good, goodKey := ca.valid("good")
	secure := func(cert, key string, auth tls.ClientAuthType) string {
		return "https://" + tlsServer(t, cert, key, auth)
	}
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	plainEtcd, _ := etcd(t)
	for _, test := range []struct {
		name string
		args []string
		says []string
		fast bool
	}{
		{"closed port", []string{closedPort(t)}, []string{"connection refused"}, true},
		{"blackhole", []string{blackhole(t)}, []string{"no answer to a connection attempt"}, false},
		{"frozen", []string{silent(t)}, []string{"takes the connection and says nothing"}, false},
		{"name that does not exist", []string{"no-such-host.invalid:2379"}, []string{`host "no-such-host.invalid" can't be resolved`}, false},
		{"HTTP server", []string{web.Listener.Addr().String()}, []string{"not an etcd endpoint: an HTTP server answers there"}, true},
		{
			"SSH server",
			[]string{listen(t, func(c net.Conn) { fmt.Fprint(c, "SSH-2.0-OpenSSH_10.0\r\n"); _, _ = io.Copy(io.Discard, c) })},
			[]string{"not an etcd endpoint: an SSH server answers there"},
			true,
		},
		{
			"something else",
			[]string{listen(t, func(c net.Conn) { fmt.Fprint(c, "220 mail \x1b[31mready\r\n"); _, _ = io.Copy(io.Discard, c) })},
			[]string{`not an etcd endpoint: it answers "220 mail \x1b[31mready"`},
			true,
		},
		{"hangs up", []string{listen(t, func(net.Conn) {})}, []string{"closes the connection"}, true},
		{"gRPC without etcd", []string{grpcServer(t)}, []string{"is no etcd: it speaks gRPC"}, true},
		{"two closed ports", []string{closedPort(t) + "," + closedPort(t)}, []string{"connection refused", "; 127.0.0.1:"}, true},
		{
			"TLS where plain is spoken",
			[]string{"https://" + strings.TrimPrefix(plainEtcd, "http://"), "--insecure-skip-tls-verify"},
			[]string{"it does not speak TLS; use http://127.0.0.1"},
			true,
		},
		{
			"plain where TLS is spoken",
			[]string{strings.Replace(secure(good, goodKey, tls.NoClientCert), "https", "http", 1)},
			[]string{"it speaks TLS; use https://127.0.0.1"},
			true,
		},
		{
			"plain where TLS and a certificate are wanted",
			[]string{strings.Replace(secure(good, goodKey, tls.RequireAnyClientCert), "https", "http", 1)},
			[]string{"it speaks TLS; use https://127.0.0.1"},
			true,
		},
		{"unknown authority", []string{secure(good, goodKey, tls.NoClientCert)}, []string{"signed by an unknown authority; give its CA with --cacert"}, true},
		{
			"expired certificate",
			[]string{secure(expired, expiredKey, tls.NoClientCert), "--cacert", ca.file},
			[]string{"the server's certificate expired at 20", ", now is 20"},
			true,
		},
		{
			"certificate of tomorrow",
			[]string{secure(early, earlyKey, tls.NoClientCert), "--cacert", ca.file},
			[]string{"the server's certificate is not valid before 20"},
			true,
		},
		{
			"certificate of another host",
			[]string{secure(other, otherKey, tls.NoClientCert), "--cacert", ca.file},
			[]string{"the server's certificate is for another name", "10.0.0.1"},
			true,
		},
		{
			"wants a certificate",
			[]string{secure(good, goodKey, tls.RequireAnyClientCert), "--cacert", ca.file},
			[]string{"the server refuses TLS: ", "certificate required", "--cert and --key"},
			true,
		},
	} {
		for _, command := range []string{"list", "watch"} {
			t.Run(test.name+"/"+command, func(t *testing.T) {
				t.Parallel()
				o := hbctl(t, append([]string{command, "--command-timeout", "3s", "--dial-timeout", "1s", "--endpoints"}, test.args...)...)
				o.wants(t, exitUnreachable, test.says...)
				if strings.Count(o.stderr, "hbctl: ") != 1 || o.stdout != "" {
					t.Errorf("got stdout %q, stderr %q", o.stdout, o.stderr)
				}
				if limit := map[bool]time.Duration{true: 2 * time.Second, false: 3500 * time.Millisecond}[test.fast]; o.took > limit {
					t.Errorf("took %v, more than %v", o.took, limit)
				}
			})
		}
	}
	t.Run("bounded by the command's timeout", func(t *testing.T) {
		t.Parallel()
		o := hbctl(t, "list", "--endpoints", silent(t), "--command-timeout", "500ms")
		o.wants(t, exitUnreachable, "no answer within 500ms")
		if o.took > 1500*time.Millisecond {
			t.Errorf("took %v", o.took)
		}
	})
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

func grpcServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// Files that TLS can't be set up from are named, before anybody is asked anything.
func TestTLSFiles(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.valid("client")
	_, otherKey := ca.valid("other")
	expired, expiredKey := ca.issue("expired", time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	encrypted := ca.write("encrypted.key", "ENCRYPTED PRIVATE KEY", []byte("x"))
	junk := filepath.Join(ca.dir, "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, says string
		args       []string
	}{
		{"no key", "--cert and --key belong together", []string{"--cert", cert}},
		{"no certificate", "--cert and --key belong together", []string{"--key", key}},
		{"missing CA", "CA file /no/such: no such file", []string{"--cacert", "/no/such"}},
		{"missing certificate", "certificate file /no/such: no such file", []string{"--cert", "/no/such", "--key", key}},
		{"missing key", "key file /no/such: no such file", []string{"--cert", cert, "--key", "/no/such"}},
		{"directory", "CA file " + ca.dir + ": it is a directory", []string{"--cacert", ca.dir}},
		{"junk for a CA", "CA file " + junk + ": no PEM certificate in it", []string{"--cacert", junk}},
		{"junk for a certificate", "certificate file " + junk + ": no PEM certificate in it", []string{"--cert", junk, "--key", key}},
		{"junk for a key", "key file " + junk + ": no PEM private key in it", []string{"--cert", cert, "--key", junk}},
		{"encrypted key", "key file " + encrypted + ": the key is encrypted", []string{"--cert", cert, "--key", encrypted}},
		{"key of another certificate", "key file " + otherKey + " does not belong to certificate file " + cert, []string{"--cert", cert, "--key", otherKey}},
		{"expired", "certificate file " + expired + ": the certificate expired at 20", []string{"--cert", expired, "--key", expiredKey}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hbctl(t, append([]string{"list", "--endpoints", "https://127.0.0.1:1"}, test.args...)...).wants(t, exitUsage, test.says)
		})
	}
	t.Run("unreadable key", func(t *testing.T) {
		dir := t.TempDir()
		public, secret := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
		pem, err := os.ReadFile(cert)
		if err := errors.Join(err, os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755), os.WriteFile(public, pem, 0o644), os.WriteFile(secret, nil, 0)); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			hbctl(t, "list", "--endpoints", "https://127.0.0.1:1", "--cert", public, "--key", secret).wants(t, exitUsage, "key file "+secret+": permission denied")
		})
	})
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
	address := url.URL{Scheme: "https", Host: closedPort(t)}
	embedEtcd(t, address, func(c *embed.Config) {
		c.ClientTLSInfo = transport.TLSInfo{CertFile: cert, KeyFile: key, TrustedCAFile: ca.file, ClientCertAuth: true, Logger: zap.NewNop()}
	})
	return address.String()
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	address := secureEtcd(t, ca)
	cert, key := ca.valid("client")
	t.Run("all in order", func(t *testing.T) {
		t.Parallel()
		o := hbctl(t, "list", "--endpoints", address, "--cacert", ca.file, "--cert", cert, "--key", key, "-o", "name")
		o.wants(t, exitOK)
		if o.stderr != "" {
			t.Errorf("said %s", o.stderr)
		}
	})
	t.Run("key that everybody may read", func(t *testing.T) {
		t.Parallel()
		open, openKey := ca.valid("open")
		if err := os.Chmod(openKey, 0o644); err != nil {
			t.Fatal(err)
		}
		hbctl(t, "list", "--endpoints", address, "--cacert", ca.file, "--cert", open, "--key", openKey).
			wants(t, exitOK, "can be read by everybody")
	})
	t.Run("servers not checked", func(t *testing.T) {
		t.Parallel()
		hbctl(t, "list", "--endpoints", address, "--insecure-skip-tls-verify", "--cert", cert, "--key", key).
			wants(t, exitOK, "certificates are not checked")
	})
	t.Run("certificate of a stranger", func(t *testing.T) {
		t.Parallel()
		stranger, strangerKey := newAuthority(t).valid("stranger")
		hbctl(t, "list", "--endpoints", address, "--cacert", ca.file, "--cert", stranger, "--key", strangerKey).
			wants(t, exitUnreachable, "the server refuses TLS")
	})
	t.Run("no certificate", func(t *testing.T) {
		t.Parallel()
		hbctl(t, "list", "--endpoints", address, "--cacert", ca.file).wants(t, exitUnreachable, "the server refuses TLS", "--cert and --key")
	})
	t.Run("without TLS", func(t *testing.T) {
		t.Parallel()
		hbctl(t, "list", "--endpoints", strings.Replace(address, "https", "http", 1)).wants(t, exitUnreachable, "it speaks TLS")
	})
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

func TestTwoClusters(t *testing.T) {
	t.Parallel()
	one, _ := etcd(t)
	address := url.URL{Scheme: "http", Host: closedPort(t)}
	embedEtcd(t, address, func(*embed.Config) {})
	for _, command := range [][]string{{"list"}, {"watch"}, {"register", "--binary", "b"}} {
		hbctl(t, append(command, "--endpoints", one+","+address.String())...).wants(t, exitUsage, "are of different etcd clusters")
	}
	t.Run("one of the endpoints is down", func(t *testing.T) {
		t.Parallel()
		for _, bad := range []string{closedPort(t), silent(t)} {
			o := hbctl(t, "list", "--endpoints", bad+","+one, "--prefix", "/nothing/", "-o", "name")
			o.wants(t, exitOK)
			if o.took > 4*time.Second {
				t.Errorf("took %v", o.took)
			}
		}
	})
}

func TestUsers(t *testing.T) {
	t.Parallel()
	server, client := startEtcd(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(client.UserAdd(ctx, "root", "rootpw"))
	must(client.UserGrantRole(ctx, "root", "root"))
	must(client.RoleAdd(ctx, "reader"))
	must(client.RoleGrantPermission(ctx, "reader", "/hb/", "/hb0", clientv3.PermissionType(clientv3.PermRead)))
	must(client.UserAdd(ctx, "ann", "annpw"))
	must(client.UserGrantRole(ctx, "ann", "reader"))
	must(client.AuthEnable(ctx))
	as := func(args ...string) []string { return append([]string{"--endpoints", server.Endpoint()}, args...) }
	byName := strings.Replace(server.Endpoint(), "127.0.0.1", "localhost", 1)
	twice := func(args ...string) []string {
		return append([]string{"--endpoints", server.Endpoint() + "," + byName}, args...)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"right password", as("list", "--user", "ann:annpw"), exitOK, ""},
		{"right password, several endpoints", twice("list", "--user", "ann:annpw"), exitOK, ""},
		{"wrong password, several endpoints", twice("list", "--user", "ann:no"), exitDenied, `etcd refuses user "ann"`},
		{"no user, several endpoints", twice("list"), exitDenied, "etcd wants to know who asks"},
		{"wrong password", as("list", "--user", "ann:no"), exitDenied, `etcd refuses user "ann": wrong name or password`},
		{"unknown user", as("list", "--user", "bob:no"), exitDenied, `etcd refuses user "bob"`},
		{"no user", as("list"), exitDenied, "etcd wants to know who asks: give --user"},
		{"no user for a watch", as("watch"), exitDenied, "etcd wants to know who asks"},
		{"foreign prefix", as("list", "--user", "ann:annpw", "--prefix", "/other/"), exitDenied, `etcd denies user "ann" access under /other/`},
		{"foreign prefix for a watch", as("watch", "--user", "ann:annpw", "--prefix", "/other/"), exitDenied, `etcd denies user "ann"`},
		{"registering with the right to read", as("register", "--user", "ann:annpw", "--binary", "b"), exitDenied, `etcd denies user "ann"`},
		{"registering with a wrong password", as("register", "--user", "ann:no", "--binary", "b"), exitDenied, `etcd refuses user "ann"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := hbctl(t, test.args...)
			o.wants(t, test.code, test.says)
			if strings.Contains(o.stderr, "annpw") {
				t.Errorf("the password is shown: %s", o.stderr)
			}
		})
	}
}
