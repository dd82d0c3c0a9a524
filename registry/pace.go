package registry

import "time"

// A pace tells a burst of registrations from a few.
type pace struct {
	from  time.Time // begin of the span that is counted
	count int       // registrations in it
	begin time.Time // of the burst
	until time.Time // when it is over, if nothing comes until then
}

// note counts one.
func (p *pace) note(now time.Time) {
	if now.Sub(p.from) > burstSpan {
		p.from, p.count = now, 0
	}
	if p.count++; p.count < burst {
		return
	}
	if p.until.Before(now) {
		p.begin = now
	}
	p.until = now.Add(burstSpan)
}

// on says that a burst goes on.
func (p *pace) on(now time.Time) bool { return now.Before(p.until) }

// wait gives how long to hold back what a burst leaves to be done; 0: no longer.
func (p *pace) wait(now time.Time) time.Duration {
	end := p.until
	if limit := p.begin.Add(burstLimit); limit.Before(end) {
		end = limit
	}
	return max(0, end.Sub(now))
}
