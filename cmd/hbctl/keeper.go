package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// keeper keeps one instance registered, from the first attempt to connect until it has left.
type keeper struct {
	p    *program
	what *registering
	log  *eventLog
	// lost tells that the registration can no longer be relied on: fenced, replaced or evicted. It holds the latest word.
	lost chan registry.Event

	client       *clientv3.Client
	registry     *registry.Registry
	registration *registry.Registration
}

// newKeeper makes a keeper. Its leave must be called, whatever happens.
func (p *program) newKeeper(what *registering) *keeper {
	return &keeper{p: p, what: what, log: newEventLog(p.log), lost: make(chan registry.Event, 1)}
}

// register returns once the instance is registered. etcd may come up later than we do, so one that can't be reached is
// tried again until the register timeout, if there is one.
func (k *keeper) register(ctx context.Context) error {
	start := time.Now()
	if err := k.connect(ctx); err != nil {
		return err
	}
	var err error
	k.registry, err = registry.New(k.client, registry.Config{
		Prefix: k.p.settings.keys.Prefix(), ReportInterval: k.what.reportInterval, OnEvent: k.onEvent,
	})
	if err != nil {
		return err
	}
	in := k.what.Instance
	if in.RegisterTimeout > 0 {
		in.RegisterTimeout = max(time.Until(start.Add(in.RegisterTimeout)), time.Millisecond)
	}
	// The context of a registration is its life: once it is there, only leave ends it.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	k.registration, err = k.registry.Register(life, in)
	stop()
	if err != nil {
		end(nil)
		return k.notRegistered(ctx, err)
	}
	if granted := k.registration.Status().TTL; granted > 0 && granted != in.TTL {
		k.p.log.Warn().Stringer("asked", in.TTL).Stringer("granted", granted).
			Msg("etcd grants no TTL as short as was asked for: a death is told later; see 'hbctl doctor'")
	}
	return nil
}

// retryConnect is the wait between two attempts to reach an etcd that is not there yet.
const retryConnect = time.Second

// connect makes the client. It asks for the own key, because a service need not be allowed to read more.
func (k *keeper) connect(ctx context.Context) error {
	if timeout := k.what.RegisterTimeout; timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var last error
	attempt := func() (*clientv3.Client, error) {
		client, err := k.p.connectInTime(ctx, k.ownKey)
		if err != nil && !errors.As(err, new(*unreachableError)) {
			return nil, backoff.Permanent(err)
		}
		if last == nil || ctx.Err() == nil {
			last = err // one that was cut short knows less
		}
		return client, err
	}
	var err error
	k.client, err = backoff.Retry(ctx, attempt,
		backoff.WithBackOff(backoff.NewConstantBackOff(retryConnect)), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(k.saySometimes()))
	if err != nil && last != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return last
	}
	return err
}

// saySometimes logs why etcd can't be reached: at once, when the reason changes, and now and then.
func (k *keeper) saySometimes() backoff.Notify {
	var said string
	var at time.Time
	return func(err error, _ time.Duration) {
		if text := err.Error(); text != said || time.Since(at) > 30*time.Second {
			said, at = text, time.Now()
			k.p.log.Warn().Msg(text + "; trying again")
		}
	}
}

// ownKey is a question that any service may ask.
func (k *keeper) ownKey(ctx context.Context, client *clientv3.Client) error {
	_, err := client.Get(ctx, k.p.settings.keys.Alive(k.what.Name))
	return err
}

// notRegistered says why a registration did not come about.
func (k *keeper) notRegistered(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.As(cause, new(stopped)) {
		return cause
	}
	switch {
	case isDenied(err):
		return &exitError{code: exitDenied, err: k.p.denied(err)}
	case errors.Is(err, context.DeadlineExceeded):
		if errors.Is(err, registry.ErrConflict) {
			return &exitError{code: exitNot, err: fmt.Errorf("not registered within %v: %w", k.what.RegisterTimeout, conflictIn(err))}
		}
		// Was it etcd, or something else? A last question tells.
		asking, cancel := k.p.bounded(context.WithoutCancel(ctx))
		defer cancel()
		if unreachable := k.p.reach(asking, func(ctx context.Context) error { return k.ownKey(ctx, k.client) }); unreachable != nil {
			return unreachable
		}
		return &exitError{code: exitNot, err: fmt.Errorf("not registered within %v: %w", k.what.RegisterTimeout, err)}
	case errors.Is(err, registry.ErrConflict):
		return conflictIn(err)
	}
	return err
}

func conflictIn(err error) error {
	conflict := new(registry.ConflictError)
	if errors.As(err, &conflict) {
		return conflict
	}
	return err
}

// onEvent is called by the registry and must not block.
func (k *keeper) onEvent(e registry.Event) {
	k.log.add(e)
	switch e.Kind {
	case registry.Fenced, registry.Replaced, registry.Evicted:
		select {
		case <-k.lost:
		default:
		}
		k.lost <- e // there is room: this is the only sender
	}
}

// ended says why the registration ended, naming who holds the name now or who evicted it.
func (k *keeper) ended(ctx context.Context) error {
	err := k.registration.Err()
	ctx, cancel := k.p.bounded(ctx)
	defer cancel()
	keys := k.p.settings.keys
	switch name := k.what.Name; {
	case errors.Is(err, registry.ErrReplaced):
		return fmt.Errorf("%s: %w%s", name, err, holderNow(ctx, k.client, keys.Alive(name)))
	case errors.Is(err, registry.ErrEvicted):
		return fmt.Errorf("%s: %w%s; started again it may register", name, err, evictedBy(ctx, k.client, keys.Admin(name)))
	}
	return err
}

func holderNow(ctx context.Context, client *clientv3.Client, key string) string {
	resp, err := client.Get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return ""
	}
	holder, err := registry.DecodeHolder(resp.Kvs[0].Value)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(": %s holds it as incarnation %d", holder, resp.Kvs[0].ModRevision)
}

func evictedBy(ctx context.Context, client *clientv3.Client, key string) string {
	resp, err := client.Get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return ""
	}
	admin, err := registry.DecodeAdmin(resp.Kvs[0].Value)
	if err != nil || admin.Evicted == nil {
		return ""
	}
	said := ""
	if by := admin.Evicted.By; by != "" {
		said += " (" + by + ")"
	}
	if reason := admin.Evicted.Reason; reason != "" {
		said += ": " + reason
	}
	return said
}

// leave ends the registration, as failed if there is a reason, and everything that belongs to the keeper.
func (k *keeper) leave(reason string) error { return k.leaveWithin(context.Background(), reason) }

// leaveWithin gives up when ctx is done, too.
func (k *keeper) leaveWithin(hurried context.Context, reason string) error {
	ctx, cancel := k.p.bounded(hurried)
	defer cancel()
	var err error
	if k.registration != nil {
		if reason == "" {
			err = k.registration.Close(ctx)
		} else {
			err = k.registration.Fail(ctx, reason)
		}
	}
	if k.registry != nil {
		err = errors.Join(err, k.registry.Close(ctx))
	}
	if k.client != nil {
		k.client.Close()
	}
	k.log.close()
	if errors.Is(err, registry.ErrLeaving) {
		return k.untold(hurried.Err() != nil)
	}
	return err
}

// untold says what it means that etcd could not be told of the end. What never was registered is not up for it: the name may be
// another's.
func (k *keeper) untold(hurried bool) error {
	why := fmt.Sprintf("etcd could not be told within %v", k.p.settings.commandTimeout)
	if hurried {
		why = "a further signal came before etcd was told"
	}
	what := fmt.Sprintf("that %s left; it is up there until its TTL of %v has passed, and then down as expired", k.what.Name, k.what.TTL)
	if k.registration == nil {
		what = fmt.Sprintf("that %s, which was not registered, gives up; what it has there goes when its TTL of %v has passed", k.what.Name, k.what.TTL)
	}
	return &unreachableError{reason: why + " " + what}
}
