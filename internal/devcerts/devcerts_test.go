package devcerts_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/devcerts"
)

// make1 makes certificates in a new folder.
func make1(t *testing.T, c devcerts.Config) devcerts.Config {
	t.Helper()
	if c.Dir == "" {
		c.Dir = filepath.Join(t.TempDir(), "certs")
	}
	if _, err := devcerts.Make(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func pair(t *testing.T, dir, name string) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func roots(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatalf("ca.crt: %v", err)
	}
	return pool
}

// shake has a client call a server by a name, each with a certificate and the authority of a folder.
func shake(t *testing.T, serverDir, server, called, clientDir, client string) error {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair(t, serverDir, server)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots(t, serverDir),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = conn.Write([]byte("x"))
			conn.Close()
		}
		served <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{
		Certificates: []tls.Certificate{pair(t, clientDir, client)}, RootCAs: roots(t, clientDir), ServerName: called,
	})
	_, asked := c.Read(make([]byte, 1)) // a refusal of the client comes after its handshake
	return errors.Join(asked, <-served)
}

func TestWhoMayTalk(t *testing.T) {
	t.Parallel()
	c := make1(t, devcerts.Config{
		Servers: []devcerts.Server{{Name: "etcd0"}, {Name: "etcd1", Hosts: []string{"etcd.example.org", "10.0.0.1"}}}, Clients: []string{"me"},
	})
	make1(t, devcerts.Config{Dir: c.Dir, Clients: []string{"later"}})
	other := make1(t, devcerts.Config{Servers: []devcerts.Server{{Name: "etcd0"}}, Clients: []string{"me"}})
	for _, test := range []struct {
		name, server, called, clientDir, client string
		want                                    string // empty: they talk
	}{
		{"by its name", "etcd0", "etcd0", c.Dir, "me", ""},
		{"on this machine", "etcd0", "127.0.0.1", c.Dir, "me", ""},
		{"on this machine, by IPv6", "etcd0", "::1", c.Dir, "me", ""},
		{"by localhost", "etcd1", "localhost", c.Dir, "me", ""},
		{"by a further name", "etcd1", "etcd.example.org", c.Dir, "me", ""},
		{"by a further address", "etcd1", "10.0.0.1", c.Dir, "me", ""},
		{"a member as a client", "etcd0", "etcd0", c.Dir, "etcd1", ""},
		{"one made later", "etcd0", "etcd0", c.Dir, "later", ""},
		{"by a name that it has not", "etcd0", "etcd1", c.Dir, "me", "not etcd1"},
		{"of another authority", "etcd0", "etcd0", other.Dir, "me", "unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := shake(t, c.Dir, test.server, test.called, test.clientDir, test.client)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("they do not talk: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// Who has a client's key can't pass for a server.
func TestClientIsNoServer(t *testing.T) {
	t.Parallel()
	c := make1(t, devcerts.Config{Servers: []devcerts.Server{{Name: "etcd0"}}, Clients: []string{"me"}})
	for name, want := range map[string]bool{"etcd0": true, "me": false} {
		_, err := pair(t, c.Dir, name).Leaf.Verify(x509.VerifyOptions{
			Roots: roots(t, c.Dir), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if (err == nil) != want {
			t.Errorf("%s as a server: %v", name, err)
		}
	}
}

func TestFilesAndModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	files, err := devcerts.Make(devcerts.Config{Dir: dir, Servers: []devcerts.Server{{Name: "s"}}})
	want := []string{"ca.key", "ca.crt", "s.key", "s.crt"}
	for i := range want {
		want[i] = filepath.Join(dir, want[i])
	}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("got %v, %v", files, err)
	}
	make1(t, devcerts.Config{Dir: dir, Clients: []string{"c"}, Readable: true})
	for file, want := range map[string]fs.FileMode{".": 0o700, "ca.key": 0o600, "ca.crt": 0o644, "s.key": 0o600, "s.crt": 0o644, "c.key": 0o644} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Error(err)
		} else if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", file, got, want)
		}
	}
}

func TestHowLongTheyAreGood(t *testing.T) {
	t.Parallel()
	c := make1(t, devcerts.Config{Clients: []string{"short"}, Valid: time.Hour})
	make1(t, devcerts.Config{Dir: c.Dir, Clients: []string{"default"}})
	make1(t, devcerts.Config{Dir: c.Dir, Clients: []string{"long"}, Valid: 100 * 365 * 24 * time.Hour})
	now, ca := time.Now(), pair(t, c.Dir, "ca").Leaf.NotAfter
	for name, want := range map[string]time.Time{"short": now.Add(time.Hour), "default": now.Add(devcerts.DefaultValid), "long": ca} {
		if got := pair(t, c.Dir, name).Leaf.NotAfter; got.Sub(want).Abs() > time.Minute {
			t.Errorf("%s is good until %v, want %v", name, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := make1(t, devcerts.Config{Clients: []string{"there"}}).Dir
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	for _, file := range []string{"ca.crt", "ca.key"} {
		if err := os.WriteFile(filepath.Join(broken, file), []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		c    devcerts.Config
		is   error
		want string
	}{
		{"no folder", devcerts.Config{Clients: []string{"a"}}, devcerts.ErrInvalid, "no folder"},
		{"nothing to make", devcerts.Config{Dir: dir}, devcerts.ErrInvalid, "nothing to make"},
		{"a path", devcerts.Config{Dir: dir, Clients: []string{"../a"}}, devcerts.ErrInvalid, `name "../a"`},
		{"no name", devcerts.Config{Dir: dir, Clients: []string{""}}, devcerts.ErrInvalid, `name ""`},
		{"too long", devcerts.Config{Dir: dir, Clients: []string{strings.Repeat("a", 65)}}, devcerts.ErrInvalid, "up to 64"},
		{"the authority's name", devcerts.Config{Dir: dir, Servers: []devcerts.Server{{Name: "ca"}}}, devcerts.ErrInvalid, "the authority's"},
		{"twice", devcerts.Config{Dir: dir, Servers: []devcerts.Server{{Name: "a"}}, Clients: []string{"a"}}, devcerts.ErrInvalid, "there twice"},
		{"empty host", devcerts.Config{Dir: dir, Servers: []devcerts.Server{{Name: "a", Hosts: []string{""}}}}, devcerts.ErrInvalid, "empty host"},
		{"no time", devcerts.Config{Dir: dir, Clients: []string{"a"}, Valid: -1}, devcerts.ErrInvalid, "valid for"},
		{"it is there", devcerts.Config{Dir: dir, Clients: []string{"a", "there"}}, fs.ErrExist, "there.crt"},
		{"an open folder", devcerts.Config{Dir: open, Clients: []string{"a"}, Readable: true}, nil, "chmod 700"},
		{"a broken authority", devcerts.Config{Dir: broken, Clients: []string{"a"}}, nil, "the authority in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			files, err := devcerts.Make(test.c)
			if err == nil || !strings.Contains(err.Error(), test.want) || (test.is != nil && !errors.Is(err, test.is)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if len(files) > 0 {
				t.Errorf("it wrote %v", files)
			}
			if _, err := os.Lstat(filepath.Join(test.c.Dir, "a.crt")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a.crt is there: %v", err)
			}
		})
	}
}

// A folder with half an authority gets no other one: what the old one signed would be worthless.
func TestHalfAnAuthority(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{"ca.crt", "ca.key"} {
		c := make1(t, devcerts.Config{Clients: []string{"a"}})
		if err := os.Remove(filepath.Join(c.Dir, lost)); err != nil {
			t.Fatal(err)
		}
		if files, err := devcerts.Make(devcerts.Config{Dir: c.Dir, Clients: []string{"b"}}); err == nil {
			t.Errorf("without %s it made %v", lost, files)
		}
	}
}
