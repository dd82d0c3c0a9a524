package integration_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
)

// A service needs no library of ours: one written with etcdctl alone, as ARCHITECTURE.md says, is listed and watched like any
// other.
func TestServiceWrittenByHand(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	etcdctl := etcdtest.Binary(t, "go.etcd.io/etcd/etcdctl/v3")
	dev := hbctl(t, nil, "dev", "--listen", "127.0.0.1:0")
	var endpoint string
	hbtest.Eventually(t, 20*time.Second, "hbctl dev says where it is", func() bool {
		endpoint = regexp.MustCompile(`127\.0\.0\.1:[1-9][0-9]*`).FindString(dev.Said())
		return endpoint != ""
	})
	ctl := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(etcdctl, args...)
		cmd.Env = append(os.Environ(), "ETCDCTL_ENDPOINTS="+endpoint)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("etcdctl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	watch := hbctl(t, []string{endpoint}, "watch", "-o", "json")
	hbtest.Eventually(t, 10*time.Second, "the watch is complete", func() bool { return strings.Contains(watch.Said(), `"synced"`) })

	lease := strings.Fields(ctl("lease", "grant", "3"))[1]
	ctl("put", "/hb/instances/web/node1", `{"schema":1,"binary":"web","host":"node1","zone":"az1"}`)
	ctl("put", "--lease="+lease, "/hb/alive/web/node1", `{"schema":1,"registration":"by hand"}`)
	if s := listed(t, endpoint); s.State != "up" || s.Zone != "az1" || s.Lease != strings.TrimLeft(lease, "0") {
		t.Errorf("listed as %+v, want up in az1 with lease %s", s, lease)
	}
	hbtest.Eventually(t, 10*time.Second, "it is listed as down", func() bool { return listed(t, endpoint).State == "down" })
	hbtest.Eventually(t, 5*time.Second, "the watch told up and down", func() bool {
		up, down := strings.Index(watch.Said(), `"kind":"up"`), strings.Index(watch.Said(), `"kind":"down"`)
		return up >= 0 && down > up && strings.Contains(watch.Said()[down:], `"cause":"expired"`)
	})
	t.Logf("hbctl watch -o json printed:\n%s", watch.Said())
	for _, p := range []*hbtest.Program{watch, dev} {
		p.Signal(syscall.SIGTERM)
		if code := p.Ends(10 * time.Second); code != 0 {
			t.Errorf("exit code %d after SIGTERM, want 0", code)
		}
	}
}

type listedService struct{ Binary, Host, Zone, State, Lease string }

// listed runs hbctl list and gives the only row.
func listed(t *testing.T, endpoint string) listedService {
	t.Helper()
	p := hbctl(t, []string{endpoint}, "list", "-o", "json")
	if code := p.Ends(10 * time.Second); code != 0 {
		t.Fatalf("hbctl list: exit code %d: %s", code, p.Said())
	}
	var out struct{ Services []listedService }
	if err := json.Unmarshal([]byte(p.Said()), &out); err != nil || len(out.Services) != 1 {
		t.Fatalf("hbctl list -o json: %v: %s", err, p.Said())
	}
	return out.Services[0]
}
