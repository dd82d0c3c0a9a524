package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sync/errgroup"

	"github.com/hbctl/hbctl/registry"
)

const rawName = "raw etcd (grant + put)"

var rivals = []struct {
	name  string
	start func(*bench) (rival, error)
}{
	{"hbctl registry", startOurs},
	{rawName, startRaw},
	{"etcd concurrency.Session", startSessions},
	{"go-zero discov.Publisher", startPublishers},
}

// ttl is that of all. go-zero's can't be chosen and is the same.
const ttl = 10

var value = strings.Repeat("v", 300)

func key(who string, i int) string { return fmt.Sprintf("%s%s/node%06d", prefix, who, i) }

// held keeps what was registered, so that it is in the heap when that is measured, and can be closed.
type held[T any] struct {
	mu   sync.Mutex
	list []T
}

func (h *held[T]) add(v T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, v)
}

// closeAll closes all, some at once.
func (h *held[T]) closeAll(closeOne func(T) error) error {
	var group errgroup.Group
	group.SetLimit(64)
	for _, v := range h.list {
		group.Go(func() error { return closeOne(v) })
	}
	return group.Wait()
}

type ours struct {
	held[*registry.Registration]
	registry *registry.Registry
}

func startOurs(b *bench) (rival, error) {
	reg, err := registry.New(b.client, registry.Config{Prefix: prefix + "hbctl/", ReportInterval: -1})
	return &ours{registry: reg}, err
}

func (o *ours) register(ctx context.Context, i int) error {
	g, err := o.registry.Register(ctx, registry.Instance{
		Name: registry.Name{Binary: "cinder-volume", Host: fmt.Sprintf("node%06d", i)}, Zone: "az1", Endpoints: []string{"http://10.0.0.1:8776"},
	})
	if err == nil {
		o.add(g)
	}
	return err
}

func (o *ours) close(ctx context.Context) error { return o.registry.Close(ctx) }

type raw struct {
	held[clientv3.LeaseID]
	client *clientv3.Client
}

func startRaw(b *bench) (rival, error) { return &raw{client: b.client}, nil }

func (r *raw) register(ctx context.Context, i int) error {
	resp, err := r.client.Grant(ctx, ttl)
	if err != nil {
		return err
	}
	r.add(resp.ID)
	_, err = r.client.Put(ctx, key("raw", i), value, clientv3.WithLease(resp.ID))
	return err
}

func (r *raw) close(ctx context.Context) error {
	return r.closeAll(func(id clientv3.LeaseID) error {
		// Nobody renews it, so it may have run out; else it does now or soon.
		if _, err := r.client.Revoke(ctx, id); ctx.Err() != nil {
			return err
		}
		return nil
	})
}

type sessions struct {
	held[*concurrency.Session]
	client *clientv3.Client
}

func startSessions(b *bench) (rival, error) { return &sessions{client: b.client}, nil }

func (s *sessions) register(ctx context.Context, i int) error {
	session, err := concurrency.NewSession(s.client, concurrency.WithTTL(ttl))
	if err != nil {
		return err
	}
	s.add(session)
	_, err = s.client.Put(ctx, key("session", i), value, clientv3.WithLease(session.Lease()))
	return err
}

func (s *sessions) close(context.Context) error {
	return s.closeAll(func(session *concurrency.Session) error { return session.Close() })
}

type publishers struct {
	held[*discov.Publisher]
	endpoints []string
}

func startPublishers(b *bench) (rival, error) {
	logx.Disable()
	return &publishers{endpoints: b.client.Endpoints()}, nil
}

func (p *publishers) register(_ context.Context, i int) error {
	publisher := discov.NewPublisher(p.endpoints, key("go-zero", i), value)
	if err := publisher.KeepAlive(); err != nil {
		return errors.Join(errors.New("publishing"), err)
	}
	p.add(publisher)
	return nil
}

func (p *publishers) close(context.Context) error {
	return p.closeAll(func(publisher *discov.Publisher) error {
		publisher.Stop()
		return nil
	})
}
