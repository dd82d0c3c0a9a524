package lease

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// LoopConfig says when a LoopingCall runs. One of Interval and Due is required.
type LoopConfig struct {
	// Interval is the time from the start of one run to the start of the next.
	Interval time.Duration
	// InitialDelay is the time from Run to the start of the first run. Not used with Due.
	InitialDelay time.Duration
	// Jitter shortens each interval by a random part of up to this fraction, 0 to 1, so that many loops that
	// started together drift apart.
	Jitter float64
	// Due, if set, replaces Interval: it is asked after each run, and after each Wake, when the next run shall start.
	Due func() time.Time
	// OnError, if set, is told of each error of the call, and the loop goes on. Without it the first error ends the loop.
	OnError func(error)
	// OnOverrun, if set, is told by how much a run outlasted its interval. The next run starts at once.
	OnOverrun func(by time.Duration)
}

func (c LoopConfig) validate() error {
	switch {
	case c.Due == nil && c.Interval <= 0:
		return fmt.Errorf("%w: loop interval %v: want more than 0", ErrInvalid, c.Interval)
	case c.InitialDelay < 0:
		return fmt.Errorf("%w: initial delay %v is negative", ErrInvalid, c.InitialDelay)
	case math.IsNaN(c.Jitter) || c.Jitter < 0 || c.Jitter > 1:
		return fmt.Errorf("%w: jitter %v: want a fraction from 0 to 1", ErrInvalid, c.Jitter)
	}
	return nil
}

// LoopingCall calls a function again and again: after an initial delay, at an interval, never twice at once. It is the
// loop under the renewals, the reports and the health checks. Its methods may be called concurrently.
type LoopingCall struct {
	cfg  LoopConfig
	call func(context.Context) error

	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	started bool
	stopped bool
	err     error // result, readable once done is closed
}

// NewLoopingCall checks the config and prepares the loop; Run starts it. It returns ErrInvalid.
func NewLoopingCall(cfg LoopConfig, call func(context.Context) error) (*LoopingCall, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &LoopingCall{
		cfg: cfg, call: call,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}, nil
}

// Run runs the loop until Stop (then it returns nil), until the context ends (then its error), or until the call fails and no
// OnError is set (then that error). A second Run returns ErrStarted.
func (l *LoopingCall) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.started {
		l.mu.Unlock()
		return ErrStarted
	}
	l.started = true
	l.mu.Unlock()

	err := l.loop(ctx)
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	close(l.done)
	return err
}

// Stop lets the run under way finish and then ends the loop. It does not wait, and may be called again, and before Run.
func (l *LoopingCall) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		l.stopped = true
		close(l.stop)
	}
}

// Wait waits for the end of the loop and returns what Run returned, or the context's error.
func (l *LoopingCall) Wait(ctx context.Context) error {
	select {
	case <-l.done:
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wake makes a loop with Due ask again. It has no effect on a fixed interval.
func (l *LoopingCall) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *LoopingCall) loop(ctx context.Context) error {
	next := time.Now().Add(l.cfg.InitialDelay)
	if l.cfg.Due != nil {
		next = l.cfg.Due()
	}
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.stop:
			return nil
		case <-l.wake:
			if l.cfg.Due != nil {
				timer.Reset(time.Until(l.cfg.Due()))
			}
			continue
		case <-timer.C:
		}
		// A timer that fires together with a stop must not win over it.
		if ctx.Err() != nil || l.isStopped() {
			continue
		}
		started := time.Now()
		if err := l.call(ctx); err != nil && ctx.Err() == nil {
			if l.cfg.OnError == nil {
				return err
			}
			l.cfg.OnError(err)
		}
		timer.Reset(time.Until(l.next(started)))
	}
}

// next says when the run after the one that started then shall start.
func (l *LoopingCall) next(started time.Time) time.Time {
	if l.cfg.Due != nil {
		return l.cfg.Due()
	}
	late := time.Since(started) - l.cfg.Interval
	if late > 0 && l.cfg.OnOverrun != nil {
		l.cfg.OnOverrun(late)
	}
	return started.Add(jittered(l.cfg.Interval, l.cfg.Jitter))
}

func (l *LoopingCall) isStopped() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stopped
}

// jittered shortens d by a random part of up to the fraction.
func jittered(d time.Duration, fraction float64) time.Duration {
	return d - time.Duration(float64(d)*fraction*rand.Float64()) //nolint:gosec // spreads load, guards nothing
}
