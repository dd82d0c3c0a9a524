package devserver_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/internal/devserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, cfg devserver.Config) *devserver.Server {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := devserver.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, s) })
	return s
}

// mustClose closes within the bound that Close promises, with room for a busy machine.
func mustClose(t *testing.T, s *devserver.Server) {
	t.Helper()
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("Close took %v", took)
	}
}

func client(t *testing.T, s *devserver.Server) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func put(t *testing.T, c *clientv3.Client, key string) {
	t.Helper()
	if _, err := c.Put(t.Context(), key, "v"); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func TestStart(t *testing.T) {
	s := start(t, devserver.Config{})
	c := client(t, s)
	put(t, c, "k")

	t.Run("members are told the real address", func(t *testing.T) {
		members, err := c.MemberList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := members.Members[0].ClientURLs; len(got) != 1 || got[0] != s.Endpoint() {
			t.Errorf("advertises %v, want %s", got, s.Endpoint())
		}
	})
	t.Run("data is private", func(t *testing.T) {
		info, err := os.Stat(s.DataDir())
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o700 {
			t.Errorf("mode %o, want 700", got)
		}
	})
	t.Run("temporary data goes with it", func(t *testing.T) {
		mustClose(t, s)
		mustClose(t, s)
		if exists(s.DataDir()) {
			t.Errorf("%s is still there", s.DataDir())
		}
		select {
		case err := <-s.Err():
			t.Errorf("Err after Close: %v", err)
		default:
		}
	})
}

func TestStartOnEveryInterface(t *testing.T) {
	s := start(t, devserver.Config{Listen: ":0"})
	if !strings.HasPrefix(s.Endpoint(), "http://127.0.0.1:") {
		t.Errorf("endpoint %s, want a loopback address", s.Endpoint())
	}
	put(t, client(t, s), "k")
}

func TestStartRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	running := start(t, devserver.Config{DataDir: filepath.Join(t.TempDir(), "data")})
	done, cancel := context.WithCancel(t.Context())
	cancel()

	for name, tt := range map[string]struct {
		ctx  context.Context
		cfg  devserver.Config
		want string
	}{
		"a busy port": {
			cfg:  devserver.Config{Listen: busy.Addr().String()},
			want: "address " + busy.Addr().String() + " is already in use; choose another with --listen",
		},
		"no port":             {cfg: devserver.Config{Listen: "127.0.0.1"}, want: `"127.0.0.1": want HOST:PORT`},
		"a port out of range": {cfg: devserver.Config{Listen: "127.0.0.1:70000"}, want: "no number from 0 to 65535"},
		"a host name":         {cfg: devserver.Config{Listen: "example.test:0"}, want: "must be an IP address or localhost"},
		"another's address":   {cfg: devserver.Config{Listen: "192.0.2.1:0"}, want: "assign requested address"},
		"a file as directory": {cfg: devserver.Config{DataDir: file}, want: "not a directory"},
		"a directory in use":  {cfg: devserver.Config{DataDir: running.DataDir()}, want: "in use by another etcd"},
		"a context that is done": {
			ctx: done, cfg: devserver.Config{}, want: "context canceled",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			if tt.cfg.Listen == "" {
				tt.cfg.Listen = "127.0.0.1:0"
			}
			t.Setenv("TMPDIR", t.TempDir())
			s, err := devserver.Start(tt.ctx, tt.cfg)
			if err == nil {
				mustClose(t, s)
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
			if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) != 0 {
				t.Errorf("left %v behind", left)
			}
		})
	}
}

func TestDataDirIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	for i := range 3 {
		s := start(t, devserver.Config{DataDir: dir})
		if s.DataDir() != dir {
			t.Errorf("data is in %s, want %s", s.DataDir(), dir)
		}
		c := client(t, s)
		resp, err := c.Get(t.Context(), "k", clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		if len(resp.Kvs) != i {
			t.Errorf("start %d found %d keys, want %d", i, len(resp.Kvs), i)
		}
		put(t, c, "k"+strings.Repeat("x", i))
		members, err := c.MemberList(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := members.Members[0].ClientURLs; len(members.Members) != 1 || len(got) != 1 || got[0] != s.Endpoint() {
			t.Errorf("start %d has members %v, want one at %s", i, members.Members, s.Endpoint())
		}
		mustClose(t, s)
	}
	if !exists(dir) {
		t.Error("the data is gone")
	}
}

func TestCloseWithOpenStreams(t *testing.T) {
	s := start(t, devserver.Config{})
	c := client(t, s)
	lease, err := c.Grant(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	alive, err := c.KeepAlive(t.Context(), lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	<-alive
	events := c.Watch(t.Context(), "k")
	put(t, c, "k")
	<-events
	mustClose(t, s)
	if exists(s.DataDir()) {
		t.Errorf("%s is still there", s.DataDir())
	}
}

func TestWebPagesAreRefused(t *testing.T) {
	s := start(t, devserver.Config{})
	post := func(host string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Endpoint()+"/v3/kv/range", strings.NewReader(`{"key":"aw=="}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("Origin", "http://example.test")
		transport := &http.Transport{DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if origin := resp.Header.Get("Access-Control-Allow-Origin"); origin != "" {
			t.Errorf("a page of another origin may read answers: %q", origin)
		}
		return resp.StatusCode
	}
	if got := post("localhost"); got != http.StatusNotFound {
		t.Errorf("the gateway answers %d, want it off", got)
	}
	if got := post("example.test"); got != http.StatusMisdirectedRequest {
		t.Errorf("a foreign host name is answered %d, want it refused", got)
	}
}
