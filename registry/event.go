package registry

import "time"

// EventKind says what happened to a registration. More kinds may come.
type EventKind string

// The kinds of events.
const (
	Registered  EventKind = "registered"  // the alive key is in etcd, as Event.Incarnation
	Fenced      EventKind = "fenced"      // the process may no longer act, for Event.Err; nobody has been told that it is down
	Trusted     EventKind = "trusted"     // the same incarnation may act again: its lease is renewed, and its key was read back
	LostKey     EventKind = "lost"        // the lease or a key is gone, for Event.Err; it is being put back
	Unhealthy   EventKind = "unhealthy"   // the health check or the watchdog failed, for Event.Err
	Healthy     EventKind = "healthy"     // and passed again
	Replaced    EventKind = "replaced"    // ended: another process holds the name
	Evicted     EventKind = "evicted"     // ended: an operator evicted this incarnation
	Left        EventKind = "left"        // ended, and etcd knows
	Retrying    EventKind = "retrying"    // a write failed with Event.Err and will be tried again
	Quarantined EventKind = "quarantined" // etcd refuses to renew the lease, for Event.Err
	Stalled     EventKind = "stalled"     // an etcd member did not answer for Event.By; another one is tried
	Overrun     EventKind = "overrun"     // reports or a health check took Event.By longer than their interval
	Forced      EventKind = "forced"      // an operator forced the instance down
	Lifted      EventKind = "lifted"      // an operator lifted that
)

// Event tells what happened. Name is empty for what concerns the whole process.
type Event struct {
	Name        Name
	Kind        EventKind
	Incarnation int64
	Err         error
	By          time.Duration
}
