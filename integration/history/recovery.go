package history

import "fmt"

// recovery judges that, once all faults are mended, everybody who lives is up and every reader has contact.
func (c *checker) recovery() {
	until, complete := c.patience()
	if until == forever {
		return
	}
	s := c.scene
	for _, l := range c.truth.lives {
		p := l.owner
		if p == nil || l.next != nil && l.next.begin <= until || p.dead <= until || p.asked <= s.settled {
			continue
		}
		if l.begin > until || c.letGo(l, until) || l.endsAt() <= until && l.how != gone && l.how != unleased {
			continue // it is not to come back
		}
		c.checked(BackAgain)
		if l.endsAt() <= until && complete {
			c.fail(BackAgain, evidence{record: l.endRecord, name: l.name(), problem: fmt.Sprintf("%s lives in %s, but is not up %s after all faults were mended", l.name(), p.source, seconds(until-s.settled))})
		}
	}
	for _, subscriber := range sortedKeys(c.subscribers) {
		c.readerBack(subscriber, until, complete)
	}
}

// patience gives when everything has to be back: in time after all faults were mended, or before the first process is asked to
// end. It is complete if that left the time that is promised. Without a settled end it is forever.
func (c *checker) patience() (until int64, complete bool) {
	s := c.scene
	if s.settled == forever {
		return forever, false
	}
	until = min(s.settled+int64(c.o.Back+c.o.Slack), s.end)
	for _, p := range s.processes {
		if p.asked > s.settled {
			until = min(until, p.asked)
		}
	}
	return until, until >= s.settled+int64(c.o.Back)
}

// readerBack judges that the reader has contact again.
func (c *checker) readerBack(subscriber string, until int64, complete bool) {
	var last, session *Record
	stale := false
	for _, rec := range c.subscribers[subscriber] {
		switch {
		case rec.At > until:
		case rec.Kind == Watching:
			session, stale = rec, false
		case rec.Kind == Handed && rec.Batch != nil && rec.Batch.Kind == "stale":
			last, stale = rec, true
		case rec.Kind == Handed && rec.Batch != nil && rec.Batch.Kind == "live":
			last, stale = rec, false
		}
	}
	if session == nil || c.scene.process(session.Source).dead <= until {
		return
	}
	c.checked(BackAgain)
	if stale && complete {
		c.fail(BackAgain, evidence{record: last, subscriber: subscriber, problem: fmt.Sprintf("%s is still stale %s after all faults were mended", subscriber, seconds(until-c.scene.settled))})
	}
}
