package lease

import (
	"fmt"
	"time"
)

const (
	// MinTTL is the shortest TTL that is asked for. etcd grants at least about 1.5 times its election timeout (2 s with its
	// defaults), and grants that in silence to whoever asks for less.
	MinTTL = 2 * time.Second
	// MaxTTL is the longest TTL that is asked for.
	MaxTTL = time.Hour
	// WarnTTL is the TTL above which detection is so slow that callers should say so.
	WarnTTL = 5 * time.Minute
)

// ValidateTTL returns ErrInvalid, naming the remedy, unless ttl is a whole number of seconds from MinTTL to MaxTTL.
func ValidateTTL(ttl time.Duration) error {
	switch {
	case ttl%time.Second != 0:
		return fmt.Errorf("%w: TTL %v: etcd counts whole seconds; use %s", ErrInvalid, ttl, wholeSeconds(ttl))
	case ttl < MinTTL:
		return fmt.Errorf("%w: TTL %v is too short: etcd grants no less than %v with its default timing; use that or more", ErrInvalid, ttl, MinTTL)
	case ttl > MaxTTL:
		return fmt.Errorf("%w: TTL %v is too long: a death would be told no sooner; use %v or less", ErrInvalid, ttl, MaxTTL)
	}
	return nil
}

// wholeSeconds names the TTLs around a fraction that would do.
func wholeSeconds(ttl time.Duration) string {
	whole := min(max(ttl, 0), MaxTTL).Truncate(time.Second)
	below, above := max(whole, MinTTL), min(max(whole+time.Second, MinTTL), MaxTTL)
	if below == above {
		return below.String()
	}
	return fmt.Sprintf("%v or %v", below, above)
}
