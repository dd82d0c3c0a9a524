package history

import "fmt"

// detection judges that the incarnations of processes that died, and of those frozen or cut off for good, end in time.
func (c *checker) detection() {
	for _, l := range c.truth.lives {
		p := l.owner
		if p == nil || p.killed == nil || l.begin > p.dead || l.endsAt() <= p.dead || l.lease == 0 || l.ttl == 0 {
			continue
		}
		c.detected(l)
	}
}

// detected judges one crash. Each leader, and each return of a quorum, starts every lease again at its full TTL, so the bound
// counts from the last time that etcd was disturbed before the end.
func (c *checker) detected(l *life) {
	c.checked(Detected)
	from, bound := l.owner.dead, l.ttl+int64(grid+c.o.Slack)
	class := "a steady leader"
	if x, hit := c.lastDisturbance(l.owner.dead-l.ttl, l.endsAt()); hit {
		from, bound, class = max(from, x), bound+int64(c.o.Election+bonus), "etcd disturbed"
	}
	if n := c.crashed(l); n > 100 {
		bound += int64(n) * 1e9 / revokes
		class += fmt.Sprintf(", %d at once", n)
	}
	switch end := min(l.endsAt(), c.scene.end); {
	case end-from <= bound:
	case l.endRevision == 0:
		c.fail(Detected, evidence{record: l.owner.killed, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s is up %s after its process was killed; the bound is %s (%s)", l.incarnation, l.name(), seconds(end-l.owner.dead), seconds(bound), class)})
	default:
		c.fail(Detected, evidence{record: l.endRecord, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s ended %s after its process was killed; the bound is %s (%s)", l.incarnation, l.name(), seconds(l.endAt-l.owner.dead), seconds(bound), class)})
	}
	if early := l.ttl*3/4 - int64(c.o.Slack); l.how == gone && class == "a steady leader" && l.why == died && l.endAt-l.owner.dead < early && !c.troubled(l) {
		c.fail(Detected, evidence{record: l.endRecord, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s ended %s after its process was killed, at a TTL of %s: too soon for an expiry", l.incarnation, l.name(), seconds(l.endAt-l.owner.dead), seconds(l.ttl))})
	}
}

// troubled says that something kept the holder from renewing, or took the lease, before it died.
func (c *checker) troubled(l *life) bool {
	_, out := l.owner.out.overlaps(l.owner.dead-2*l.ttl, l.endAt)
	_, revoking := c.scene.revoking.overlaps(l.owner.dead-2*l.ttl, l.endAt)
	return out || revoking || c.scene.did(l, 0, l.endAt, OpRevoke, OpDelete) || l.leaving != nil || l.owner.asked < l.owner.dead
}

// lastDisturbance gives the end of the last disturbance of etcd between the times.
func (c *checker) lastDisturbance(from, to int64) (int64, bool) {
	last, hit := int64(0), false
	for {
		x, found := c.scene.disturbed.overlaps(from, to)
		if !found {
			return last, hit
		}
		last, hit = min(x.to, to), true
		if x.to >= to {
			return last, hit
		}
		from = x.to + 1
	}
}

// crashed counts the leases whose processes died about the same time.
func (c *checker) crashed(l *life) int {
	if c.deaths == nil {
		c.deaths = make(map[int64]int)
		leases := make(map[int64]bool)
		for _, other := range c.truth.lives {
			if p := other.owner; p != nil && p.dead < other.endsAt() && !leases[other.lease] {
				leases[other.lease] = true
				c.deaths[p.dead/5e9]++
			}
		}
	}
	slot := l.owner.dead / 5e9
	return c.deaths[slot-1] + c.deaths[slot] + c.deaths[slot+1]
}
