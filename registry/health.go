package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/hbctl/hbctl/lease"
)

// The gates. A renewal says only that the process has a running goroutine; a gate says whether the service works.
const (
	gateHealth   = "health"
	gateWatchdog = "watchdog"
)

// startGates starts the health check and the watchdog of the registration.
func (r *Registry) startGates(g *Registration) {
	ctx, cancel := context.WithCancel(r.ctx)
	g.stopGates = cancel
	if g.in.Health == nil {
		return
	}
	check, limit := g.in.Health, g.in.HealthTimeout // the goroutine must not read what Update writes
	loop, err := lease.NewLoopingCall(lease.LoopConfig{
		Interval: g.in.HealthInterval, Jitter: 0.1,
		OnOverrun: func(by time.Duration) { r.mail.post(func() { r.emit(Event{Name: g.name, Kind: Overrun, By: by}) }) },
	}, func(ctx context.Context) error { r.checkHealth(ctx, g, check, limit); return nil })
	if err != nil { // the interval was validated
		cancel()
		return
	}
	r.running.Go(func() { _ = loop.Run(ctx) })
}

// checkHealth makes one check. A check that does not return in time has failed at that moment, not when it returns.
func (r *Registry) checkHealth(ctx context.Context, g *Registration, check func(context.Context) error, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tooLate := func() {
		r.setGate(g, gateHealth, fmt.Errorf("the health check did not return within %v", limit))
	}
	told := make(chan struct{})
	late := time.AfterFunc(limit, func() { tooLate(); close(told) })
	err := check(ctx)
	if !late.Stop() {
		<-told // or the result of the next check could overtake it
		return
	}
	if ctx.Err() != nil { // it returned in the very moment, because its context ended: that is no pass
		tooLate()
		return
	}
	if err != nil {
		err = fmt.Errorf("health check: %w", err)
	}
	r.setGate(g, gateHealth, err)
}

func (r *Registry) setGate(g *Registration, name string, why error) {
	r.mail.post(func() { r.gate(g, name, why) })
}

// gate opens or shuts a gate.
func (r *Registry) gate(g *Registration, name string, why error) {
	if g.ending != nil || g.released {
		return
	}
	was := g.gate()
	if why == nil {
		delete(g.unhealthy, name)
	} else {
		g.unhealthy[name] = why
	}
	now := g.gate()
	switch {
	case now != nil && (was == nil || was == errNotChecked): //nolint:errorlint // the very value
		g.vanish(now)
		r.confirmed(g) // the others on its lease need not wait for it
		r.answerReports(g)
		r.emit(Event{Name: g.name, Kind: Unhealthy, Incarnation: g.incarnation, Err: now})
	case now == nil && was != nil && was != errNotChecked: //nolint:errorlint // the very value
		r.emit(Event{Name: g.name, Kind: Healthy})
		// Shut and open again before the end could be announced: nobody was told, so the incarnation goes on once its key
		// is read back.
		g.verify = g.verify || g.incarnation != 0
	}
	if now != nil {
		g.explain(now)
	}
	r.step(g)
}

// startWatchdog starts the watchdog once the instance is registered: before that nobody has a Registration to pet.
func (r *Registry) startWatchdog(g *Registration) {
	if g.in.Watchdog > 0 {
		now := time.Now()
		g.petted.Store(&now)
		r.armWatchdog(g, g.in.Watchdog)
	}
}

// armWatchdog looks after the registration in a while, and not before.
func (r *Registry) armWatchdog(g *Registration, in time.Duration) {
	if g.watchdog != nil {
		g.watchdog.Stop()
	}
	g.watchdog = time.AfterFunc(in, func() { r.mail.post(func() { r.lookAfter(g) }) })
}

// lookAfter shuts the watchdog's gate when it was not petted in time.
func (r *Registry) lookAfter(g *Registration) {
	last := g.petted.Load()
	if g.ending != nil || g.released || g.in.Watchdog <= 0 || last == nil {
		return
	}
	if left := g.in.Watchdog - time.Since(*last); left > 0 {
		r.armWatchdog(g, left)
		return
	}
	if !g.petted.CompareAndSwap(last, nil) {
		r.armWatchdog(g, g.in.Watchdog) // petted in this very moment
		return
	}
	r.gate(g, gateWatchdog, fmt.Errorf("the watchdog was not petted within %v", g.in.Watchdog))
}

// petted opens the watchdog's gate again.
func (r *Registry) petted(g *Registration) {
	if g.in.Watchdog > 0 && g.unhealthy[gateWatchdog] != nil {
		r.gate(g, gateWatchdog, nil)
		r.armWatchdog(g, g.in.Watchdog)
	}
}

// tripped shuts the watchdog's gate before its time.
func (r *Registry) tripped(g *Registration, why error) {
	if g.in.Watchdog > 0 {
		r.gate(g, gateWatchdog, why)
	}
}

// setWatchdog changes how often the watchdog is to be petted. A gate that is shut stays shut, unless there is no
// watchdog any more.
func (r *Registry) setWatchdog(g *Registration, every time.Duration) {
	if g.ending != nil || g.released {
		return
	}
	g.in.Watchdog = every
	switch {
	case every <= 0:
		r.gate(g, gateWatchdog, nil)
	case g.unhealthy[gateWatchdog] == nil:
		r.startWatchdog(g)
	}
}
