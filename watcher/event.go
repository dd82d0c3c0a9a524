package watcher

import (
	"time"

	"github.com/hbctl/hbctl/registry"
)

// Kind says what happened to an instance. Readers must expect kinds that they don't know.
type Kind string

// The kinds. Suspect and Cleared belong to a confirmation window (Config.Confirm) and are never told without one. A cleared
// follows a suspect, or comes alone: where a process put its own key anew, and where both were found by comparing.
const (
	Up        Kind = "up"        // an incarnation is up
	Down      Kind = "down"      // the incarnation that was told up is down
	Suspect   Kind = "suspect"   // its key is gone unannounced; not confirmed yet
	Cleared   Kind = "cleared"   // the same process is back under a new incarnation; it was never down
	Updated   Kind = "updated"   // something else in the row changed, or a row that is down appeared
	Enabled   Kind = "enabled"   // an operator enabled it
	Disabled  Kind = "disabled"  // an operator disabled it
	Forgotten Kind = "forgotten" // the row is gone
	Warning   Kind = "warning"   // data that can't be read or can't be right, once a key
)

// Event is one thing that happened to one instance. Zero and nil mean "not known" or "does not apply".
type Event struct {
	Kind Kind
	Name registry.Name // zero for a warning about a key that names no instance
	Zone *string

	// Incarnation is the one that came up, went down or changed: the ModRevision of its alive key.
	Incarnation int64
	// PreviousIncarnation is the one before, where it is known: of an up that replaces, of one after an announced end, and of
	// a cleared, which ends it as a down would.
	PreviousIncarnation int64

	// Cause says why an incarnation ended. Nil of a down: it can't be known, see the package comment.
	Cause       *registry.Cause
	CauseReason *string
	// DeletedRevision is the revision that deleted the alive key, if the end was a deletion that was seen.
	DeletedRevision int64

	// Present is set when an operator's force hides that the alive key came (true) or went (false).
	Present *bool
	// Synthetic marks what was found by comparing, after history was compacted or too long to replay. What happened in
	// between and undid itself is not told.
	Synthetic bool

	// Service is the row after the event; that of the last event of a name in a batch, warnings aside, is what a list at the
	// batch's revision has, but for the cause, which a list can't know. Its UpdatedAt is what the service itself recorded:
	// renewals are seen by etcd alone. It shares memory with the Watcher and must not be changed. A warning has none.
	Service registry.Service
	// Warning is set for the kind Warning only.
	Warning *registry.Warning

	// lease is the one to ask about before the cause is known; 0: no question.
	lease int64
	// suspect is what the event opens, or what it ends: who learns the cause, or knows it.
	suspect *suspect
}

// BatchKind says what a batch is. Readers must expect kinds that they don't know.
type BatchKind string

// The kinds of batches.
const (
	// Snapshot holds what is there: it replaces whatever the reader had.
	Snapshot BatchKind = "snapshot"
	// Changes holds what one revision did, or what a comparison found.
	Changes BatchKind = "changes"
	// Bookmark says that there is nothing new up to its revision.
	Bookmark BatchKind = "bookmark"
	// Reset says that history was lost: the reader must forget what it had, its position too. A Snapshot follows, with the new
	// one.
	Reset BatchKind = "reset"
	// Stale says that contact is lost: nothing is known since. It is not followed by any down that etcd did not tell.
	Stale BatchKind = "stale"
	// Live ends Stale. What happened meanwhile follows.
	Live BatchKind = "live"
)

// Batch is everything of one revision, or a word about the stream itself. Asking for the next batch acknowledges this one.
type Batch struct {
	Kind       BatchKind
	Cluster    uint64    // id of the etcd cluster; 0 before it is known
	Revision   int64     // the position after this batch; 0: none yet. While suspects are open it stays before the oldest of them
	ObservedAt time.Time // when the watcher learned of it, by this process's wall clock; for people

	Events   []Event            // of Changes; sorted by name
	Services []registry.Service // of Snapshot: the selected rows, sorted by name; must not be changed
	Warnings []registry.Warning // of Snapshot

	// Synced marks the batch with which the start is complete, or with which it is again after a Reset: a Snapshot or a
	// Bookmark. Whatever comes later, happened later. It is sent once a start and once a Reset.
	Synced bool

	Since  time.Time // of Stale: the last contact
	Reason error     // of Stale and Reset: why, as far as it is known
}
