package lease_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/lease"
)

func TestValidateTTL(t *testing.T) {
	for _, ttl := range []time.Duration{
		math.MinInt64, -5 * time.Second, -1, 0, 1, 500 * time.Millisecond, time.Second, 1500 * time.Millisecond,
		2*time.Second - 1, 2*time.Second + 1, 10*time.Second + time.Millisecond,
		time.Hour + 1, time.Hour + time.Second, math.MaxInt64 / time.Second * time.Second, math.MaxInt64,
	} {
		if err := lease.ValidateTTL(ttl); !errors.Is(err, lease.ErrInvalid) {
			t.Errorf("%v: %v, want ErrInvalid", ttl, err)
		}
	}
	for _, ttl := range []time.Duration{lease.MinTTL, 3 * time.Second, 10 * time.Second, lease.WarnTTL, lease.WarnTTL + time.Second, lease.MaxTTL} {
		if err := lease.ValidateTTL(ttl); err != nil {
			t.Errorf("%v: %v", ttl, err)
		}
	}
}

// What is suggested must not be refused in turn.
func TestValidateTTLSuggests(t *testing.T) {
	for ttl, want := range map[time.Duration]string{
		500 * time.Millisecond:      "use 2s",
		1500 * time.Millisecond:     "use 2s",
		2500 * time.Millisecond:     "use 2s or 3s",
		-time.Millisecond:           "use 2s",
		time.Hour + time.Nanosecond: "use 1h0m0s",
	} {
		if err := lease.ValidateTTL(ttl); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%v: %v, want %q", ttl, err, want)
		}
	}
}
