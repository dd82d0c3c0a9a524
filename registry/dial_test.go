package registry_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

// plain gives a client gRPC's own settings, which in time wait two minutes between two attempts to connect.
func plain(c *clientv3.Config) {
	c.DialOptions = append(c.DialOptions, grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig}))
}

// A holder whose client was made without lease.DialOptions is back as soon as one with them: etcd gives every lease its full TTL
// when it returns, and after 30 s gRPC itself would wait longer than that.
func TestPlainClientComesBackAtOnce(t *testing.T) {
	const ttl, away = 5 * time.Second, 30 * time.Second
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := &process{net: r.server.NewClient(plain)}
		r.start(t, p, p.net.Client)
		g := p.register(t, "web/one", ttl)
		was := g.Incarnation()
		for range 5 {
			r.server.Stop()
			time.Sleep(away)
			if g.Valid() {
				t.Fatal("it may act without etcd")
			}
			r.server.Start()
			back := time.Now()
			wait(t, ttl, "it may act again", g.Valid)
			took := time.Since(back)
			t.Logf("TTL %v: trusted again %v after etcd's return from %v away", ttl, took, away)
			if took > time.Second {
				t.Errorf("trusted again %v after etcd's return, want a second at most", took)
			}
		}
		if g.Incarnation() != was {
			t.Errorf("incarnation %d, was %d: the lease was lost", g.Incarnation(), was)
		}
	})
}

// What is certain to fail is refused before anything starts.
func TestNewRefusesDeadClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := etcdtest.Fake(t)
		closed := server.Client()
		if err := closed.Close(); err != nil {
			t.Fatal(err)
		}
		nowhere := server.Client()
		nowhere.SetEndpoints()
		for name, client := range map[string]registry.Client{
			"none": nil, "nil": (*clientv3.Client)(nil), "closed": closed, "without endpoints": nowhere, "not made by clientv3.New": &clientv3.Client{},
		} {
			if r, err := registry.New(client, registry.Config{}); r != nil || !errors.Is(err, registry.ErrInvalid) {
				t.Errorf("%s: %v, want ErrInvalid", name, err)
			} else {
				t.Logf("%s: %v", name, err)
			}
		}
	})
}

// Whoever is fenced is told what went wrong with the renewals, as far as it is known, and nothing that is long past.
func TestFencedSaysWhy(t *testing.T) {
	const ttl = 5 * time.Second
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "web/one", ttl)
		r.server.Stop()
		wait(t, 2*ttl, "fenced", func() bool { return p.count(registry.Fenced) == 1 })
		if err := p.last(registry.Fenced).Err; !errors.Is(err, lease.ErrFenced) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("fenced for %v, want the refused connection as the reason", err)
		}
		r.server.Start()
		wait(t, ttl, "it may act again", g.Valid)
		time.Sleep(time.Hour)
		p.net.Cut() // nothing is refused now
		wait(t, 2*ttl, "fenced", func() bool { return p.count(registry.Fenced) == 2 })
		if err := p.last(registry.Fenced).Err; strings.Contains(err.Error(), "connection refused") {
			t.Errorf("fenced for %v, an hour ago", err)
		}
		p.net.Heal()
	})
}

// last gives the newest event of the kind.
func (p *process) last(kind registry.EventKind) (last registry.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == kind {
			last = e
		}
	}
	return last
}
