package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy"
	"google.golang.org/grpc"
)

// heldUp passes transactions on to an etcd once it may.
type heldUp struct {
	pb.KVServer
	before func(context.Context) error
}

func (h *heldUp) Txn(ctx context.Context, r *pb.TxnRequest) (*pb.TxnResponse, error) {
	if err := h.before(ctx); err != nil {
		return nil, err
	}
	return h.KVServer.Txn(ctx, r)
}

// heldUpWorld has rows web/n0, web/n1, ..., and an etcd that is held up at each transaction.
func heldUpWorld(t *testing.T, rows int, before func(context.Context) error) *world {
	t.Helper()
	w := newWorld(t)
	for i := range rows {
		w.record(fmt.Sprintf("web/n%d", i), `,"zone":"az1"`)
	}
	kv, _ := grpcproxy.NewKvProxy(w.client)
	address := grpcServer(t, func(s *grpc.Server) { pb.RegisterKVServer(s, &heldUp{kv, before}) })
	w.flags = []string{"--endpoints", address, "--prefix", w.prefix}
	return w
}

// A selection may be of thousands: an etcd that answers them one by one is not one that does not answer, however long they
// take together.
func TestManyTargetsTakeTheirTime(t *testing.T) {
	t.Parallel()
	const rows = 12
	w := heldUpWorld(t, rows, func(context.Context) error {
		time.Sleep(150 * time.Millisecond)
		return nil
	})
	for _, command := range []string{"disable --reason x", "show", "forget"} {
		args := append(strings.Fields(command), "--zone", "az1", "--command-timeout", "1500ms", "-o", "name")
		o := w.hbctl(args...)
		o.wants(t, exitOK)
		if n := strings.Count(o.stdout, "\n"); n != rows || o.stderr != "" {
			t.Errorf("%s: %d of %d; stderr: %s", command, n, rows, o.stderr)
		}
	}
}

// stuckAt is held up for ever from the nth transaction on, when it calls reached.
func stuckAt(n int64, reached func()) func(context.Context) error {
	var count atomic.Int64
	return func(ctx context.Context) error {
		if count.Add(1) < n {
			return nil
		}
		reached()
		<-ctx.Done()
		return ctx.Err()
	}
}

// After one that is not answered the others are not tried: each would take the whole timeout, and a line.
func TestTargetsEndWithEtcd(t *testing.T) {
	t.Parallel()
	w := heldUpWorld(t, 9, stuckAt(4, func() {}))
	o := w.hbctl("disable", "--reason", "x", "--zone", "az1", "--command-timeout", "1s", "-o", "json")
	o.wants(t, exitUnreachable, "hbctl: web/n1: etcd did not answer within 1s", "; whether it was written is not known; 7 more were not tried\n")
	if strings.Count(o.stderr, "\n") != 1 {
		t.Errorf("more than one line: %s", o.stderr)
	}
	var list struct {
		Cluster  *string
		Revision *int64
		Services []struct{ Host string }
	}
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil || len(list.Services) != 1 || list.Cluster != nil || list.Revision != nil {
		t.Errorf("what was done, and null for what is not known: %v in %s", err, o.stdout)
	}
}

// Ctrl-C is no silence of etcd's.
func TestTargetsInterrupted(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			w := heldUpWorld(t, 9, stuckAt(4, func() { cancel(stopped{sig}) }))
			args := append([]string{"disable", "--reason", "x", "--zone", "az1", "-o", "name"}, w.flags...)
			o := invocation{ctx: ctx}.run(t, args...)
			o.wants(t, 128+int(sig), "hbctl: web/n1: stopped by "+sig.String()+"; whether it was written is not known; 7 more were not tried\n")
			if o.stdout != "web/n0\n" || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
			}
		})
	}
}

// What has come up since a selection was looked up is not what was selected: it must be neither evicted nor put out of use.
func TestSelectionHoldsWhenItIsActedOn(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"forget --evict", "disable --reason x", "force-down --reason x"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			var w *world
			var count atomic.Int64
			w = heldUpWorld(t, 2, func(context.Context) error {
				if count.Add(1) == 2 { // the first has been read, so its change is under way
					w.alive("web/n0")
				}
				return nil
			})
			args := append(strings.Fields(command), "--zone", "az1", "--state", "down", "-o", "name")
			o := w.hbctl(args...)
			o.wants(t, exitOK, "web/n0: it is not as was selected any more, and was left alone")
			if o.stdout != "web/n1\n" {
				t.Errorf("changed %q", o.stdout)
			}
			o = w.hbctl("show", "web/n0", "--jq", ".services[] | [.state, .status, .forced_down] | @csv")
			if o.stdout != `"up","enabled",false`+"\n" {
				t.Errorf("now %s", o.stdout)
			}
		})
	}
}
