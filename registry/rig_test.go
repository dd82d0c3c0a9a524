package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

// rig is a real etcd in fake time. Each process of a test is a registry on a client of its own.
type rig struct {
	server *etcdtest.FakeServer
	client *clientv3.Client // of the test itself
	begin  time.Time
}

func inFakeTime(t *testing.T, test func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{server: etcdtest.Fake(t), begin: time.Now()}
		r.client = r.server.Client()
		test(t, r)
	})
}

// process is a registry with its network and what it told.
type process struct {
	*registry.Registry
	net *etcdtest.Client

	mu     sync.Mutex
	events []registry.Event
}

// process starts a registry, without reports unless configured otherwise. It is closed at the end of the test.
func (r *rig) process(t *testing.T, configure ...func(*registry.Config)) *process {
	t.Helper()
	p := &process{net: r.server.NewClient()}
	r.start(t, p, p.net.Client, configure...)
	return p
}

// start starts the registry of the process on the client.
func (r *rig) start(t *testing.T, p *process, client registry.Client, configure ...func(*registry.Config)) {
	t.Helper()
	cfg := registry.Config{
		ReportInterval: -1,
		Boottime:       func() time.Duration { return time.Since(r.begin) },
		OnEvent: func(e registry.Event) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, e)
		},
	}
	for _, c := range configure {
		c(&cfg)
	}
	reg, err := registry.New(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	p.Registry = reg
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
}

func (p *process) register(t *testing.T, name string, ttl time.Duration, change ...func(*registry.Instance)) *registry.Registration {
	t.Helper()
	n, err := registry.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	in := registry.Instance{Name: n, TTL: ttl}
	for _, c := range change {
		c(&in)
	}
	g, err := p.Register(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (p *process) count(kind registry.EventKind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, e := range p.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// crash cuts the process off for good: etcd and everybody else see what they see of a killed one.
func (p *process) crash() { p.net.Gate.Cut() }

// row gives the row of the name, or fails.
func (r *rig) row(t *testing.T, name string) registry.Service {
	t.Helper()
	snap, err := registry.List(t.Context(), r.client, registry.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range snap.Services {
		if s.Name().String() == name {
			return s
		}
	}
	t.Fatalf("%s is not listed", name)
	return registry.Service{}
}

func (r *rig) up(t *testing.T, name string) bool {
	t.Helper()
	return r.row(t, name).State == registry.Up
}

func (r *rig) revision(t *testing.T) int64 {
	t.Helper()
	resp, err := r.client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func (r *rig) leases(t *testing.T) int {
	t.Helper()
	resp, err := r.client.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(resp.Leases)
}

func (r *rig) delete(t *testing.T, key string) {
	t.Helper()
	resp, err := r.client.Delete(t.Context(), key)
	if err != nil || resp.Deleted != 1 {
		t.Fatalf("deleting %s: %d deleted, %v", key, resp.Deleted, err)
	}
}

// wait lets fake time pass until the condition holds, and says how long it took.
func wait(t *testing.T, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !holds() {
		if time.Since(begin) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begin)
}

func closeWithin(t *testing.T, limit time.Duration, closer func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return closer(ctx)
}

func mustClose(t *testing.T, closer func(context.Context) error) {
	t.Helper()
	if err := closeWithin(t, 5*time.Second, closer); err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func cause(s registry.Service) string {
	if s.Cause == nil {
		return "none"
	}
	return string(*s.Cause)
}

func sprint(n int) string { return fmt.Sprintf("svc/host%03d", n) }
