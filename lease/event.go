package lease

import "time"

// EventKind says what happened to a lease.
type EventKind int

// The kinds of events.
const (
	// Fenced: the trusted period ended. Renewing goes on.
	Fenced EventKind = iota
	// Answered: a renewal of a fenced lease was answered. Read the keys back, then call Restore with Event.Fence.
	Answered
	// LeaseGone: etcd no longer has the lease.
	LeaseGone
	// Quarantined: etcd refused the renewal of this lease, for Event.Err. It is tried on a stream of its own from now on.
	Quarantined
	// Stalled: an answer was outstanding for Event.By, so the shared stream is opened anew. Event.Lease is nil.
	Stalled
	// Reopening: the shared stream broke with Event.Err and is opened anew. Event.Lease is nil.
	Reopening
	// GrantFailed: a try to grant a lease failed with Event.Err and is made again. Event.Lease is nil.
	GrantFailed
)

// String gives the kind in lower case.
func (k EventKind) String() string {
	return [...]string{"fenced", "answered", "gone", "quarantined", "stalled", "reopening", "grant failed"}[k]
}

// Event tells what happened to a lease, or to the stream that all leases share.
type Event struct {
	Kind  EventKind
	Lease *Lease
	Fence int64 // how often the lease was fenced by then; Restore asks for it
	Err   error
	By    time.Duration
}
