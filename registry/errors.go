package registry

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalid is wrapped by every refusal of what the caller gave: a name, a prefix, a TTL, a record.
	ErrInvalid = errors.New("invalid")
	// ErrConflict is what a ConflictError is: the name is held by another live process.
	ErrConflict = errors.New("name is held by another process")
	// ErrDuplicate is returned by Register for a name that this Registry already holds.
	ErrDuplicate = errors.New("name is already registered here")
	// ErrReplaced ends a registration whose name another process holds now.
	ErrReplaced = errors.New("replaced by another process")
	// ErrEvicted ends a registration whose incarnation an operator evicted.
	ErrEvicted = errors.New("evicted by an operator")
	// ErrLeaving is returned by Close and Fail at their deadline. The registry goes on trying to leave.
	ErrLeaving = errors.New("still leaving")
	// ErrClosed is returned by every call on a closed Registry or an ended Registration.
	ErrClosed = errors.New("closed")
	// ErrTooLarge is wrapped by the refusal of a value above MaxValueBytes.
	ErrTooLarge = errors.New("value too large")
)

// ConflictError says who holds the name. It is an ErrConflict.
type ConflictError struct {
	Name        Name
	Holder      *Holder // nil when the value of the alive key can't be read
	Incarnation int64   // ModRevision of the alive key
	Lease       int64   // 0: bound to no lease
	Why         string  // why this process may not have the name, in words
}

// Error names the holder and what can be done.
func (e *ConflictError) Error() string {
	holder := "a holder whose record can't be read"
	if e.Holder != nil {
		holder = e.Holder.String()
	}
	return fmt.Sprintf("%s: %s holds it as incarnation %d: %s; stop that process, choose another name, or take over",
		e.Name, holder, e.Incarnation, e.Why)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
