package hbtest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

var machines atomic.Int64

// NewRegistry makes a registry of another machine, without reports, that is closed at the end of the test.
func NewRegistry(t testing.TB, client registry.Client, configure ...func(*registry.Config)) *registry.Registry {
	t.Helper()
	cfg := registry.Config{
		ReportInterval: -1,
		Process:        &registry.Process{PID: 1, Start: "1", MachineID: fmt.Sprint(machines.Add(1)), BootID: "b", PIDNamespace: "n"},
	}
	for _, c := range configure {
		c(&cfg)
	}
	r, err := registry.New(client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = CloseWithin(5*time.Second, r.Close) })
	return r
}

// Register registers the name and returns once it is up.
func Register(t testing.TB, r *registry.Registry, name registry.Name, ttl time.Duration, change ...func(*registry.Instance)) *registry.Registration {
	t.Helper()
	in := registry.Instance{Name: name, TTL: ttl, RegisterTimeout: 30 * time.Second}
	for _, c := range change {
		c(&in)
	}
	g, err := r.Register(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Node names the i-th instance.
func Node(i int) registry.Name {
	return registry.Name{Binary: "vol", Host: fmt.Sprintf("node%03d", i)}
}

// CloseWithin gives a Close its time.
func CloseWithin(limit time.Duration, closer func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return closer(ctx)
}

// List reads all rows, by name.
func List(t testing.TB, client *clientv3.Client) map[registry.Name]registry.Service {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	snap, err := registry.List(ctx, client, registry.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[registry.Name]registry.Service{}
	for _, s := range snap.Services {
		rows[s.Name()] = s
	}
	return rows
}

// Eventually waits until the condition holds and says how long it took.
func Eventually(t testing.TB, limit time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Since(begin) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
	return time.Since(begin)
}

// Sleep lets real time pass where the passing of time is the fault itself.
func Sleep(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
