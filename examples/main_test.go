package examples_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
)

func TestMain(m *testing.M) {
	defer etcdtest.Alone()()
	os.Exit(m.Run())
}

// long is more than anything takes here, on a machine that is busy.
const long = 60 * time.Second

// startGo starts a Go example.
func startGo(t testing.TB, etcd *etcdtest.Nodes, name string, args ...string) *hbtest.Program {
	t.Helper()
	line := []string{etcdtest.Binary(t, "./examples/"+name), "--endpoints", strings.Join(etcd.Endpoints(), ",")}
	return hbtest.Start(t, etcd.Endpoints(), append(line, args...)...)
}

func startHbctl(t testing.TB, etcd *etcdtest.Nodes, args ...string) *hbtest.Program {
	t.Helper()
	return hbtest.Start(t, etcd.Endpoints(), append([]string{etcdtest.Binary(t, "./cmd/hbctl")}, args...)...)
}

// dependsOn lets go test see that a test is about these files, which it imports nothing of: else it would keep the result when
// they change.
func dependsOn(t testing.TB, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no such files (%v)", pattern, err)
	}
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
	}
}

// inPath lets the programs of a test find what is in a folder.
func inPath(t *testing.T, folder string) {
	t.Helper()
	t.Setenv("PATH", folder+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// history gives what was ever written and deleted under a prefix.
func history(t testing.TB, client *clientv3.Client, prefix string) []*clientv3.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	put, err := client.Put(ctx, "/example/end", "")
	if err != nil {
		t.Fatal(err)
	}
	var all []*clientv3.Event
	for w := range client.Watch(ctx, "/", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		if err := w.Err(); err != nil {
			t.Fatal(err)
		}
		for _, e := range w.Events {
			if bytes.HasPrefix(e.Kv.Key, []byte(prefix)) {
				all = append(all, e)
			}
			if e.Kv.ModRevision == put.Header.Revision {
				return all
			}
		}
	}
	t.Fatal("the history is not whole")
	return nil
}
