package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/lease"
)

// enableAuth makes the server ask for passwords: root may do anything, svc may write under svc/ only. It returns root's client.
func enableAuth(t *testing.T, server *etcdtest.FakeServer) *clientv3.Client {
	t.Helper()
	open := server.Client()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(open.RoleAdd(t.Context(), "svc"))
	must(open.RoleGrantPermission(t.Context(), "svc", "svc/", "svc0", clientv3.PermissionType(clientv3.PermReadWrite)))
	must(open.UserAdd(t.Context(), "svc", "secret"))
	must(open.UserGrantRole(t.Context(), "svc", "svc"))
	must(open.UserAdd(t.Context(), "root", "secret"))
	must(open.UserGrantRole(t.Context(), "root", "root"))
	must(open.AuthEnable(t.Context()))
	return server.NewClient(as("root")).Client
}

func as(user string) func(*clientv3.Config) {
	return func(c *clientv3.Config) { c.Username, c.Password = user, "secret" }
}

// etcd refuses to renew a lease as soon as it carries a key that the holder may not write, and ends the whole stream for
// it. Whoever can attach keys to leases could bring down all of a process with one key.
func TestOnePoisonedLeaseHurtsNoOther(t *testing.T) {
	const ttl = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		server := etcdtest.Fake(t)
		root := enableAuth(t, server)
		r := &rig{server: server, client: root, holder: server.NewClient(as("svc"))}
		r.start(t)

		var good []*lease.Lease
		for range 20 {
			good = append(good, r.grant(t, ttl))
		}
		bad := r.grant(t, ttl)
		time.Sleep(time.Minute)
		if _, err := root.Put(t.Context(), "admin/only", "poison", clientv3.WithLease(bad.ID())); err != nil {
			t.Fatal(err)
		}
		wait(t, ttl, "quarantined", func() bool { return r.count(lease.Quarantined) > 0 })
		if e := r.last(t, lease.Quarantined); e.Lease != bad || !errors.Is(e.Err, rpctypes.ErrPermissionDenied) {
			t.Errorf("quarantined lease %x for %v, want %x for a denied permission", e.Lease.ID(), e.Err, bad.ID())
		}
		time.Sleep(3 * ttl)

		for _, l := range good {
			if s := l.Stats(); !l.Valid() || s.Fences != 0 || s.LongestGap > ttl/2 || r.gone(t, l) {
				t.Errorf("a healthy lease was hurt: Valid %v, %+v", l.Valid(), s)
			}
		}
		if r.count(lease.LeaseGone) != 1 || r.last(t, lease.LeaseGone).Lease != bad || bad.Valid() {
			t.Errorf("the poisoned lease: Valid %v, %d leases gone; want it and no other", bad.Valid(), r.count(lease.LeaseGone))
		}
		if n := r.count(lease.Reopening); n > 2 {
			t.Errorf("the shared stream was opened anew %d times for one bad lease", n)
		}
		if n := r.count(lease.Quarantined); n != 1 {
			t.Errorf("quarantined was told %d times, want once for the poisoned lease", n)
		}
	})
}

// What is refused may be allowed again: then the lease is back on the shared stream, and was the same all the time.
func TestQuarantineEnds(t *testing.T) {
	const ttl = 20 * time.Second
	synctest.Test(t, func(t *testing.T) {
		server := etcdtest.Fake(t)
		root := enableAuth(t, server)
		r := &rig{server: server, client: root, holder: server.NewClient(as("svc"))}
		r.start(t)
		l := r.grant(t, ttl)
		if _, err := root.Put(t.Context(), "admin/only", "poison", clientv3.WithLease(l.ID())); err != nil {
			t.Fatal(err)
		}
		wait(t, ttl, "quarantined", func() bool { return r.count(lease.Quarantined) > 0 })
		if _, err := root.Delete(t.Context(), "admin/only"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * ttl)
		if s := l.Stats(); !l.Valid() || s.Fences != 0 {
			t.Errorf("allowed again: Valid %v, %+v", l.Valid(), s)
		}
		if _, err := root.Put(t.Context(), "admin/only", "poison", clientv3.WithLease(l.ID())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl)
		if n := r.count(lease.Quarantined); n != 2 {
			t.Errorf("quarantined was told %d times, want once for each time", n)
		}
	})
}

// A user who is unknown can't even be granted a lease: that is told at once, not retried for ever.
func TestGrantIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := etcdtest.Fake(t)
		r := &rig{server: server, holder: server.NewClient()}
		r.client = enableAuth(t, server)
		r.start(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		if _, err := r.renewer.Grant(ctx, 10*time.Second); !errors.Is(err, rpctypes.ErrUserEmpty) {
			t.Errorf("after %v: %v, want etcd's error", time.Since(begin), err)
		}
	})
}
