package registry

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/hbctl/hbctl/lease"
)

const (
	// DefaultZone is the zone of an instance that names none, as in Cinder.
	DefaultZone = "nova"
	// DefaultTTL is the TTL of an instance that names none.
	DefaultTTL = 10 * time.Second
	// DefaultHealthInterval is the time from the start of one health check to the start of the next.
	DefaultHealthInterval = 5 * time.Second
	// DefaultHealthTimeout is how long one health check may take.
	DefaultHealthTimeout = 2 * time.Second
)

// Policy says what Register does when another live process holds the name.
type Policy int

// The policies.
const (
	// Wait waits for the holder's lease to run out, and returns ErrConflict once the holder is seen to renew it.
	Wait Policy = iota
	// Fail returns ErrConflict at once.
	Fail
	// Takeover replaces the holder, whose registration ends with ErrReplaced.
	Takeover
)

// Instance is what to register. Name is required.
type Instance struct {
	Name      Name
	Zone      string            // default DefaultZone
	Labels    map[string]string // keys and values as Kubernetes labels
	Endpoints []string          // URLs under which the service can be reached
	TTL       time.Duration     // default DefaultTTL; whole seconds, lease.MinTTL to lease.MaxTTL

	// OnConflict says what to do when another live process holds the name. A dead one on this machine is always replaced.
	OnConflict Policy
	// RegisterTimeout bounds the call of Register, default none. The life of the registration is bound by its context alone.
	RegisterTimeout time.Duration

	// Health, if set, gates the registration: while it returns an error or has not returned in time the instance is not
	// published. It is called by one goroutine, never twice at once, and must return when its context is done.
	Health         func(ctx context.Context) error
	HealthInterval time.Duration // default DefaultHealthInterval
	HealthTimeout  time.Duration // default DefaultHealthTimeout
	// Watchdog, if positive, gates the registration too: Pet must be called at least this often.
	Watchdog time.Duration
}

// withDefaults fills in the defaults and copies what the caller could change later.
func (in Instance) withDefaults() Instance {
	in = in.filled()
	in.Labels, in.Endpoints = maps.Clone(in.Labels), slices.Clone(in.Endpoints)
	return in
}

// filled fills in the defaults.
func (in Instance) filled() Instance {
	if in.Zone == "" {
		in.Zone = DefaultZone
	}
	if in.TTL == 0 {
		in.TTL = DefaultTTL
	}
	if in.HealthInterval == 0 {
		in.HealthInterval = DefaultHealthInterval
	}
	if in.HealthTimeout == 0 {
		in.HealthTimeout = DefaultHealthTimeout
	}
	return in
}

// Validate returns ErrInvalid (or lease.ErrInvalid for the TTL), naming what is wrong and the remedy. Zero fields stand for
// their defaults.
func (in Instance) Validate() error {
	in = in.filled()
	if err := in.Name.Validate(); err != nil {
		return err
	}
	if err := lease.ValidateTTL(in.TTL); err != nil {
		return err
	}
	if err := validateText("zone", in.Zone); err != nil {
		return err
	}
	if err := validateLabels(in.Labels); err != nil {
		return err
	}
	if err := validateEndpoints(in.Endpoints); err != nil {
		return err
	}
	switch {
	case in.OnConflict < Wait || in.OnConflict > Takeover:
		return fmt.Errorf("%w: conflict policy %d: use Wait, Fail or Takeover", ErrInvalid, in.OnConflict)
	case in.RegisterTimeout < 0:
		return fmt.Errorf("%w: register timeout %v is negative; use 0 for none", ErrInvalid, in.RegisterTimeout)
	case in.HealthInterval < 0 || in.HealthTimeout < 0 || in.Watchdog < 0:
		return fmt.Errorf("%w: health interval, health timeout and watchdog must not be negative", ErrInvalid)
	}
	return nil
}

// validateText accepts 1 to 253 bytes of printable text; inner blanks are allowed, they harm no key.
func validateText(what, s string) error {
	if s == "" || len(s) > MaxNameBytes || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		return fmt.Errorf("%w: %s %s: want 1 to %d bytes of UTF-8 without blanks around", ErrInvalid, what, quote(s), MaxNameBytes)
	}
	for i, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: %s %s has the unprintable character %U at byte %d; remove it", ErrInvalid, what, quote(s), r, i)
		}
	}
	return nil
}

func validateLabels(set map[string]string) error {
	if plainLabels(set) {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			return fmt.Errorf("%w: label key %s: %s", ErrInvalid, quote(key), rule(problems[0]))
		}
		if problems := validation.IsValidLabelValue(set[key]); len(problems) > 0 {
			return fmt.Errorf("%w: label %s=%s: %s", ErrInvalid, key, quote(set[key]), rule(problems[0]))
		}
	}
	return nil
}

// plainLabels says that there is certainly nothing wrong with the labels: it knows less than Kubernetes, and takes a tenth of the
// time.
func plainLabels(set map[string]string) bool {
	for key, value := range set {
		if !plainLabel(key) || value != "" && !plainLabel(value) {
			return false
		}
	}
	return true
}

// plainLabel says that it is letters and digits, as many as a label may have.
func plainLabel(s string) bool {
	const most = 63
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// rule leaves out the examples and the regular expression that come with a rule of Kubernetes.
func rule(problem string) string {
	words, _, _ := strings.Cut(problem, " (e.g. ")
	return words
}

func validateEndpoints(endpoints []string) error {
	for _, endpoint := range endpoints {
		u, err := url.Parse(endpoint)
		unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
		if err != nil || u.Scheme == "" || u.Host == "" || !utf8.ValidString(endpoint) || strings.ContainsFunc(endpoint, unprintable) {
			return fmt.Errorf("%w: endpoint %s: want a URL, as http://10.0.0.1:8080", ErrInvalid, quote(endpoint))
		}
	}
	return nil
}

// surelyFits says that the record can't be too large, without writing it.
func (in Instance) surelyFits() bool {
	const others, escaped, framing = 512, 6, 8
	n := others + escaped*(len(in.Name.Binary)+len(in.Name.Host)+len(in.Zone))
	for key, value := range in.Labels {
		n += framing + escaped*(len(key)+len(value))
	}
	for _, endpoint := range in.Endpoints {
		n += framing + escaped*len(endpoint)
	}
	return n <= MaxValueBytes
}
