package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/hbctl/hbctl/lease"
)

// Registry publishes the instances of one process. It owns what they share: leases, one renewal stream, one watch of their
// own keys, one queue of transactions, and a constant number of goroutines. Its methods may be called concurrently.
type Registry struct {
	client  Client
	cfg     Config
	keys    Keys
	mail    *mailbox
	queue   *queue
	renewer *lease.Renewer
	watch   *keyWatch

	ctx      context.Context // ends when the Registry stops
	cancel   context.CancelFunc
	running  sync.WaitGroup // all goroutines
	stopped  chan struct{}  // closed when all goroutines have ended
	stopping atomic.Bool
	stopErr  error // what Close returned; readable once stopped is closed

	// owned by the loop
	regs     map[Name]*Registration
	groups   map[time.Duration][]*group
	leases   map[*lease.Lease]*group
	closing  bool
	broken   broken
	revoking int               // leases that are being revoked
	empty    []chan<- struct{} // closed when no registration is left
}

// New makes a Registry on a client that the caller made and closes, after the Registry. It returns ErrInvalid for a bad
// Config, and for a client that is closed or has no endpoints. The Registry runs goroutines until Close.
func New(client Client, cfg Config) (*Registry, error) {
	if err := lease.CheckClient(client); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	keys, err := NewKeys(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	r := &Registry{
		client: client, cfg: cfg, keys: keys, mail: newMailbox(), queue: newQueue(client), stopped: make(chan struct{}),
		regs: make(map[Name]*Registration), groups: make(map[time.Duration][]*group), leases: make(map[*lease.Lease]*group),
	}
	r.renewer = lease.New(client, lease.Config{
		Boottime: cfg.Boottime,
		OnEvent:  func(e lease.Event) { r.mail.post(func() { r.onLease(e) }) },
	})
	r.watch = newKeyWatch(client, r.mail, r.onKey, r.onWatchLost)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, r.start()
}

// start starts the goroutines that live as long as the Registry.
func (r *Registry) start() error {
	if r.cfg.ReportInterval > 0 {
		reports, err := lease.NewLoopingCall(lease.LoopConfig{
			Interval: r.cfg.ReportInterval, InitialDelay: r.cfg.ReportInterval, Jitter: 0.1,
			OnOverrun: func(by time.Duration) { r.mail.post(func() { r.emit(Event{Kind: Overrun, By: by}) }) },
		}, r.reportAll)
		if err != nil {
			r.cancel()
			return err
		}
		r.running.Go(func() { _ = reports.Run(r.ctx) })
	}
	r.running.Go(r.loop)
	r.running.Go(func() { _ = r.renewer.Run(r.ctx) })
	r.running.Go(func() { r.watch.run(r.ctx) })
	for range committers {
		r.running.Go(func() { r.queue.work(r.ctx) })
	}
	return nil
}

// loop runs everything that touches the state of a registration.
func (r *Registry) loop() {
	for {
		for _, work := range r.mail.take() {
			work()
		}
		r.queue.flush()
		select {
		case <-r.mail.wake:
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *Registry) emit(e Event) { r.cfg.OnEvent(e) }

// Register publishes an instance and returns once its keys are committed. From then on it is kept published, whatever happens
// to etcd, until Close, Fail, the end of ctx (which leaves like Close), or until it is replaced or evicted.
//
// It returns ErrInvalid, lease.ErrInvalid or ErrTooLarge for a bad instance; ErrDuplicate when this Registry holds the name
// already, or is still leaving it; a ConflictError when another process does; ErrClosed; etcd's error when etcd refuses; and
// the context's error, or context.DeadlineExceeded at the RegisterTimeout, with the reason why it was not registered until then.
func (r *Registry) Register(ctx context.Context, in Instance) (*Registration, error) {
	in = in.withDefaults()
	if err := in.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("registering %s: %w", in.Name, err)
	}
	g, err := r.prepare(in)
	if err != nil {
		return nil, err
	}
	r.mail.post(func() { r.admit(ctx, g) })

	var timeout <-chan time.Time
	if in.RegisterTimeout > 0 {
		timer := time.NewTimer(in.RegisterTimeout)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-g.first:
		if err := g.firstErr(); err != nil {
			return nil, fmt.Errorf("registering %s: %w", in.Name, err)
		}
		return g, nil
	case <-timeout:
		return nil, r.giveUp(g, context.DeadlineExceeded)
	case <-ctx.Done():
		return nil, r.giveUp(g, context.Cause(ctx))
	case <-r.stopped:
		return nil, fmt.Errorf("registering %s: %w", in.Name, ErrClosed)
	}
}

func (r *Registry) prepare(in Instance) (*Registration, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("no random registration id: %w", err)
	}
	g := &Registration{
		registry: r, name: in.Name, keys: r.keys.of(in.Name), id: id.String(),
		first: make(chan struct{}), done: make(chan struct{}),
	}
	g.in, g.joining = in, true
	g.unhealthy = make(map[string]error)
	if in.Health != nil {
		g.unhealthy[gateHealth] = errNotChecked
	}
	_, err = EncodeRecord(g.compose(time.Now(), in.TTL))
	return g, err
}

// giveUp ends a registration that did not come about in time. What of it may be in etcd is withdrawn in the background.
func (r *Registry) giveUp(g *Registration, cause error) error {
	g.mu.Lock()
	why := g.public.why // before it is overwritten by the end
	g.mu.Unlock()
	r.mail.post(func() { r.end(g, Ended{Cause: CauseLeft}, ErrClosed) })
	if why == nil {
		return fmt.Errorf("registering %s: %w", g.name, cause)
	}
	return fmt.Errorf("registering %s: %w: %w", g.name, cause, why)
}

// admit takes a new registration into the books.
func (r *Registry) admit(ctx context.Context, g *Registration) {
	switch {
	case r.closing:
		g.settle(ErrClosed)
		g.finish(ErrClosed)
		g.released = true
		close(g.done)
		return
	case r.regs[g.name] != nil:
		g.settle(ErrDuplicate)
		g.finish(ErrDuplicate)
		g.released = true
		close(g.done)
		return
	}
	r.regs[g.name] = g
	g.stopCtx = context.AfterFunc(ctx, func() {
		r.mail.post(func() { r.end(g, Ended{Cause: CauseLeft}, fmt.Errorf("%w: %w", ErrClosed, context.Cause(ctx))) })
	})
	r.startGates(g)
	r.step(g)
}

// end decides the end of a registration; the first word counts.
func (r *Registry) end(g *Registration, how Ended, err error) {
	if g.ending != nil || g.released {
		return
	}
	g.ending = &how
	g.finish(err)
	g.vanish(err)
	r.confirmed(g) // the others on its lease need not wait for it
	g.settle(err)
	g.stopCtx()
	g.stopGates()
	r.answerUpdates(g, err)
	r.answerReports(g)
	switch {
	case errors.Is(err, ErrReplaced):
		r.emit(Event{Name: g.name, Kind: Replaced, Incarnation: g.last, Err: err})
	case errors.Is(err, ErrEvicted):
		r.emit(Event{Name: g.name, Kind: Evicted, Incarnation: g.last, Err: err})
	}
	g.holdUntil = time.Time{}
	r.step(g)
}

// release lets go of a registration of which nothing is left in etcd that is ours.
func (r *Registry) release(g *Registration) {
	g.released = true
	if g.timer != nil {
		g.timer.Stop()
	}
	r.watch.remove(g)
	r.detach(g)
	if r.regs[g.name] == g {
		delete(r.regs, g.name)
	}
	if g.last != 0 && errors.Is(g.Err(), ErrClosed) {
		r.emit(Event{Name: g.name, Kind: Left, Incarnation: g.last})
	}
	close(g.done)
	r.checkEmpty()
}

func (r *Registry) checkEmpty() {
	if len(r.regs) > 0 || r.revoking > 0 {
		return
	}
	for _, waiter := range r.empty {
		close(waiter)
	}
	r.empty = nil
}

// Close leaves with every registration, revokes the leases and stops all goroutines; the client stays open. When the context
// ends first it stops all the same and returns ErrLeaving: what it still held is up until its TTL has passed, and is then
// told as expired. Health functions that do not return when their context ends hold it up. Further calls wait for the same
// end, or for their own context, and return the same.
func (r *Registry) Close(ctx context.Context) error {
	if r.stopping.Swap(true) {
		select {
		case <-r.stopped:
			return r.stopErr
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.stopErr = r.leaveAll(ctx)
	r.cancel()
	r.running.Wait()
	for _, g := range r.regs { // nobody else is left to do it
		g.finish(ErrClosed)
		g.vanish(ErrClosed)
		g.settle(ErrClosed)
	}
	close(r.stopped)
	return r.stopErr
}

func (r *Registry) leaveAll(ctx context.Context) error {
	empty := make(chan struct{})
	r.mail.post(func() {
		r.closing = true
		r.empty = append(r.empty, empty)
		for _, g := range r.regs {
			r.end(g, Ended{Cause: CauseLeft}, ErrClosed)
		}
		r.checkEmpty()
	})
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrLeaving, ctx.Err())
	}
}
