package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/lease"
)

// clientConfig says how etcd is talked to.
func (p *program) clientConfig() clientv3.Config {
	s := &p.settings
	config := clientv3.Config{
		Endpoints: urls(s.endpoints),
		// Bounds only the question whether the password is right, and that is a question like others: on a busy etcd it takes
		// longer than an attempt to connect, which DialOptions bounds.
		DialTimeout:          s.commandTimeout,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		Username:             s.user,
		Password:             s.password,
		Logger:               zap.NewNop(),
		DialOptions:          lease.DialOptions(s.dialTimeout),
	}
	if s.tls != nil {
		config.TLS = s.tls.config
	}
	return config
}

// connect makes a client and asks the first question, so that an etcd that can't be reached is told as such, whatever the
// command is about.
func (p *program) connect(ctx context.Context, first func(context.Context, *clientv3.Client) error) (*clientv3.Client, error) {
	var client *clientv3.Client
	err := p.reach(ctx, func(ctx context.Context) error {
		var err error
		if client, err = dial(ctx, p.clientConfig()); err != nil {
			return err
		}
		if err := sameCluster(ctx, client, p.settings.endpoints); err != nil {
			return err
		}
		return first(ctx, client)
	})
	if err != nil && client != nil {
		client.Close()
		client = nil
	}
	return client, err
}

// connectInTime is connect within the command's timeout.
func (p *program) connectInTime(ctx context.Context, first func(context.Context, *clientv3.Client) error) (*clientv3.Client, error) {
	ctx, cancel := p.bounded(ctx)
	defer cancel()
	return p.connect(ctx, first)
}

// peek is a first question for commands that have none of their own: may this user read under the prefix?
func (p *program) peek(ctx context.Context, client *clientv3.Client) error {
	_, err := client.Get(ctx, p.settings.keys.Prefix(), clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	return err
}

// dial makes a client. With a password that means a question to etcd, which has no context of its own: the one in the
// config lives as long as the client does.
func dial(ctx context.Context, config clientv3.Config) (*clientv3.Client, error) {
	type answer struct {
		client *clientv3.Client
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		client, err := clientv3.New(config)
		answers <- answer{client, err}
	}()
	select {
	case a := <-answers:
		return a.client, a.err
	case <-ctx.Done():
		go func() {
			if a := <-answers; a.client != nil { // ends after the command timeout at the latest
				a.client.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// diagnoseAfter is how long a question to etcd may take before its endpoints are looked at one by one. The etcd client
// itself would wait for a connection until its deadline and then name no reason.
const diagnoseAfter = 300 * time.Millisecond

// reach runs a question to etcd. When it fails for want of an etcd, the error says which endpoint could not be reached
// and why, and it fails as soon as that is certain for all of them. The question must end when its context does.
func (p *program) reach(ctx context.Context, ask func(context.Context) error) error {
	asking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := p.settings.commandTimeout
	if deadline, ok := ctx.Deadline(); ok {
		limit = time.Until(deadline)
	}
	look := newDiagnosis(&p.settings, limit)
	var diagnosing sync.WaitGroup
	diagnosing.Go(func() {
		select {
		case <-asking.Done():
			return
		case <-time.After(min(diagnoseAfter, limit/4)):
		}
		if look.run(asking) {
			cancel(look.unreachable())
		}
	})
	err := ask(asking)
	if err == nil {
		cancel(nil)
		diagnosing.Wait()
		return nil
	}
	if unreachable := new(unreachableError); errors.As(context.Cause(asking), &unreachable) {
		return unreachable
	}
	if ctx.Err() == nil && isUnavailable(err) {
		look.run(ctx) // it failed before it was slow
	}
	cancel(nil)
	diagnosing.Wait()
	return p.explain(ctx, err, look)
}

// explain turns an error of etcd's client into one that a user can act on.
func (p *program) explain(ctx context.Context, err error, look *diagnosis) error {
	if cause := context.Cause(ctx); errors.As(cause, new(stopped)) {
		return cause
	}
	switch {
	case isDenied(err):
		return &exitError{code: exitDenied, err: p.denied(err)}
	case isUnavailable(err), errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		return look.unreachable()
	case isForeign(err):
		return &unreachableError{reason: fmt.Sprintf("%s is no etcd: it speaks gRPC, but does not know etcd's calls", look.names())}
	}
	return err
}

// bounded gives the context of a command that ends by itself.
func (p *program) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, p.settings.commandTimeout)
}
