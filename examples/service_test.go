package examples_test

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

const (
	serviceTTL = 3 * time.Second
	working    = "working as incarnation"
	doneKey    = "/example/done/worker/node1"
)

var serviceName = registry.Name{Binary: "worker", Host: "node1"}

func startService(t testing.TB, etcd *etcdtest.Nodes) *hbtest.Program {
	t.Helper()
	return startGo(t, etcd, "service", "--host", "node1", "--ttl", serviceTTL.String(), "--every", "20ms")
}

// done is one unit of work of the service.
type done struct {
	Incarnation int64
	Unit        int
}

// awaitWork waits until the service has worked as a later incarnation than that, and gives which.
func awaitWork(t testing.TB, client *clientv3.Client, after int64) (incarnation int64) {
	t.Helper()
	hbtest.Eventually(t, long, "work is done", func() bool {
		found, err := client.Get(t.Context(), doneKey)
		if err != nil || len(found.Kvs) == 0 {
			return false
		}
		var d done
		if err := json.Unmarshal(found.Kvs[0].Value, &d); err != nil {
			t.Fatal(err)
		}
		incarnation = d.Incarnation
		return d.Incarnation > after
	})
	return incarnation
}

// checkWork checks that what was ever done was done by the incarnation that was there then, and gives how much each has done.
func checkWork(t testing.TB, client *clientv3.Client) map[int64]int {
	t.Helper()
	keys, err := registry.NewKeys("")
	if err != nil {
		t.Fatal(err)
	}
	units, last, there := map[int64]int{}, done{}, int64(0)
	for _, e := range history(t, client, "/") {
		switch key := string(e.Kv.Key); {
		case key == keys.Alive(serviceName) && e.Type == clientv3.EventTypeDelete:
			there = 0
		case key == keys.Alive(serviceName):
			there = e.Kv.ModRevision
		case key == doneKey:
			var d done
			if err := json.Unmarshal(e.Kv.Value, &d); err != nil {
				t.Fatal(err)
			}
			if d.Incarnation != there {
				t.Errorf("r%d: a unit was done as incarnation %d while %d was there", e.Kv.ModRevision, d.Incarnation, there)
			}
			if d.Incarnation == last.Incarnation && d.Unit <= last.Unit {
				t.Errorf("r%d: unit %d came after %d", e.Kv.ModRevision, d.Unit, last.Unit)
			}
			units[d.Incarnation]++
			last = d
		}
	}
	return units
}

// A service that was frozen for longer than its TTL does nothing as who it was.
func TestServiceFrozen(t *testing.T) {
	etcd := etcdtest.Standalone(t)
	client := etcd.Client()
	w := hbtest.Watch(t, client, watcher.Now())
	p := startService(t, etcd)
	before := awaitWork(t, client, 0)

	said := len(p.Lines())
	p.Signal(syscall.SIGSTOP)
	if cause := w.Down(long, serviceName, before); cause != "expired" {
		t.Errorf("cause %s, want expired", cause)
	}
	p.Signal(syscall.SIGCONT)
	p.Await(long, said, "stopped working")
	p.Await(long, said, working)
	after := awaitWork(t, client, before)

	p.Signal(syscall.SIGTERM)
	if cause := w.Down(long, serviceName, after); cause != "left" {
		t.Errorf("cause %s, want left", cause)
	}
	if code := p.Ends(long); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	units := checkWork(t, client)
	if units[before] == 0 || units[after] == 0 {
		t.Errorf("units done by incarnation: %v, want some of %d and of %d", units, before, after)
	}
	w.Consistent()
}

// Without etcd it stops by itself, in time, and says why. It goes on when etcd is back.
func TestServiceFenced(t *testing.T) {
	etcd := etcdtest.Standalone(t)
	client := etcd.Client()
	p := startService(t, etcd)
	awaitWork(t, client, 0)

	said := len(p.Lines())
	etcd.Nodes[0].Freeze()
	line, said := p.Await(long, said, "stopped working")
	if !strings.Contains(line, "fenced") {
		t.Errorf("it said %q, want that it is fenced", line)
	}
	etcd.Nodes[0].Thaw()
	p.Await(long, said, working)
	hbtest.Eventually(t, long, "it is up", func() bool { return hbtest.List(t, client)[serviceName].State == registry.Up })
	before, err := client.Get(t.Context(), doneKey)
	if err != nil {
		t.Fatal(err)
	}
	hbtest.Eventually(t, long, "work goes on", func() bool {
		now, err := client.Get(t.Context(), doneKey)
		return err == nil && now.Kvs[0].ModRevision > before.Kvs[0].ModRevision
	})
	checkWork(t, client)
}

// An operator who evicts it ends it, and it ends as a failure: it was not asked to stop.
func TestServiceEvicted(t *testing.T) {
	etcd := etcdtest.Standalone(t)
	client := etcd.Client()
	p := startService(t, etcd)
	awaitWork(t, client, 0)
	o, err := registry.NewOperator(client, registry.OperatorConfig{By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Forget(t.Context(), serviceName, registry.Forgetting{Evict: true, Reason: "too old"}); err != nil {
		t.Fatal(err)
	}
	p.Await(long, 0, "stopped working")
	if code := p.Ends(long); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if said := p.Said(); !strings.Contains(said, "evicted") {
		t.Errorf("it does not say that it was evicted:\n%s", said)
	}
	checkWork(t, client)
}
