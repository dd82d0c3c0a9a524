package faults_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// dial makes a client as a user of the library would. It is closed at the end of the test.
func dial(t *testing.T, endpoints []string, configure ...func(*clientv3.Config)) *clientv3.Client {
	t.Helper()
	cfg := clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialTimeout: 5 * time.Second, DialOptions: lease.DialOptions(0)}
	for _, f := range configure {
		f(&cfg)
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// as gives the client a name; the password is that of everybody.
func as(user string) func(*clientv3.Config) {
	return func(c *clientv3.Config) { c.Username, c.Password = user, "secret" }
}

// guard makes etcd ask for passwords. Each user has a role of his own, of his name, that may do everything below the prefix.
// It gives the client of root.
func guard(t *testing.T, etcd *etcdtest.Nodes, users ...string) *clientv3.Client {
	t.Helper()
	open := etcd.Client()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range users {
		must(open.RoleAdd(t.Context(), user))
		must(grantPrefix(t.Context(), open, user))
		must(open.UserAdd(t.Context(), user, "secret"))
		must(open.UserGrantRole(t.Context(), user, user))
	}
	must(open.UserAdd(t.Context(), "root", "secret"))
	must(open.UserGrantRole(t.Context(), "root", "root"))
	must(open.AuthEnable(t.Context()))
	return dial(t, etcd.Endpoints(), as("root"))
}

func grantPrefix(ctx context.Context, client *clientv3.Client, role string) (any, error) {
	return client.RoleGrantPermission(ctx, role, registry.DefaultPrefix, clientv3.GetPrefixRangeEnd(registry.DefaultPrefix),
		clientv3.PermissionType(clientv3.PermReadWrite))
}

// Tokens run out after five seconds, and all at once when etcd is started again. Streams that are open don't notice; a new watch on
// a client that was idle, a new registration and a new stream get a new token by themselves.
func TestF22AuthTokenExpires(t *testing.T) {
	t.Parallel()
	const ttl, token = 5 * time.Second, 5 * time.Second
	etcd := etcdtest.Standalone(t, "--auth-token-ttl=5")
	guard(t, etcd, "svc")
	g := hbtest.Register(t, hbtest.NewRegistry(t, dial(t, etcd.Endpoints(), as("svc"))), hbtest.Node(1), ttl)
	was := g.Incarnation()
	w := watchAll(t, dial(t, etcd.Endpoints(), as("svc")))
	idleWatch, idleRegistry := dial(t, etcd.Endpoints(), as("svc")), dial(t, etcd.Endpoints(), as("svc"))

	lifetimes := either(3, 12)
	hbtest.Sleep(t, time.Duration(lifetimes)*token)
	if s := g.Status(); !g.Valid() || s.Fences != 0 {
		t.Errorf("after %d lifetimes of its token: %+v", lifetimes, s)
	}
	if w.Told(watcher.Stale) != 0 {
		t.Errorf("the watch was blind:\n%s", w.Story())
	}
	begin := time.Now()
	late := watchAll(t, idleWatch)
	watching := time.Since(begin)
	begin = time.Now()
	second := hbtest.Register(t, hbtest.NewRegistry(t, idleRegistry), hbtest.Node(2), ttl)
	registering := time.Since(begin)
	for _, w := range []*hbtest.Witness{w, late} {
		w.Event(5*time.Second, watcher.Up, hbtest.Node(2), second.Incarnation()-1)
	}
	for what, took := range map[string]time.Duration{"a watch": watching, "a registration": registering} {
		if took > 2*hbtest.Slow*time.Second {
			t.Errorf("%s on an idle client began after %v", what, took)
		}
	}

	etcd.Nodes[0].Restart() // which forgets every token
	begin = time.Now()
	hbtest.Eventually(t, ttl, "renewed after the restart", func() bool { return g.Valid() && g.Expires().Sub(begin) > ttl/2 })
	third := hbtest.Register(t, hbtest.NewRegistry(t, idleRegistry), hbtest.Node(3), ttl)
	w.Event(10*time.Second, watcher.Up, hbtest.Node(3), third.Incarnation()-1)
	s := g.Status()
	if s.Incarnation != was || s.Fences != 0 || w.Count(watcher.Down, everyone) != 0 {
		t.Errorf("after the restart: %+v\n%s", s, w.Story())
	}
	t.Logf("F22: %d token lifetimes and a restart that forgets all tokens: 0 downs, %d fences, longest gap between renewals %v (TTL %v); on idle clients a watch began after %v, a registration after %v",
		lifetimes, s.Fences, s.LongestGap.Round(time.Millisecond), ttl, watching.Round(time.Millisecond), registering.Round(time.Millisecond))
}

// A role loses its rights while its service is up. The service learns why and is fenced before it is told down; another user's
// service is not disturbed; and it comes back when the rights do.
func TestF23RightsRevoked(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	etcd := etcdtest.Standalone(t)
	root := guard(t, etcd, "one", "two")
	w := watchAll(t, root)
	own := watchAll(t, dial(t, etcd.Endpoints(), as("one")))
	events := make(chan registry.Event, 1024)
	one := hbtest.Register(t, hbtest.NewRegistry(t, dial(t, etcd.Endpoints(), as("one")), func(cfg *registry.Config) {
		cfg.OnEvent = func(e registry.Event) {
			select {
			case events <- e:
			default: // the first ones are those that count
			}
		}
	}), hbtest.Node(1), ttl)
	dead := one.Incarnation()
	two := hbtest.Register(t, hbtest.NewRegistry(t, dial(t, etcd.Endpoints(), as("two"))), hbtest.Node(2), ttl)
	alive := two.Incarnation()
	trusted := one.Trusted()

	if _, err := root.RoleRevokePermission(t.Context(), "one", registry.DefaultPrefix, clientv3.GetPrefixRangeEnd(registry.DefaultPrefix)); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	quarantined := awaitEvent(t, events, registry.Quarantined, 2*ttl)
	told := time.Since(revoked)
	if !errors.Is(quarantined.Err, rpctypes.ErrPermissionDenied) {
		t.Errorf("quarantined for %v, want a denied permission", quarantined.Err)
	}
	select {
	case <-trusted.Done():
	case <-time.After(2 * ttl):
		t.Fatal("its trusted period did not end")
	}
	fenced := time.Since(revoked)
	if cause := w.Down(3*ttl, hbtest.Node(1), dead); cause != "expired" {
		t.Errorf("cause %s, want expired", cause)
	}
	down := time.Since(revoked)
	hbtest.Eventually(t, 2*ttl, "the reason is told", func() bool { return errors.Is(one.Status().Why, rpctypes.ErrPermissionDenied) })
	why := one.Status().Why
	if s := two.Status(); !two.Valid() || s.Incarnation != alive || s.Fences != 0 {
		t.Errorf("the other user's service: %+v", s)
	}
	_, err := grantPrefix(t.Context(), root, "one")
	if err != nil {
		t.Fatal(err)
	}
	back := hbtest.Eventually(t, 10*time.Second, "it is back", one.Valid)
	w.Event(5*time.Second, watcher.Up, hbtest.Node(1), dead)
	own.Event(10*time.Second, watcher.Up, hbtest.Node(1), dead)
	own.Consistent()
	if n := w.Count(watcher.Down, hbtest.Node(2)); n != 0 {
		t.Errorf("%d downs of the other", n)
	}
	t.Logf("F23: rights revoked: quarantined with the reason after %v, fenced after %v, down (expired) after %v (TTL %v), then %q; the other user's service 0 fences; back %v after the rights were; its own open watch was blind %d times and lost nothing",
		told.Round(time.Millisecond), fenced.Round(time.Millisecond), down.Round(time.Millisecond), ttl, why, back.Round(time.Millisecond), own.Told(watcher.Stale))
}

// awaitEvent waits for an event of the kind.
func awaitEvent(t *testing.T, events <-chan registry.Event, kind registry.EventKind, limit time.Duration) registry.Event {
	t.Helper()
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
		case <-timeout.C:
			t.Fatalf("not within %v: %s", limit, kind)
		}
	}
}
