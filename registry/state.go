package registry

import (
	"context"
	"errors"
	"time"
)

var (
	errNotYet     = errors.New("not registered yet")
	errKeyDeleted = errors.New("the alive key was deleted")
	errUnsettled  = errors.New("a write was not answered; reading back")
	errNotChecked = errors.New("the health check has not passed yet")
)

// state is what the registry's loop knows of a registration. One op at a time is under way for it; what comes next is decided
// from the state alone (see next), so an event only ever has to correct the state.
type state struct {
	name      Name // never changes
	in        plan
	group     *group // its lease; nil: none yet
	joining   bool   // the first outcome is open
	busy      bool   // an op or a question is under way
	unsure    bool   // a put was not answered, so the key may exist
	loose     bool   // that put may even still arrive; it compared:
	looseRev  int64  // this ModRevision of the record, so it can't succeed once the record has another
	looseOld  []byte // and this was the value of the record then
	asking    bool   // the lease of the rival is to be asked about
	leaving   bool   // the withdrawal is under way
	aliveAsOf int64  // newest revision at which somebody was seen to change the alive key: older answers prove nothing
	withdrawn int64  // incarnation whose end was sent to etcd: it may be committed late, so there is no way back
	farewell  error  // why, if the gate has opened since
	verify    bool   // the keys are to be read back
	rewatch   bool   // and then watched again
	replace   int64  // ModRevision of an alive key that may be overwritten; 0: none
	released  bool   // everything is done, nothing more may happen

	incarnation int64 // of the alive key that is ours; 0: none
	last        int64 // last incarnation that was ours: an eviction up to it ends the registration
	told        int64 // incarnation that was told to be registered
	fenced      bool  // and that this is over, for now
	base        base
	recordRev   int64
	recordOld   []byte // its value, as far as it was read or written; nil, of a record that is there: what base says, see oldRecord
	recordSeen  int64  // newest revision at which somebody was seen to write the record
	admin       *Admin
	adminRev    int64
	adminAsOf   int64 // revision as of which the admin record is known; 0: not known
	dirty       bool  // the record is to be written
	mend        bool  // because somebody else wrote or deleted it
	mendedAt    time.Time
	report      bool // as a report: with report_count+1
	waiting     []chan<- error
	reported    []func()

	unhealthy map[string]error // gate → why it is shut
	ending    *Ended           // decided to end, in this way
	failures  int              // writes that failed in a row
	timer     *time.Timer
	watchdog  *time.Timer
	holdUntil time.Time // no step before
	scope     *scope    // of the context that it ends with
	place     int       // in it
	stopGates context.CancelFunc
	rival     *rival // who holds the name, while waiting for it
}

// gate reports the first reason why the instance must not be published.
func (s *state) gate() error {
	for _, name := range [...]string{gateHealth, gateWatchdog} {
		if err := s.unhealthy[name]; err != nil {
			return err
		}
	}
	return nil
}

// adminKnown says that the admin record was read.
func (s *state) adminKnown() bool { return s.adminAsOf != 0 }

// settled says that all of it is published, and nothing of that is in doubt: then it is enough to ask whether it is still so.
func (g *Registration) settled() bool {
	return g.presence.Load() != nil && g.incarnation != 0 && g.adminKnown() && g.open() && !g.unsure && !g.loose && !g.rewatch && g.withdrawn != g.incarnation
}

// open says that the instance is to be published: it is not ending, and its gates are open.
func (s *state) open() bool { return s.ending == nil && s.gate() == nil }

// idle says that a shut gate keeps the instance from being published, and nothing of it is in etcd.
func (s *state) idle() bool {
	return s.gate() != nil && s.incarnation == 0 && !s.busy && !s.unsure && !s.loose && s.group != nil
}

// action is what a registration needs next.
type action int

const (
	rest     action = iota // nothing
	release                // it has ended and etcd knows, or need not
	read                   // read its keys: what is there is not known
	acquire                // get a lease
	put                    // put record and alive key
	rewrite                // write the record
	withdraw               // announce the end: record with the reason put, alive key deleted
	seal                   // nothing of ours is there, but a put under way might still arrive: touch the record, so that it fails
	ask                    // ask whether the lease of whoever holds the name is being renewed
)

// next decides. It has no side effects, needs no clock, and sees nothing but the state.
func (s *state) next() action {
	open := s.open()
	switch {
	case s.released || s.busy:
		return rest
	case s.unsure:
		return read
	case s.incarnation != 0 && (!open || s.withdrawn == s.incarnation):
		return withdraw
	case !open && s.loose:
		return seal
	case s.ending != nil:
		return release
	case !open:
		return rest
	case s.asking:
		return ask
	case s.verify:
		return read
	case s.incarnation == 0 && (s.group == nil || s.group.lease == nil):
		return acquire
	case s.incarnation == 0:
		return put
	case s.dirty || s.report:
		return rewrite
	}
	return rest
}
