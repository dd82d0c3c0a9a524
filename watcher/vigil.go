package watcher

import (
	"cmp"
	"slices"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// confirmEach is by how much every suspect of a crowd lengthens the confirmation window of all. When many keys go at once, by a fault
// of etcd, by a slip of an operator or by a real mass death, those who live need time to come back: one process registers
// 4,000 instances a second, and etcd itself tells no more than 1,000 deaths a second.
const confirmEach = time.Millisecond

// A vigil keeps the time of open suspects, on a clock that runs only while etcd is heard: a reader that is cut off can't see who
// comes back, and a cause that cut it off may have cut them off too. It has no clock of its own.
type vigil struct {
	window time.Duration

	lived time.Duration // for how long etcd was heard, in all
	heard time.Time     // the last word; zero: none yet
	term  uint64        // of the cluster's leader; 0: not known
	open  map[registry.Name]*watched
	order []*watched // by when they were opened; closed ones go when they come to the front

	// How many were open at once at most, and the last of these. It holds until all of them are closed: of a crowd that comes
	// back one after the other the last needs the longest, when hardly any is left open.
	crowd     int
	crowdLast *watched
}

// watched is one open suspect.
type watched struct {
	name   registry.Name
	since  time.Duration // on the vigil's clock
	safe   int64
	closed bool
}

func newVigil(window time.Duration) *vigil {
	return &vigil{window: window, open: make(map[registry.Name]*watched)}
}

// word notes a word from etcd. The time since the last one counts if it is no more than gap: silence is no contact.
func (v *vigil) word(now time.Time, gap time.Duration) {
	if since := now.Sub(v.heard); !v.heard.IsZero() && since <= gap {
		v.lived += since
	}
	v.heard = now
}

// broken notes that the way to etcd broke. What passes until the next word is no contact, however short it is: whoever wants to come
// back may have been cut off with the reader, and of a window of two seconds a break of one and a half leaves nothing.
func (v *vigil) broken() { v.heard = time.Time{} }

// reign notes the term of the leader, as etcd's answers have it. A new one means that for a while there was none, and nobody could
// write: windows begin again, for nobody knows how long that was.
func (v *vigil) reign(term uint64) {
	if term <= v.term {
		return // a member that is behind
	}
	if v.term != 0 {
		for _, w := range v.order {
			w.since = v.lived
		}
	}
	v.term = term
}

// over says that the window of a suspect is over.
func (v *vigil) over(w *watched) bool { return v.lived-w.since >= v.need() }

// resume takes over the open suspects of a view. Their windows begin again: nobody knows who tried to come back meanwhile.
func (v *vigil) resume(view *View) {
	clear(v.open)
	v.order, v.crowd, v.crowdLast, v.term = nil, 0, nil, 0
	v.follow(view.suspects)
}

// follow takes over which suspects were opened and, with nil, closed.
func (v *vigil) follow(changed map[registry.Name]*suspect) {
	names := sortedNames(changed)
	slices.SortStableFunc(names, func(a, b registry.Name) int { return cmp.Compare(changed[a].position(), changed[b].position()) })
	for _, name := range names {
		if w := v.open[name]; w != nil {
			w.closed = true
			delete(v.open, name)
		}
		if s := changed[name]; s != nil {
			w := &watched{name: name, since: v.lived, safe: s.safe}
			v.open[name] = w
			v.order = append(v.order, w)
		}
	}
	for len(v.order) > 0 && v.order[0].closed {
		if v.order[0] == v.crowdLast {
			v.crowd = 0
		}
		v.order = v.order[1:]
	}
	if len(v.open) >= v.crowd && len(v.order) > 0 {
		v.crowd, v.crowdLast = len(v.open), v.order[len(v.order)-1]
	}
}

// need is how long a suspect must have been open to be confirmed.
func (v *vigil) need() time.Duration {
	if v.window <= 0 {
		return 0
	}
	return v.window + time.Duration(v.crowd)*confirmEach
}

// due gives the suspects whose window is over.
func (v *vigil) due() []*watched {
	var due []*watched
	for _, w := range v.order {
		if !v.over(w) {
			break // the others were opened later
		}
		if !w.closed {
			due = append(due, w)
		}
	}
	return due
}

// wait says how long until the next window is over, if etcd goes on being heard; false if none is open.
func (v *vigil) wait(now time.Time) (time.Duration, bool) {
	if len(v.order) == 0 {
		return 0, false
	}
	left := v.need() - (v.lived - v.order[0].since)
	if !v.heard.IsZero() {
		left -= now.Sub(v.heard)
	}
	return max(0, left), true
}

// position gives the revision after which a reader who keeps nothing but that can resume, when the head is there: it never
// passes an open suspect, whose down would be told to nobody.
func (v *vigil) position(head int64) int64 {
	if len(v.order) == 0 {
		return head
	}
	return min(head, v.order[0].safe)
}
