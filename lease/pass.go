package lease

import (
	"context"
	"time"
)

const (
	// longestNap bounds how long the loop sleeps, so that a suspend is noticed within it after the wake.
	longestNap = time.Second
	// suspendSkew is how far the two clocks may come apart between passes before it counts as a suspend.
	suspendSkew = 50 * time.Millisecond
	// maxRescuers is how many attempts outside the shared stream may be under way at once.
	maxRescuers = 64
)

// nextPass says when the loop shall look at the schedule again.
func (r *Renewer) nextPass() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := time.Now().Add(longestNap)
	if len(r.schedule) > 0 {
		if due := r.begin.Add(r.schedule[0].due); due.Before(next) {
			next = due
		}
	}
	if r.stream != nil {
		if at, ok := r.stream.stallsAt(); ok && at.Before(next) {
			next = at
		}
	}
	return next
}

// pass does what is due: it sends renewals, ends the trust of those whose fence has come, and gives up a stream that no
// longer answers.
func (r *Renewer) pass(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.now()
	if now.skew(r.lastPass) > suspendSkew {
		r.reschedule(now)
	}
	r.lastPass = now
	// All of the pass sees one moment: where serve and put look at the clocks each for itself, a suspend in between makes them
	// disagree for ever.
	for len(r.schedule) > 0 && r.isDue(r.schedule[0], now.mono.Sub(r.begin)) {
		r.serve(r.schedule[0].lease, now)
	}
	r.startRescuers()
	if r.stream != nil {
		r.stream.flush()
		if at, ok := r.stream.stallsAt(); ok && !at.After(now.mono) {
			r.emit(Event{Kind: Stalled, By: now.mono.Sub(r.stream.pending[0].sent.mono)})
			r.retire(r.stream)
		}
	}
	return nil
}

// isDue says whether something is to be done for a lease: its time has come, or it is a renewal that may as well go now.
func (r *Renewer) isDue(e entry, now time.Duration) bool {
	if e.due <= now {
		return true
	}
	l := e.lease
	return l.place == shared && r.stream != nil && !l.outstanding && e.due <= now+gather(l.TTL())
}

// serve does what is due for one lease and gives it its next place in the schedule.
func (r *Renewer) serve(l *Lease, now instant) {
	switch {
	case l.place == shared && now.until(l.fence) <= 0:
		r.fenced(l, now)
	case l.place == shared && r.stream != nil && !l.outstanding:
		r.stream.enqueue(l, now)
	case l.place == shared:
		// Under way, or no stream: nothing to do before the fence.
	case l.place == queued || l.place == trying:
		r.fenced(l, now)
	case l.place == alone:
		if l.trust.Load() != nil && now.until(l.fence) <= 0 {
			r.fenced(l, now)
		}
		if now.until(l.nextSend) <= 0 {
			l.place = queued
			r.ready = append(r.ready, l)
		}
	}
	r.put(l, now)
}

// reschedule looks anew when each lease is due: with a new stream, and after a suspend. The schedule runs on Go's clock, which
// stood still meanwhile: by it each fence would come too late by as long as the suspend was.
func (r *Renewer) reschedule(now instant) {
	for _, e := range append(schedule(nil), r.schedule...) {
		r.put(e.lease, now)
	}
}
