package history

import "fmt"

// incarnation names a life.
type incarnation struct {
	name   string
	number int64
}

// holders ties what holders say to what the auditor saw: which process held which incarnation.
func (c *checker) holders() {
	byRegistration := make(map[string]*process)
	current := make(map[incarnation]*life) // by source and name; number is not used
	byLife := make(map[incarnation]*life, len(c.truth.lives))
	for _, l := range c.truth.lives {
		byLife[incarnation{l.name(), l.incarnation}] = l
	}
	for _, rec := range c.all {
		switch rec.Kind {
		case Registered, Fenced, Trusted, Lost, Valid, Leaving, Left, Ended:
		default:
			continue
		}
		l := byLife[incarnation{rec.Name, rec.Incarnation}]
		if rec.Kind == Registered {
			c.registered(rec, l)
		}
		if l == nil && rec.Incarnation == 0 {
			l = current[incarnation{name: rec.Source + " " + rec.Name}]
		}
		if l == nil {
			continue
		}
		if rec.Kind == Registered {
			l.owner = c.scene.process(rec.Source)
			if rec.TTL > 0 {
				l.ttl = rec.TTL
			}
			if l.registration != "" {
				byRegistration[l.registration] = l.owner
			}
			current[incarnation{name: rec.Source + " " + rec.Name}] = l
			continue
		}
		l.said(rec)
	}
	for _, l := range c.truth.lives {
		if l.owner == nil {
			l.owner = byRegistration[l.registration]
		}
		if l.owner == nil && l.pid != 0 {
			l.owner = c.scene.byPID[l.pid] // killed between the put and its answer
		}
		if l.how == gone {
			l.why = c.reason(l)
		}
	}
}

// registered checks what a holder believes against what etcd has.
func (c *checker) registered(rec *Record, l *life) {
	c.checked(NoGhosts)
	if l == nil && len(c.truth.steps) > 0 {
		c.fail(NoGhosts, evidence{record: rec, name: rec.Name, problem: fmt.Sprintf("%s believes in incarnation %d of %s, which etcd never had", rec.Source, rec.Incarnation, rec.Name)})
	}
	if l != nil && rec.Lease != "" && leaseOf(rec.Lease) != l.lease {
		c.fail(NoGhosts, evidence{record: rec, name: rec.Name, problem: fmt.Sprintf("%s holds incarnation %d of %s by lease %s, but its key is bound to %s", rec.Source, rec.Incarnation, rec.Name, rec.Lease, formatLease(l.lease))})
	}
}

func (l *life) said(rec *Record) {
	switch rec.Kind {
	case Fenced:
		l.fenced = append(l.fenced, rec)
	case Trusted:
		l.trusted = append(l.trusted, rec)
	case Lost:
		l.lost = append(l.lost, rec)
	case Valid:
		l.valids = append(l.valids, rec)
	case Leaving:
		l.leaving = rec
	case Left:
		l.left = rec
	case Ended:
		l.ended = rec
	}
}
