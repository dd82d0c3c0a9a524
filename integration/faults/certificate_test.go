package faults_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, next: 1}
	a.cert = &x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	made := a.issue(time.Now().Add(time.Hour), a.cert)
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue signs a certificate that is good until then, for anybody on this machine.
func (a *authority) issue(until time.Time, template ...*x509.Certificate) *tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "somebody"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	signer := a.key
	if len(template) > 0 {
		c, signer = template[0], key // its own
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.next), time.Now().Add(-2*time.Hour), until
	a.next++
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// files writes a certificate and its key, and gives their names.
func (a *authority) files(name string, c *tls.Certificate) (cert, key string) {
	a.t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	dir := a.t.TempDir()
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
}

// An identity is who a client says it is when it connects, and all of its connections.
type identity struct {
	cert  atomic.Pointer[tls.Certificate]
	shown atomic.Int64 // how often it was asked
	mu    sync.Mutex
	conns []net.Conn
}

func (i *identity) configure(trust *x509.CertPool) func(*clientv3.Config) {
	return func(c *clientv3.Config) {
		c.TLS = &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			i.shown.Add(1)
			return i.cert.Load(), nil
		}}
		c.DialOptions = append(c.DialOptions, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", addr)
			if err == nil {
				i.mu.Lock()
				i.conns = append(i.conns, conn)
				i.mu.Unlock()
			}
			return conn, err
		}))
	}
}

// reconnect breaks every connection, so that the client has to say anew who it is.
func (i *identity) reconnect() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.conns {
		_ = c.Close() // closed already, if it was given up
	}
	i.conns = nil
}

// secure starts an etcd that wants a certificate of every client, and gives its endpoint and what to trust.
func secure(t *testing.T, a *authority) (etcd *etcdtest.Nodes, endpoint string, trust *x509.CertPool) {
	t.Helper()
	ca, _ := a.files("ca", &tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key})
	cert, key := a.files("server", a.issue(time.Now().Add(time.Hour)))
	trust = x509.NewCertPool()
	trust.AddCert(a.cert)
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint = "https://" + listen.Addr().String()
	_ = listen.Close()
	return etcdtest.Standalone(t, "--listen-client-urls=http://{client},"+endpoint, "--cert-file="+cert, "--key-file="+key,
		"--trusted-ca-file="+ca, "--client-cert-auth"), endpoint, trust
}

// The client's certificate is changed while it is in use, and connections are made anew with the next one: nobody notices. With one
// that has expired no connection comes about: the holder is fenced, the watcher blind, both say why, and a good one ends it.
func TestF24CertificateRotates(t *testing.T) {
	t.Parallel()
	const ttl = 5 * time.Second
	a := newAuthority(t)
	etcd, endpoint, trust := secure(t, a)
	holder, reader := &identity{}, &identity{}
	for _, i := range []*identity{holder, reader} {
		i.cert.Store(a.issue(time.Now().Add(time.Hour)))
	}
	control := watchAll(t, etcd.Client())
	events := make(chan registry.Event, 1<<16)
	g := hbtest.Register(t, hbtest.NewRegistry(t, dial(t, []string{endpoint}, holder.configure(trust)), func(cfg *registry.Config) {
		cfg.OnEvent = func(e registry.Event) { events <- e }
	}), hbtest.Node(1), ttl)
	was := g.Incarnation()
	w := watchAll(t, dial(t, []string{endpoint}, reader.configure(trust)))

	const rotations = 3
	for range rotations {
		before := g.Status().Renewals
		for _, i := range []*identity{holder, reader} {
			i.cert.Store(a.issue(time.Now().Add(time.Hour)))
			i.reconnect()
		}
		hbtest.Eventually(t, ttl, "renewed with the next certificate", func() bool { return g.Status().Renewals >= before+2 })
	}
	if s := g.Status(); s.Fences != 0 || !g.Valid() || w.Told(watcher.Stale) != 0 || holder.shown.Load() < rotations+1 {
		t.Errorf("after %d rotations (%d times shown): %+v\n%s", rotations, holder.shown.Load(), s, w.Story())
	}
	rotated := g.Status()

	good := holder.cert.Load()
	for _, i := range []*identity{holder, reader} {
		i.cert.Store(a.issue(time.Now().Add(-time.Hour)))
		i.reconnect()
	}
	control.Down(4*ttl, hbtest.Node(1), was)
	stale := w.Await(10*time.Second, "stale", func(b watcher.Batch) bool { return b.Kind == watcher.Stale })
	why := awaitEvent(t, events, registry.Fenced, 2*ttl).Err
	if stale.Reason == nil || !strings.Contains(fmt.Sprint(why), "renewal stream") {
		t.Errorf("the reader is told %v, the holder %v", stale.Reason, why)
	}
	// Which of the server's refusal and the end of the connection is read first is chance, so the word comes with one failure or the next.
	clear := refusedFor(t, dial(t, []string{endpoint}, holder.configure(trust)), "expired certificate")
	if g.Valid() {
		t.Error("it may act after its key was gone")
	}
	for _, i := range []*identity{holder, reader} {
		i.cert.Store(good)
	}
	control.Event(10*hbtest.Slow*time.Second, watcher.Up, hbtest.Node(1), was)
	back := hbtest.Eventually(t, 10*time.Second, "it may act", g.Valid)
	w.Event(10*hbtest.Slow*time.Second, watcher.Up, hbtest.Node(1), was)
	w.Consistent()
	t.Logf("F24: %d rotations with new connections: longest gap between renewals %v (TTL %v), %d fences, no stale; expired: the reader is told %q, the holder %q, a question %q; back %v after a good one",
		rotations, rotated.LongestGap.Round(time.Millisecond), ttl, rotated.Fences, stale.Reason, why, clear, back.Round(time.Millisecond))
}

// refusedFor asks until it fails for a reason of which the words are part.
func refusedFor(t *testing.T, client *clientv3.Client, words string) (err error) {
	t.Helper()
	hbtest.Eventually(t, 20*time.Second, "a question fails for: "+words, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = pb.NewKVClient(client.ActiveConnection()).Range(ctx, &pb.RangeRequest{Key: []byte(registry.DefaultPrefix)})
		return err != nil && strings.Contains(err.Error(), words)
	})
	return err
}
