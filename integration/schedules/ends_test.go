package schedules_test

import (
	"time"

	"github.com/hbctl/hbctl/registry"
)

// An end is how an incarnation ended, by what etcd had and by who did it.
type end struct {
	life
	how       howEnded
	announced registry.Cause // if it was
	revision  int64
	at        time.Time
	alive     registry.AliveKey
	next      registry.AliveKey // what is there instead, if it was replaced
}

type howEnded string

const (
	announced howEnded = "announced"
	expired   howEnded = "expired"  // by etcd, which found that the lease had run out
	operated  howEnded = "operated" // somebody deleted the key, or revoked the lease
	replaced  howEnded = "replaced"
)

// ends finds every end.
func (w *world) ends() map[life]*end {
	ends := make(map[life]*end)
	a := w.auditor
	for r := int64(2); r < int64(len(a.tables)); r++ {
		for name := range a.tables[r-1].Entries {
			was, is := a.alive(name, r-1), a.alive(name, r)
			if was.Rev == 0 || was.Rev == is.Rev {
				continue
			}
			e := &end{life: life{name, was.Rev}, revision: r, at: a.at[r], alive: was, next: is}
			switch said := w.said(e); {
			case is.Rev != 0:
				e.how = replaced
			case said != "":
				e.how, e.announced = announced, said
			case w.operator.did[r] != "":
				e.how = operated
			default:
				e.how = expired
			}
			w.tally.add("ended: " + string(e.how))
			ends[e.life] = e
		}
	}
	return ends
}

// said gives the cause that the record has at the end.
func (w *world) said(e *end) registry.Cause {
	entry := w.auditor.tables[e.revision].Entries[e.name]
	if entry == nil || entry.Record.Rev != e.revision || entry.Record.Value == nil || entry.Record.Value.Ended == nil {
		return ""
	}
	ended := entry.Record.Value.Ended
	if ended.Incarnation != e.incarnation {
		w.problem("r%d: %s ended as %d by who held it as %d", e.revision, e.name, e.incarnation, ended.Incarnation)
	}
	return ended.Cause
}
