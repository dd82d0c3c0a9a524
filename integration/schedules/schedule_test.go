package schedules_test

import (
	"fmt"
	"strings"
	"time"
)

// A schedule is all that a run is made of.
type schedule struct {
	TTL      time.Duration
	Names    int // each has a process of its own,
	Together int // but for so many, which share one
	Steps    []step
}

// A step is one thing that happens. Numbers mean what its kind makes of them, modulo what there is, so that every step means
// something wherever it stands.
type step struct {
	Kind kind
	Who  int           // a name, or a reader
	How  int           // a variant of the kind
	For  time.Duration // how long it lasts
	Then time.Duration // what passes before the next one
}

// A kind says what happens.
type kind string

const (
	crash        kind = "crash"         // the process of the name is never heard of again
	restart      kind = "restart"       // the same, and another one begins at once on its machine
	leave        kind = "leave"         // Close
	fail         kind = "fail"          // Fail
	update       kind = "update"        // of zone and labels
	cut          kind = "cut"           // the way of its process to etcd: both directions, or one
	suspend      kind = "suspend"       // its machine, as far as CLOCK_BOOTTIME tells
	usurp        kind = "usurp"         // another process takes over while the holder is cut off and may be told to end or change
	takeover     kind = "takeover"      // another process takes over
	contest      kind = "contest"       // another process wants the name, and does not get it from one that lives
	evict        kind = "evict"         // by an operator
	forceDown    kind = "force-down"    // by an operator
	forceUp      kind = "force-up"      // by an operator
	disable      kind = "disable"       // by an operator
	enable       kind = "enable"        // by an operator
	deleteAlive  kind = "delete-alive"  // by mistake
	deleteRecord kind = "delete-record" // by mistake
	deleteBoth   kind = "delete-both"   // by mistake, in one transaction
	deletePrefix kind = "delete-prefix" // by mistake, with all that operators said
	revoke       kind = "revoke"        // the lease
	junk         kind = "junk"          // somebody writes what nobody can read
	compact      kind = "compact"       // all of etcd's history
	restartEtcd  kind = "restart-etcd"  // which begins all leases anew, as a change of leader does
	etcdAway     kind = "etcd-away"     // for a time
	readerCut    kind = "reader-cut"    // the way of a reader to etcd: both directions, or one
	readerView   kind = "reader-view"   // stops, and resumes from its view
	readerBare   kind = "reader-bare"   // stops, and resumes from no more than a revision
	readerSlow   kind = "reader-slow"   // takes its time over a batch
	nothing      kind = "nothing"       // but time passes
)

const (
	maxSteps = 18
	atOnce   = "at the same moment"
)

// kinds is how often each is drawn.
var kinds = map[kind]int{
	crash: 5, restart: 2, leave: 4, fail: 2, update: 4, cut: 9, suspend: 3, usurp: 5, takeover: 2, contest: 3,
	evict: 2, forceDown: 3, forceUp: 3, disable: 2, enable: 2,
	deleteAlive: 5, deleteRecord: 3, deleteBoth: 3, deletePrefix: 2, revoke: 3, junk: 4,
	compact: 6, restartEtcd: 4, etcdAway: 5,
	readerCut: 5, readerView: 7, readerBare: 5, readerSlow: 2, nothing: 4,
}

// String gives the schedule, a step a line.
func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "TTL %v, %d names, %d of them of one process\n", s.TTL, s.Names, s.Together)
	for i, step := range s.Steps {
		fmt.Fprintf(&b, "%2d %s\n", i, step)
	}
	return b.String()
}

// String gives the step and what passes after it.
func (s step) String() string {
	then := atOnce
	if s.Then > 0 {
		then = fmt.Sprintf("%v later", s.Then)
	}
	return fmt.Sprintf("%-13s who=%d how=%d for=%v; %s", s.Kind, s.Who, s.How, s.For, then)
}
