package registry

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
	random   io.Reader // for registration ids
	regs     map[Name]*Registration
	groups   map[time.Duration][]*group
	leases   map[*lease.Lease]*group
	scopes   map[<-chan struct{}]*scope
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
		client: client, cfg: cfg, keys: keys, mail: newMailbox(), stopped: make(chan struct{}),
		regs: make(map[Name]*Registration), groups: make(map[time.Duration][]*group), leases: make(map[*lease.Lease]*group),
		scopes: make(map[<-chan struct{}]*scope),
		random: bufio.NewReaderSize(rand.Reader, 512), // of 32 at once: a question to the kernel for each would be a fifth of what there is to do for one
	}
	r.renewer = lease.New(client, lease.Config{
		Boottime: cfg.Boottime,
		OnEvent:  func(e lease.Event) { r.mail.post(func() { r.onLease(e) }) },
	})
	r.queue = newQueue(client.ActiveConnection(), r.answered)
	r.watch = newKeyWatch(r)
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

// loop runs what touches the state of a registration, unless somebody else did already.
func (r *Registry) loop() {
	for {
		r.mail.doPosted()
		r.queue.flush()
		select {
		case <-r.mail.wake:
		case <-r.ctx.Done():
			return
		}
	}
}

// do does a work of the loop, at once if it can, and gets what comes of it under way.
func (r *Registry) do(work func()) {
	if r.mail.do(work) {
		r.queue.flush()
	}
}

func (r *Registry) emit(e Event) { r.cfg.OnEvent(e) }

// Register publishes an instance and returns once its keys are committed. From then on it is kept published, whatever happens
// to etcd, until Close, Fail, the end of ctx (which leaves like Close), or until it is replaced or evicted.
//
// The end of ctx does not wait for the work that the process does as the instance, and a successor may begin meanwhile. Whoever
// has work to finish first registers with a context that does not end, and calls Close after it.
//
// It returns ErrInvalid, lease.ErrInvalid or ErrTooLarge for a bad instance; ErrDuplicate when this Registry holds the name
// already, or is still leaving it; a ConflictError when another process does; ErrClosed; etcd's error when etcd refuses; and
// the context's error, or context.DeadlineExceeded at the RegisterTimeout, with the reason why it was not registered until then.
func (r *Registry) Register(ctx context.Context, in Instance) (*Registration, error) {
	in = in.filled()
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
	var timeout <-chan time.Time
	if in.RegisterTimeout > 0 {
		timer := time.NewTimer(in.RegisterTimeout)
		defer timer.Stop()
		timeout = timer.C
	}
	first := g.first // it is dropped once it is closed
	r.do(func() { r.admit(ctx, g) })
	select {
	case <-first:
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
	g := &Registration{registry: r, first: make(chan struct{})}
	g.name, g.in, g.joining = in.Name, planOf(in), true
	if in.Health != nil {
		g.shut(gateHealth, errNotChecked)
	}
	if in.surelyFits() {
		return g, nil
	}
	_, err := EncodeRecord(g.compose(time.Now(), in.TTL))
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
		g.close()
		return
	case r.regs[g.name] != nil:
		g.settle(ErrDuplicate)
		g.finish(ErrDuplicate)
		g.released = true
		g.close()
		return
	}
	id, err := uuid.NewRandomFromReader(r.random)
	if err != nil {
		g.settle(fmt.Errorf("no random registration id: %w", err))
		g.finish(ErrClosed)
		g.released = true
		g.close()
		return
	}
	g.id, r.regs[g.name] = id, g
	r.enter(ctx, g)
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
	r.leaveScope(g)
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
	g.close()
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
	r.mail.close()
	r.running.Wait()
	for _, g := range r.regs { // nobody else is left to do it
		g.finish(ErrClosed)
		g.vanish(ErrClosed)
		g.settle(ErrClosed)
	}
	for _, s := range r.scopes {
		s.stop() // or the context, which may live on, would keep all of the Registry
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
