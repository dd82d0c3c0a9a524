package history

import "slices"

// reason says why a key vanished that nobody announced the end of.
type reason string

const (
	unknown  reason = ""         // nothing explains it
	foreign  reason = "foreign"  // nobody who writes records held it
	operated reason = "operator" // an operator deleted the key or revoked the lease
	died     reason = "died"
	froze    reason = "frozen"
	cutOff   reason = "cut off"
	starved  reason = "starved"
	etcdDid  reason = "etcd" // a frozen leader woke, or all members were frozen: etcd deletes live keys then
)

// expired says that the lease ran out because its holder did not renew it.
func (r reason) expired() bool { return r == died || r == froze || r == cutOff || r == starved }

// mistaken says that the holder lived and could have renewed.
func (r reason) mistaken() bool { return r == operated || r == etcdDid || r == unknown }

// reason finds it. What an operator did comes first, then what befell the holder, and only then etcd.
func (c *checker) reason(l *life) reason {
	slack := int64(c.o.Slack)
	switch p := l.owner; {
	case c.scene.did(l, l.endAt-2e9, l.endAt+slack, OpDelete, OpRevoke, OpEvict, OpTakeover):
		return operated
	case p == nil:
		return foreign
	case p.dead <= l.endAt+slack:
		return died
	default:
		if x, hit := c.absence(l); hit {
			return p.trouble(x)
		}
	}
	if _, hit := c.scene.revoking.overlaps(l.endAt, l.endAt); hit {
		return etcdDid
	}
	return unknown
}

// absence gives the time for which the holder was kept from renewing, if that can have cost the lease. One that was over well
// before the end can't: the holder was back and renewed. Nor can one as long as the TTL after which it was told that its lease lives:
// what it was told was asked for after that, or the answer would have come too late to be believed.
func (c *checker) absence(l *life) (span, bool) {
	back := int64(c.o.Mended + c.o.Slack)
	for _, x := range slices.Backward(l.owner.out) {
		switch {
		case x.from > l.endAt:
		case x.to+back < l.endAt:
			return span{}, false
		case min(x.to, l.endAt)-max(x.from, l.begin) >= l.ttl && l.trustedIn(x.to, l.endAt):
			return span{}, false
		case min(x.to, l.endAt)-max(x.from, l.begin) >= l.patience():
			return x, true
		}
	}
	return span{}, false
}

// patience is the shortest absence that can cost a lease: a renewal is due every TTL/4, and contact takes some time to return.
func (l *life) patience() int64 { return l.ttl*3/4 - max(250e6, l.ttl/10) - 500e6 }

// trouble says what the span was.
func (p *process) trouble(x span) reason {
	for _, s := range p.frozen {
		if s.from <= x.to && s.to >= x.from {
			return froze
		}
	}
	for _, s := range p.cut {
		if s.from <= x.to && s.to >= x.from {
			return cutOff
		}
	}
	return starved
}
