package history

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// fences judges that a holder knew that it is over before anybody was told.
func (c *checker) fences() {
	lead, margin := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, l := range c.truth.lives {
		if l.how != gone || !l.why.expired() || l.owner == nil {
			continue
		}
		sort.SliceStable(l.valids, func(i, k int) bool { return l.valids[i].At < l.valids[k].At })
		if l.why != died {
			lead = min(lead, c.fencedFirst(l))
		}
		margin = min(margin, c.neverValid(l))
	}
	if lead < math.MaxInt64 {
		c.results[FencedFirst].Figure = "smallest lead " + seconds(lead)
	}
	if margin < math.MaxInt64 {
		c.results[NeverValid].Figure = "smallest margin " + seconds(margin)
	}
	c.lapses()
}

// mayBeEtcds says that the end may have been etcd's false delete, before the lease had run out.
func (c *checker) mayBeEtcds(l *life) bool {
	_, etcd := c.scene.revoking.overlaps(l.endAt, l.endAt)
	return etcd && !c.outFor(l, l.ttl)
}

// unknowable says that its holder could not know of the end: etcd did it, and the holder was cut off.
func (c *checker) unknowable(l *life) bool { return l.why == cutOff && c.mayBeEtcds(l) }

// known gives when the end was told first, or deleted if nobody was told.
func (l *life) known() (int64, *Record) {
	if l.firstTold != nil {
		return l.firstTold.At, l.firstTold
	}
	return l.endAt, l.endRecord
}

// fencedFirst judges one expiry whose holder lived, and gives by how much the fence came first.
func (c *checker) fencedFirst(l *life) int64 {
	at, rec := l.known()
	if x, out := l.owner.frozenAt(at); out {
		c.wokeFenced(l, x)
		return math.MaxInt64
	}
	if l.owner.dead <= at || l.leaving != nil && l.leaving.At <= at || l.ended != nil && l.ended.At <= at {
		return math.MaxInt64
	}
	if c.mayBeEtcds(l) {
		return math.MaxInt64
	}
	c.checked(FencedFirst)
	fence := int64(math.MaxInt64)
	for _, f := range l.fenced {
		fence = min(fence, f.At)
		for _, t := range l.trusted {
			if t.At >= f.At && t.At < at { // that fence was over
				fence = math.MaxInt64
			}
		}
	}
	switch {
	case fence == math.MaxInt64:
		c.fail(FencedFirst, evidence{record: rec, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s was told down (its holder was %s), and the holder never said that it is fenced", l.incarnation, l.name(), l.why)})
		return math.MaxInt64
	case fence > at:
		c.fail(FencedFirst, evidence{record: rec, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s was told down %s before its holder (%s) was fenced", l.incarnation, l.name(), seconds(fence-at), l.why)})
	}
	return at - fence
}

// outFor says that the holder was out of reach for so long before the end, without any contact.
func (c *checker) outFor(l *life, length int64) bool {
	for _, x := range l.owner.solid {
		if x.from <= l.endAt && x.to+int64(c.o.Mended+c.o.Slack) >= l.endAt && min(x.to, l.endAt)-max(x.from, l.begin) >= length && !l.trustedIn(x.to, l.endAt) {
			return true
		}
	}
	return false
}

// trustedIn says that its holder was told within that time that the lease still lives: what lay before is no cause of the end.
func (l *life) trustedIn(from, to int64) bool {
	return slices.ContainsFunc(l.trusted, func(t *Record) bool { return t.At > from && t.At < to })
}

// frozenAt gives the freeze that a moment lies in.
func (p *process) frozenAt(at int64) (span, bool) {
	return p.frozen.joined(0, 0).overlaps(at, at)
}

// wokeFenced judges the first question that a holder was asked after it woke.
func (c *checker) wokeFenced(l *life, x span) {
	for _, v := range l.valids {
		if v.At < x.to {
			continue
		}
		c.checked(FencedFirst)
		if v.Yes {
			c.fail(FencedFirst, evidence{record: v, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s ended while its holder was frozen, and its first answer %s after it woke was yes", l.incarnation, l.name(), seconds(v.At-x.to))})
		}
		return
	}
}

// neverValid judges all answers about an incarnation that expired, and gives by how much the last yes was before the end.
func (c *checker) neverValid(l *life) int64 {
	at, _ := l.known()
	at = min(at, l.endAt)
	margin := int64(math.MaxInt64)
	for _, v := range l.valids {
		c.checked(NeverValid)
		switch {
		case !v.Yes, v.At >= at && c.unknowable(l):
		case v.At >= at:
			c.fail(NeverValid, evidence{record: v, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s was said to be valid %s after its end", l.incarnation, l.name(), seconds(v.At-at))})
		default:
			margin = min(margin, at-v.At)
		}
	}
	return margin
}

// lapses judges that nobody is fenced, or not renewed, without a fault.
func (c *checker) lapses() {
	for _, l := range c.truth.lives {
		p := l.owner
		if p == nil || l.ttl == 0 || l.lease == 0 {
			continue
		}
		for _, f := range l.fenced {
			if f.At > l.endsAt() || l.leaving != nil && l.leaving.At <= f.At || p.asked <= f.At || p.dead <= f.At || c.scene.did(l, 0, f.At, OpRevoke) {
				continue
			}
			from := f.At - l.ttl - 1e9
			_, out := p.out.overlaps(from, f.At)
			if _, disturbed := c.scene.disturbed.overlaps(from, f.At); out || disturbed {
				continue
			}
			c.checked(NoLapse)
			c.fail(NoLapse, evidence{record: f, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s was fenced without a fault", l.incarnation, l.name())})
		}
		if end := min(l.endsAt(), c.scene.end, p.dead); end-l.begin > 2*l.ttl {
			c.checked(NoLapse)
		}
	}
}
