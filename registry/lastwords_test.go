package registry_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// The reason is whatever a program said as it died. It must cost neither the record nor the end itself.
func TestAnyReasonCanBeAnnounced(t *testing.T) {
	for name, tt := range map[string]struct{ reason, want string }{
		"none":             {"", "-"},
		"plain":            {"exit status 3", "exit status 3"},
		"not UTF-8":        {"disk \xff\xfe on fire", "disk  on fire"},
		"a terminal's":     {"\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"}, // JSON has an escape for it, and so has hbctl
		"a megabyte":       {strings.Repeat("x", 1<<20), strings.Repeat("x", 1024) + "..."},
		"cut in character": {strings.Repeat("x", 1023) + "ü and more", strings.Repeat("x", 1023) + "..."},
	} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			g := r.process(t).register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) {
				in.Labels, in.Endpoints = map[string]string{"rack": "r1"}, []string{"http://10.0.0.1:80"}
			})
			mustClose(t, func(ctx context.Context) error { return g.Fail(ctx, tt.reason) })
			s := r.row(t, "vol/node1")
			if got := show(s.CauseReason); cause(s) != "failed" || got != tt.want {
				t.Errorf("%s: cause %s, %.100q; want %.100q", name, cause(s), got, tt.want)
			}
			if s.Labels["rack"] != "r1" || len(s.Endpoints) != 1 {
				t.Errorf("%s: the row lost its labels or endpoints: %v, %v", name, s.Labels, s.Endpoints)
			}
		})
	}
}

// A put whose answer is lost, and then the end: what the record said must stay.
func TestEndAfterALostPutKeepsTheRecord(t *testing.T) {
	for name, change := range map[string]func(*registry.Instance){
		"as it was registered": nil,
		"as it was changed":    func(in *registry.Instance) { in.Zone = "az8" },
	} {
		inFakeTime(t, func(t *testing.T, r *rig) {
			p, m := r.meddled(t)
			g := p.register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) { in.Zone = "az7" })
			zone := "az7"
			if change != nil {
				zone = "az8"
				if err := g.Update(t.Context(), change); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			var lost atomic.Bool
			m.with(func(ops string, do commit) error {
				if !strings.Contains(ops, putsAlive) {
					return do()
				}
				if !lost.Swap(true) {
					go func() { _ = g.Close(context.Background()) }()
					time.Sleep(10 * time.Millisecond)
				}
				return rpctypes.ErrTimeout
			})
			if _, err := r.client.Revoke(t.Context(), clientv3.LeaseID(g.Status().Lease)); err != nil {
				t.Fatal(err)
			}
			<-g.Done()
			if !lost.Load() {
				t.Fatal("nothing was put again")
			}
			snap := mustList(t, r.client, registry.ListOptions{})
			if s := snap.Services[0]; s.State != registry.Down || show(s.Zone) != zone || len(snap.Warnings) != 0 {
				t.Errorf("%s: %s, zone %s, warnings %+v", name, s.State, show(s.Zone), snap.Warnings)
			}
		})
	}
}
