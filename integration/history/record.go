package history

import "github.com/hbctl/hbctl/registry"

// Kind says what a record tells.
type Kind string

// The kinds of records.
const (
	// Begin opens a history: Seed, Note (what kind of run) and Prefix.
	Begin Kind = "begin"
	// Settled says that from here on all faults are mended and nothing was done any more: what must come back has its bound
	// from here. Final closes the history.
	Settled Kind = "settled"
	Final   Kind = "final"

	// Of the injector. Source is "injector". Target is the Source of a holder or watcher process, the name of an etcd member
	// ("etcd0"), or empty.
	Spawn   Kind = "spawn"   // a process was started: Target, PID
	Killed  Kind = "killed"  // SIGKILL was sent to Target. At is before the call
	Stopped Kind = "stopped" // SIGSTOP was sent to Target. At is before the call
	Resumed Kind = "resumed" // SIGCONT is sent to Target. At is before the call
	Asked   Kind = "asked"   // SIGTERM was sent to Target: a clean stop. At is before the call
	Died    Kind = "died"    // Target has ended and was waited for
	FaultOn Kind = "fault"   // Fault (as "F11") began on Target; Note says how
	// FaultOff ends the Fault of the same name and Target. A fault that takes no time has only a FaultOn.
	// Target of F4 to F7, F29 and F35 is the Source of the process that suffers. Of a compaction (F20) Revision is set.
	FaultOff Kind = "mended"

	// Of a holder process. Source is unique for a process ("holder3#2" is the second process in the place of holder3).
	Started    Kind = "started"    // the process runs: PID
	Registered Kind = "registered" // Name is published: Incarnation, Lease, TTL. At is when the process learned of it
	Fenced     Kind = "fenced"     // Name may not act any more: Incarnation. At is when its trusted period ended
	Trusted    Kind = "trusted"    // the same Incarnation may act again
	Lost       Kind = "lost"       // the key of this Incarnation is gone: Reason. It is put back
	Valid      Kind = "valid"      // Valid() was asked: Yes is the answer, At is when the question was asked, Until when it was answered
	Leaving    Kind = "leaving"    // Close or Fail was called: Incarnation, Cause
	Left       Kind = "left"       // and etcd knows it: Incarnation
	Ended      Kind = "ended"      // the registration ended for Reason: "replaced", "evicted", ...
	Refused    Kind = "refused"    // Register failed for Reason: "conflict", ...
	Exited     Kind = "exited"     // a clean end: Leaks is how many goroutines of the library were left over

	// Of a watcher process. Source is unique for a process, Subscriber names the reader through all its restarts.
	Watching Kind = "watching" // a watch began: Subscriber, From ("now", "view", "revision"), Revision, Confirm
	Handed   Kind = "handed"   // a batch was handed over: Subscriber, Batch
	Acked    Kind = "acked"    // and acknowledged, durably if there is a state file: Subscriber, Revision
	Memory   Kind = "memory"   // resident set of the process: Bytes

	// Of whoever lists.
	Listed Kind = "listed" // At is when the question was asked, Until when it was answered: Revision, Rows

	// Of the auditor.
	Audit Kind = "audit" // everything that one Revision did under the prefix: Writes
)

// What operators do is a FaultOn too, with the Name (or, of a lease, the Lease) and one of these as Fault. At is before the call.
const (
	OpDelete       = "delete"        // the alive key was deleted by hand
	OpDeleteRecord = "delete-record" // the record was
	OpRevoke       = "revoke"        // the lease was revoked
	OpForceDown    = "force-down"
	OpForceUp      = "force-up"
	OpDisable      = "disable"
	OpEnable       = "enable"
	OpEvict        = "evict"
	OpTakeover     = "takeover" // another process was told to take the name over
	OpUnleased     = "unleased" // an alive key was put without a lease
)

// Record is one fact. Which fields are set depends on the kind.
type Record struct {
	At     int64  `json:"at"` // CLOCK_MONOTONIC, nanoseconds
	Kind   Kind   `json:"kind"`
	Source string `json:"source"` // who wrote it

	Until       int64  `json:"until,omitzero"` // of what takes time: its end
	Name        string `json:"name,omitzero"`  // BINARY/HOST
	Incarnation int64  `json:"incarnation,omitzero"`
	Lease       string `json:"lease,omitzero"` // hexadecimal
	TTL         int64  `json:"ttl,omitzero"`   // as granted, nanoseconds
	Reason      string `json:"reason,omitzero"`
	Cause       string `json:"cause,omitzero"`
	Yes         bool   `json:"yes,omitzero"`
	Leaks       int    `json:"leaks,omitzero"`
	Bytes       int64  `json:"bytes,omitzero"`

	Target string   `json:"target,omitzero"`
	PID    int      `json:"pid,omitzero"`
	Fault  string   `json:"fault,omitzero"`
	Note   string   `json:"note,omitzero"`
	Leases []string `json:"leases,omitzero"` // of Final: all that etcd has, hexadecimal; absent: nobody looked
	Seed   uint64   `json:"seed,omitzero"`
	Prefix string   `json:"prefix,omitzero"`

	Subscriber string `json:"subscriber,omitzero"`
	From       string `json:"from,omitzero"`
	Confirm    int64  `json:"confirm,omitzero"` // confirmation window, nanoseconds; 0: raw
	Batch      *Batch `json:"batch,omitzero"`

	Revision int64   `json:"revision,omitzero"`
	Rows     []Row   `json:"rows,omitzero"`
	Writes   []Write `json:"writes,omitzero"`
}

// Batch is a batch as a reader got it.
type Batch struct {
	Kind     string  `json:"kind"` // as watcher.BatchKind
	Revision int64   `json:"revision"`
	Synced   bool    `json:"synced,omitzero"`
	Events   []Event `json:"events,omitzero"`
	Rows     []Row   `json:"rows,omitzero"` // of a snapshot
	Reason   string  `json:"reason,omitzero"`
}

// Event is an event as a reader got it.
type Event struct {
	Kind            string `json:"kind"` // as watcher.Kind
	Name            string `json:"name"`
	Incarnation     int64  `json:"incarnation,omitzero"`
	Previous        int64  `json:"previous,omitzero"`
	Cause           string `json:"cause,omitzero"` // empty: not known
	DeletedRevision int64  `json:"deleted_revision,omitzero"`
	Present         *bool  `json:"present,omitzero"`
	Synthetic       bool   `json:"synthetic,omitzero"`
	Row             *Row   `json:"row,omitzero"` // after the event; nil for a warning
}

// Row is what a list says of an instance, as far as readers must agree on it.
type Row struct {
	Name        string            `json:"name"`
	Zone        *string           `json:"zone,omitzero"`
	Status      *string           `json:"status,omitzero"`
	State       string            `json:"state"`
	Present     bool              `json:"present,omitzero"`
	Forced      bool              `json:"forced,omitzero"`
	Incarnation int64             `json:"incarnation,omitzero"`
	Labels      map[string]string `json:"labels,omitzero"`
	Endpoints   []string          `json:"endpoints,omitzero"`
}

// RowOf takes from a service what readers must agree on.
func RowOf(s *registry.Service) Row {
	r := Row{
		Name: s.Name().String(), Zone: s.Zone, State: string(s.State), Present: s.Present,
		Labels: s.Labels, Endpoints: s.Endpoints,
	}
	if s.Status != nil {
		status := string(*s.Status)
		r.Status = &status
	}
	if s.ForcedDown != nil {
		r.Forced = *s.ForcedDown
	}
	if s.Incarnation != nil {
		r.Incarnation = *s.Incarnation
	}
	return r
}

// Write is one key that a revision of etcd changed, as the auditor saw it.
type Write struct {
	Key    string `json:"key"`
	Delete bool   `json:"delete,omitzero"`
	Lease  string `json:"lease,omitzero"` // hexadecimal
	Value  string `json:"value,omitzero"`
}
