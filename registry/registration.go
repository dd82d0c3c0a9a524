package registry

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/lease"
)

// Registration keeps one instance published, from Register until it ends. Its methods may be called concurrently.
type Registration struct {
	registry *Registry
	id       uuid.UUID // random; in the alive key, so that a lost answer can be recognised
	number   int64     // of its watches; owned by the keyWatch

	presence atomic.Pointer[presence] // nil: not known to be published
	petted   atomic.Pointer[time.Time]

	mu      sync.Mutex
	public  publicState
	first   chan struct{} // closed and dropped when the first outcome is known
	done    chan struct{} // closed when it has ended and nothing of it is left to do; made when asked for
	period  *trustedPeriod
	changed chan struct{} // closed and replaced when the presence changes; made when asked for

	state // owned by the registry's loop
}

// presence is one incarnation that is in etcd as far as this process knows.
type presence struct {
	incarnation int64
	lease       *lease.Lease
	since       time.Time
}

// publicState is what Status and Err tell.
type publicState struct {
	why      error // why it is not published
	err      error // why it ended
	forced   bool
	over     bool  // it has ended and nothing of it is left to do
	firstErr error // the first outcome, once first is closed
}

type trustedPeriod struct {
	ctx      context.Context
	end      context.CancelCauseFunc
	presence *presence
}

// RegistrationStatus is what a holder can know of its registration.
type RegistrationStatus struct {
	Registered  bool          // the alive key is in etcd as far as this process knows
	Incarnation int64         // ModRevision of the alive key; 0 when not registered
	Lease       int64         // id of the lease; 0 when not registered
	Since       time.Time     // when this incarnation was registered
	TTL         time.Duration // as etcd granted it
	Expires     time.Time     // until when the process may act; zero when it may not
	Why         error         // why it is not registered, if it is not
	Forced      bool          // an operator says that it is down
	Renewals    int64         // answered renewals of the lease
	Fences      int64         // times that the lease was fenced
	LongestGap  time.Duration // longest time between two answered renewals
}

// keys makes the names of its keys: to keep them would cost more than to make them for the few times that they are needed.
func (g *Registration) keys() nameKeys { return g.registry.keys.of(g.name) }

// Name gives the name.
func (g *Registration) Name() Name { return g.name }

// Valid says whether the process may act as this instance now: it is published, and etcd's answers prove that its lease can't
// have run out. It is computed when asked and takes no lock.
func (g *Registration) Valid() bool {
	p := g.presence.Load()
	return p != nil && p.lease.Valid()
}

// Expires says until when Valid will say yes if etcd does not answer again. It gives the zero time when the process may
// not act.
func (g *Registration) Expires() time.Time {
	if p := g.presence.Load(); p != nil {
		return p.lease.Expires()
	}
	return time.Time{}
}

// Incarnation gives the ModRevision of the alive key, or 0 when it is not registered. It grows with every incarnation
// of the name, for as long as etcd keeps its data, so it can serve as a fencing token.
func (g *Registration) Incarnation() int64 {
	if p := g.presence.Load(); p != nil {
		return p.incarnation
	}
	return 0
}

// Status gives everything that is known.
func (g *Registration) Status() RegistrationStatus {
	g.mu.Lock()
	s := RegistrationStatus{Why: g.public.why, Forced: g.public.forced}
	g.mu.Unlock()
	p := g.presence.Load()
	if p == nil {
		return s
	}
	stats := p.lease.Stats()
	s.Registered, s.Why = true, nil
	s.Incarnation, s.Lease, s.Since = p.incarnation, int64(p.lease.ID()), p.since
	s.TTL, s.Expires = p.lease.TTL(), p.lease.Expires()
	s.Renewals, s.Fences, s.LongestGap = stats.Renewals, stats.Fences, stats.LongestGap
	return s
}

// Trusted gives a context of this trusted period: it ends when the process may no longer act as this incarnation. Its cause
// says why. When there is no trusted period it gives one that has ended. It ends by a timer, which may be late in a process
// that wakes: ask Valid before a step that must not be done twice.
func (g *Registration) Trusted() context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.presence.Load()
	if p == nil {
		ctx, end := context.WithCancelCause(context.Background())
		end(fmt.Errorf("%s is not registered: %w", g.name, notRegistered(g.public)))
		return ctx
	}
	if g.period == nil || g.period.presence != p || g.period.ctx.Err() != nil {
		ctx, end := context.WithCancelCause(p.lease.Trusted())
		g.period = &trustedPeriod{ctx: ctx, end: end, presence: p}
	}
	return g.period.ctx
}

func notRegistered(s publicState) error {
	switch {
	case s.err != nil:
		return s.err
	case s.why != nil:
		return s.why
	}
	return errNotYet
}

// WaitTrusted waits for a trusted period and gives its context, as Trusted does: that ends with the period or with the
// registration, and is no child of ctx, which bounds the waiting alone. It returns the context's error, or Err when the
// registration has ended.
func (g *Registration) WaitTrusted(ctx context.Context) (context.Context, error) {
	for {
		g.mu.Lock()
		if g.changed == nil {
			g.changed = make(chan struct{})
		}
		changed, err := g.changed, g.public.err
		g.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if g.Valid() {
			if trusted := g.Trusted(); trusted.Err() == nil {
				return trusted, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Done is closed when the registration has ended and etcd knows, or need not.
func (g *Registration) Done() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done == nil { // most are never asked
		g.done = make(chan struct{})
		if g.public.over {
			close(g.done)
		}
	}
	return g.done
}

// close says that it has ended and nothing of it is left to do.
func (g *Registration) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.public.over = true
	if g.done != nil {
		close(g.done)
	}
}

// Err is nil while the registration lives. Afterwards it is ErrClosed (Close, Fail, its context), ErrReplaced or ErrEvicted.
// It is set when the end is decided, which may be before Done.
func (g *Registration) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.public.err
}

// Pet tells the watchdog that the application is alive. Without a watchdog it does nothing.
func (g *Registration) Pet() {
	now := time.Now()
	if g.petted.Swap(&now) == nil {
		g.registry.mail.post(func() { g.registry.petted(g) })
	}
}

// Trip is the contrary of Pet: the application itself says that something is wrong. The instance is unhealthy, for that
// reason, until the next Pet. Without a watchdog it does nothing.
func (g *Registration) Trip(why error) {
	g.petted.Store(nil) // now, so that a Pet that follows is seen to follow
	g.registry.mail.post(func() { g.registry.tripped(g, why) })
}

// SetWatchdog changes how often Pet must be called; the time counts from now. Zero ends the watchdog.
func (g *Registration) SetWatchdog(every time.Duration) {
	g.registry.mail.post(func() { g.registry.setWatchdog(g, every) })
}

// Update changes zone, labels and endpoints, and returns once the record is committed. It returns ErrInvalid or ErrTooLarge
// and changes nothing when the result is not valid, ErrClosed when the registration has ended, what Err says (ErrClosed,
// ErrReplaced, ErrEvicted) when it ends while Update waits, and the context's error when that ends first; the change is then
// still on its way. The change gets a copy, whose Labels are never nil. While it runs nothing is done for any
// registration: it must not block or call methods of the Registry or its Registrations.
func (g *Registration) Update(ctx context.Context, change func(*Instance)) error {
	committed := make(chan error, 1)
	g.registry.mail.post(func() { g.registry.update(g, change, committed) })
	select {
	case err := <-committed:
		return err
	case <-g.registry.stopped:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close leaves: watchers are told at once, with cause left. The process may no longer act from the call on. It returns
// ErrLeaving when the context ends first; leaving is then still tried for as long as the Registry lives. Further calls wait
// for the same end.
func (g *Registration) Close(ctx context.Context) error {
	return g.leave(ctx, Ended{Cause: CauseLeft})
}

// Fail is Close with cause failed and a reason, for a service that ends because something is wrong.
func (g *Registration) Fail(ctx context.Context, reason string) error {
	return g.leave(ctx, Ended{Cause: CauseFailed, Reason: clip(reason)})
}

func (g *Registration) leave(ctx context.Context, how Ended) error {
	done := g.Done()
	g.registry.mail.post(func() { g.registry.end(g, how, ErrClosed) })
	select {
	case <-done:
		return nil
	case <-g.registry.stopped:
		select {
		case <-done:
			return nil
		default:
			return ErrLeaving
		}
	case <-ctx.Done():
		return fmt.Errorf("%s: %w: %w", g.name, ErrLeaving, ctx.Err())
	}
}

// appear publishes an incarnation to the application.
func (g *Registration) appear(p *presence) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.presence.Store(p)
	g.public.why = nil
	g.notify()
}

// vanish ends the trusted period, with the reason.
func (g *Registration) vanish(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.presence.Store(nil)
	g.public.why = why
	if g.period != nil {
		g.period.end(why)
		g.period = nil
	}
	g.notify()
}

func (g *Registration) explain(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.public.why = why
}

// settle tells Register the first outcome.
func (g *Registration) settle(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first != nil {
		g.public.firstErr = err
		close(g.first)
		g.first = nil
	}
}

func (g *Registration) firstErr() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.public.firstErr
}

func (g *Registration) setForced(forced bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.public.forced = forced
}

// wakeWaiters makes WaitTrusted look again.
func (g *Registration) wakeWaiters() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notify()
}

// finish sets why it ended. The first word counts.
func (g *Registration) finish(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.public.err == nil {
		g.public.err = err
	}
	g.notify()
}

// notify wakes WaitTrusted. The caller holds the lock.
func (g *Registration) notify() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// clip keeps a reason to what a record has room for.
func clip(reason string) string {
	const most = 1024
	if len(reason) <= most {
		return strings.ToValidUTF8(reason, "") // a value is JSON, and JSON is UTF-8
	}
	return strings.ToValidUTF8(reason[:most], "") + "..."
}

var _ Client = (*clientv3.Client)(nil)
