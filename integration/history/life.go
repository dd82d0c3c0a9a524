package history

import (
	"math"

	"github.com/hbctl/hbctl/registry"
)

// forever is when what did not happen ends.
const forever = math.MaxInt64

// ending says how an incarnation ended in etcd.
type ending int

const (
	lives     ending = iota
	announced        // the record says so, in the same revision
	replaced         // the key was overwritten
	evicted          // an operator ended it
	unleased         // overwritten by a key without a lease
	gone             // the key vanished, and nobody said why
)

// life is one incarnation: from the put of its alive key to its end.
type life struct {
	track        *track
	incarnation  int64
	lease        int64
	registration string
	process      string // as the alive value names it; empty if it does not
	pid          int
	ttl          int64
	begin        int64
	record       *Record // of the auditor: the put

	how         ending
	cause       string // of an announced end
	endRevision int64  // 0: it lives
	endAt       int64
	endRecord   *Record // of the auditor

	next  *life    // of the name
	owner *process // nil: nobody who wrote records
	why   reason   // of an end that is gone

	fenced, trusted, lost []*Record
	valids                []*Record
	left, leaving         *Record
	ended                 *Record // the holder gave it up: replaced, evicted
	firstTold             *Record // the first batch that told anybody of its end
}

func (l *life) name() string { return l.track.name }

// end takes down how the life ended, from what the name is now.
func (l *life) end(m *moment, rec *Record) {
	l.endRevision, l.endAt, l.endRecord = rec.Revision, m.at, rec
	switch {
	case m.ended != nil && m.ended.Incarnation == l.incarnation && m.ended.Cause == registry.CauseEvicted && m.evicted >= l.incarnation:
		l.how = evicted // its holder has seen the mark, and left a word
	case m.ended != nil && m.ended.Incarnation == l.incarnation:
		l.how, l.cause = announced, string(m.ended.Cause)
	case m.alive != 0 && m.lease == 0:
		l.how = unleased
	case m.alive != 0:
		l.how = replaced
	case m.evicted >= l.incarnation:
		l.how = evicted
	default:
		l.how = gone
	}
}

// endsAt gives the time of the end, or forever.
func (l *life) endsAt() int64 {
	if l.endRevision == 0 {
		return forever
	}
	return l.endAt
}

// sameProcess says that the other incarnation is of the same process: of the same registration, or of one that it made later.
func (l *life) sameProcess(other *life) bool {
	if l == nil || other == nil {
		return false
	}
	return l.registration != "" && l.registration == other.registration || l.process != "" && l.process == other.process
}
