package history

import (
	"fmt"
	"math"
)

// mistakes judges keys that vanished though their holder lived: only etcd itself, and operators, may do that, and it is mended
// soon.
func (c *checker) mistakes() {
	longest := int64(0)
	for _, l := range c.truth.lives {
		if p := l.owner; p != nil && min(l.endsAt(), c.scene.end) > l.begin {
			c.checked(NoFalseDown)
		}
		if l.how != gone || l.owner == nil || !l.why.mistaken() {
			continue
		}
		if l.why == unknown && !c.letGo(l, l.endAt) {
			c.fail(NoFalseDown, evidence{record: l.endRecord, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s ended though its holder %s lived, had contact, and nobody deleted it", l.incarnation, l.name(), l.owner.source)})
		}
		longest = max(longest, c.mended(l))
	}
	if longest > 0 {
		c.results[MendedSoon].Figure = "at most " + seconds(longest)
	}
}

// letGo says that the holder had given the registration up by then.
func (c *checker) letGo(l *life, at int64) bool {
	p := l.owner
	return p.dead <= at || p.asked <= at || l.leaving != nil && l.leaving.At <= at || l.ended != nil && l.ended.At <= at
}

// mended judges that the holder is back within the bound, counted from when it and etcd could. It gives how long it took.
func (c *checker) mended(l *life) int64 {
	bound := int64(c.o.Mended + c.o.Slack)
	from := l.endAt
	for {
		at := c.scene.unable.calm(l.owner.out.calm(from, bound), bound)
		if at == from || at == forever {
			from = at
			break
		}
		from = at
	}
	if from == forever {
		return 0
	}
	if n := c.falseAround(l); n > 1000 {
		bound += int64(n) * 1e9 / revokes
	}
	if c.letGo(l, from+bound) || c.scene.did(l, l.endAt-2e9, from+bound, OpEvict, OpTakeover) {
		return 0
	}
	back := int64(math.MaxInt64)
	if l.next != nil {
		if !l.sameProcess(l.next) {
			return 0 // another process took the name
		}
		back = l.next.begin
	} else if c.scene.end < from+bound {
		return 0
	}
	c.checked(MendedSoon)
	if back <= from+bound {
		return max(0, back-from)
	}
	took := "it never was"
	if back < forever {
		took = "it took " + seconds(back-from)
	}
	c.fail(MendedSoon, evidence{record: l.endRecord, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s was deleted though its holder lived (%s), and was not back within %s: %s", l.incarnation, l.name(), l.why, seconds(bound), took)})
	return 0
}

// falseAround counts the false deletes of the same few seconds.
func (c *checker) falseAround(l *life) int {
	if c.falses == nil {
		c.falses = make(map[int64]int)
		for _, other := range c.truth.lives {
			if other.how == gone && other.why.mistaken() {
				c.falses[other.endAt/1e9]++
			}
		}
	}
	slot := l.endAt / 1e9
	return c.falses[slot-1] + c.falses[slot] + c.falses[slot+1]
}
