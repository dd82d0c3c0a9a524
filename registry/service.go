package registry

import "time"

// Status is what the operator wants.
type Status string

// The statuses.
const (
	Enabled  Status = "enabled"
	Disabled Status = "disabled"
)

// State is what is observed.
type State string

// The states.
const (
	Up   State = "up"
	Down State = "down"
)

// Cause says why something is down. Readers must expect causes that they don't know.
type Cause string

// The causes. Left, Failed and Unhealthy are announced by the service itself. Lost means that the end went unseen: it was
// neither announced nor watched.
const (
	CauseExpired   Cause = "expired"   // the lease ran out or was revoked
	CauseLeft      Cause = "left"      // a clean stop
	CauseFailed    Cause = "failed"    // the service said that it failed
	CauseUnhealthy Cause = "unhealthy" // its health check failed
	CauseReplaced  Cause = "replaced"  // another process took the name
	CauseDeleted   Cause = "deleted"   // somebody deleted the alive key; its lease lives
	CauseEvicted   Cause = "evicted"   // an operator ended this incarnation
	CauseForced    Cause = "forced"    // an operator said that it is down
	CauseUnleased  Cause = "unleased"  // the alive key is bound to no lease, so it proves nothing
	CauseLost      Cause = "lost"      // it went unseen
)

// Service is one row: everything that is known of one instance at one revision. What is not known is nil, never a guess.
// The JSON is what hbctl prints.
type Service struct {
	Binary         string            `json:"binary"`
	Host           string            `json:"host"`
	Zone           *string           `json:"zone"`
	Status         *Status           `json:"status"`
	DisabledReason *string           `json:"disabled_reason"`
	DisabledBy     *string           `json:"disabled_by"`
	DisabledAt     *time.Time        `json:"disabled_at"`
	State          State             `json:"state"`
	Present        bool              `json:"present"` // the alive key is there and bound to a lease, whatever was forced
	ForcedDown     *bool             `json:"forced_down"`
	ForcedReason   *string           `json:"forced_reason"`
	ForcedBy       *string           `json:"forced_by"`
	ForcedAt       *time.Time        `json:"forced_at"`
	Cause          *Cause            `json:"cause"` // of a down row
	CauseReason    *string           `json:"cause_reason"`
	Since          *time.Time        `json:"since"`      // of this state, by the wall clock of whoever wrote it
	UpdatedAt      *time.Time        `json:"updated_at"` // last sign of life; see ListOptions.LastBeat
	CreatedAt      *time.Time        `json:"created_at"`
	ReportCount    *int64            `json:"report_count"`
	TTLSeconds     *int64            `json:"ttl_seconds"`
	Incarnation    *int64            `json:"incarnation"` // of a down row: the one that announced its end
	Lease          *string           `json:"lease"`       // hexadecimal
	Expiring       *bool             `json:"expiring"`    // the lease has run out and etcd has not revoked it yet
	Labels         map[string]string `json:"labels"`
	Endpoints      []string          `json:"endpoints"`
}

// Name gives the name of the row.
func (s *Service) Name() Name { return Name{Binary: s.Binary, Host: s.Host} }

// Warning is one thing under the prefix that can't be read or can't be right.
type Warning struct {
	Key     string `json:"key"`
	Problem string `json:"problem"`
}
