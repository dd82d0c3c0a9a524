package history

import (
	"cmp"
	"time"
)

// Options say how strict the judge is. The zero value is for a machine that has nothing else to do.
type Options struct {
	// Required are the invariants that must have been put to the test: if one of them is unknown, so is the verdict.
	Required []Invariant
	// Prefix is used where no Begin tells one.
	Prefix string

	Slack      time.Duration // what scheduling and delivery may add to any bound; default 0.5 s
	Mended     time.Duration // from a false delete, or from the return of contact, until the holder is back; default 1 s
	StaleAfter time.Duration // of the watchers; default 3 s
	Back       time.Duration // from Settled until everything is as it was; default 10 s
	Election   time.Duration // until there is a leader again; default 2 s
	Memory     int64         // resident bytes that no process may exceed; default 256 MiB
}

func (o Options) withDefaults() Options {
	o.Slack = cmp.Or(o.Slack, 500*time.Millisecond)
	o.Mended = cmp.Or(o.Mended, time.Second)
	o.StaleAfter = cmp.Or(o.StaleAfter, 3*time.Second)
	o.Back = cmp.Or(o.Back, 10*time.Second)
	o.Election = cmp.Or(o.Election, 2*time.Second)
	o.Memory = cmp.Or(o.Memory, 256<<20)
	return o
}

const (
	// grid is how long etcd leaves an expired lease at most: it looks twice a second.
	grid = 500 * time.Millisecond
	// bonus is what every lease gets on top of its TTL when a leader is elected: the election timeout.
	bonus = time.Second
	// deposed is for how long after its SIGCONT a frozen leader may still revoke what is alive: a batch of revokes waits for
	// up to 7 s, and is then forwarded to the true leader.
	deposed = 8 * time.Second
	// revokes is how many leases etcd revokes in a second, with something to spare.
	revokes = 750
)
