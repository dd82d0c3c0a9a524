package lease

import "errors"

var (
	// ErrInvalid is wrapped by every refusal of what the caller gave.
	ErrInvalid = errors.New("invalid")
	// ErrGone ends a lease that etcd no longer has: it expired or was revoked.
	ErrGone = errors.New("lease is gone")
	// ErrFenced ends a trusted period: the lease may run out before the next answer, so its holder may no longer act.
	ErrFenced = errors.New("fenced: renewals were not answered in time")
	// ErrStarted is returned by a second Run of what runs only once.
	ErrStarted = errors.New("already started")
	// ErrStopped is returned by what was stopped before it could be done.
	ErrStopped = errors.New("stopped")
)
