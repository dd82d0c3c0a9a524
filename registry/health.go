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
	health := g.in.health
	if health == nil {
		g.stopGates = func() {}
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	g.stopGates = cancel
	loop, err := lease.NewLoopingCall(lease.LoopConfig{
		Interval: health.interval, Jitter: 0.1,
		OnOverrun: func(by time.Duration) { r.mail.post(func() { r.emit(Event{Name: g.name, Kind: Overrun, By: by}) }) },
	}, func(ctx context.Context) error { r.checkHealth(ctx, g, health.check, health.most); return nil })
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

// shut notes that a gate is shut.
func (s *state) shut(name string, why error) {
	if s.unhealthy == nil { // most have no gate
		s.unhealthy = make(map[string]error)
	}
	s.unhealthy[name] = why
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
		g.shut(name, why)
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
	if g.in.watchdog > 0 {
		now := time.Now()
		g.petted.Store(&now)
		r.armWatchdog(g, g.in.watchdog)
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
	if g.ending != nil || g.released || g.in.watchdog <= 0 || last == nil {
		return
	}
	if left := g.in.watchdog - time.Since(*last); left > 0 {
		r.armWatchdog(g, left)
		return
	}
	if !g.petted.CompareAndSwap(last, nil) {
		r.armWatchdog(g, g.in.watchdog) // petted in this very moment
		return
	}
	r.gate(g, gateWatchdog, fmt.Errorf("the watchdog was not petted within %v", g.in.watchdog))
}

// petted opens the watchdog's gate again.
func (r *Registry) petted(g *Registration) {
	if g.in.watchdog > 0 && g.unhealthy[gateWatchdog] != nil {
		r.gate(g, gateWatchdog, nil)
		r.armWatchdog(g, g.in.watchdog)
	}
}

// tripped shuts the watchdog's gate before its time.
func (r *Registry) tripped(g *Registration, why error) {
	if g.in.watchdog > 0 {
		r.gate(g, gateWatchdog, why)
	}
}

// setWatchdog changes how often the watchdog is to be petted. A gate that is shut stays shut, unless there is no
// watchdog any more.
func (r *Registry) setWatchdog(g *Registration, every time.Duration) {
	if g.ending != nil || g.released {
		return
	}
	g.in.watchdog = max(every, 0) // a negative one would make every later Update invalid
	switch {
	case every <= 0:
		r.gate(g, gateWatchdog, nil)
	case g.unhealthy[gateWatchdog] == nil:
		r.startWatchdog(g)
	}
}
