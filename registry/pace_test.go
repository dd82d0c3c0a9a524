package registry

import (
	"testing"
	"time"
)

// A few registrations are watched at once, those of a burst when it is over, and of one without end after a while all the same.
func TestPace(t *testing.T) {
	t.Parallel()
	var p pace
	now := time.Unix(1, 0)
	for range burst - 1 {
		p.note(now)
	}
	if w := p.wait(now); w != 0 {
		t.Errorf("after a few it waits %v", w)
	}
	now = now.Add(time.Hour)
	for range 10 * burst {
		p.note(now)
		now = now.Add(burstSpan / (2 * burst))
	}
	if w := p.wait(now); w <= 0 || w > burstSpan || !p.on(now) {
		t.Errorf("in a burst it waits %v", w)
	}
	if w := p.wait(now.Add(burstSpan)); w != 0 || p.on(now.Add(burstSpan)) {
		t.Errorf("after the burst it waits %v", w)
	}
	for begin := now; now.Sub(begin) < 2*burstLimit; now = now.Add(burstSpan / (2 * burst)) {
		p.note(now)
	}
	if w := p.wait(now); w != 0 {
		t.Errorf("in a burst without end it waits %v", w)
	}
}
