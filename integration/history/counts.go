package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Counts is what a history contained.
type Counts struct {
	Records, Revisions, Incarnations int

	Expiries      int // ends of leases whose holder was dead, frozen or cut off
	Fences        int
	FalseDeletes  int // keys that vanished though their holder lived
	Compactions   int
	Resumes       int // of readers, from a view or a revision
	Stales        int
	Resets        int
	EtcdRestarts  int
	Restarts      int // of holders and watchers
	Kills         int // of holders and watchers
	Freezes       int // of holders and watchers
	Leaves        int // announced ends
	Takeovers     int
	Evictions     int
	Suspects      int
	Cleared       int
	ConfirmedDown int
	Ups, Downs    int // told to raw readers
	Synthetic     int // batches
	Batches       int
	Lists         int
	Questions     int            // of Valid
	Faults        map[string]int // by name
}

// take counts all that can be counted without judging.
func (k *Counts) take(c *checker) {
	k.Records, k.Revisions, k.Incarnations = len(c.all), len(c.truth.steps), len(c.truth.lives)
	k.Faults = make(map[string]int)
	spawned := make(map[string]bool)
	for _, rec := range c.all {
		switch rec.Kind {
		case Fenced:
			k.Fences++
		case Valid:
			k.Questions++
		case Listed:
			k.Lists++
		case Watching:
			if rec.From != "now" {
				k.Resumes++
			}
		case Handed:
			k.batch(rec.Batch)
		case FaultOn:
			k.Faults[rec.Fault]++
		case Spawn, Killed, Stopped:
			k.signal(rec, spawned)
		}
	}
	k.Compactions = k.Faults["F20"]
}

func (k *Counts) signal(rec *Record, spawned map[string]bool) {
	place, _, _ := strings.Cut(rec.Target, "#") // "holder3#2" is the second process in the place of holder3
	switch member := isMember(rec.Target); {
	case rec.Kind == Spawn && spawned[place] && member:
		k.EtcdRestarts++
	case rec.Kind == Spawn && spawned[place]:
		k.Restarts++
	case rec.Kind == Killed && !member:
		k.Kills++
	case rec.Kind == Stopped && !member:
		k.Freezes++
	}
	spawned[place] = spawned[place] || rec.Kind == Spawn
}

func (k *Counts) batch(b *Batch) {
	if b == nil {
		return
	}
	k.Batches++
	switch b.Kind {
	case "stale":
		k.Stales++
	case "reset":
		k.Resets++
	case "changes":
		if synthetic(b) {
			k.Synthetic++
		}
	}
}

// lives counts how incarnations ended.
func (k *Counts) lives(all []*life) {
	for _, l := range all {
		switch {
		case l.how == announced:
			k.Leaves++
		case l.how == replaced:
			k.Takeovers++
		case l.how == evicted:
			k.Evictions++
		case l.how == gone && l.why.expired():
			k.Expiries++
		case l.how == gone && l.why.mistaken():
			k.FalseDeletes++
		}
	}
}

// String gives all counts in one line.
func (k Counts) String() string {
	var b strings.Builder
	for _, x := range k.List() {
		fmt.Fprintf(&b, "%d %s, ", x.N, x.What)
	}
	b.WriteString("faults")
	for _, f := range slices.Sorted(maps.Keys(k.Faults)) {
		fmt.Fprintf(&b, " %s:%d", f, k.Faults[f])
	}
	return b.String()
}

// Count is one of the counts, with its name for people.
type Count struct {
	What string
	N    int
}

// List gives all counts but those of the faults.
func (k *Counts) List() []Count {
	out := make([]Count, 0, len(countNames))
	for i, n := range k.fields() {
		out = append(out, Count{countNames[i], *n})
	}
	return out
}

// Add sums up the counts of several histories.
func (k *Counts) Add(other Counts) {
	sum := k.fields()
	for i, n := range other.fields() {
		*sum[i] += *n
	}
	if k.Faults == nil {
		k.Faults = make(map[string]int)
	}
	for f, n := range other.Faults {
		k.Faults[f] += n
	}
}

var countNames = []string{
	"records", "revisions", "incarnations", "expiries", "fences", "false deletes", "compactions",
	"resumes", "stales", "resets", "etcd restarts", "restarts", "kills", "freezes",
	"leaves", "takeovers", "evictions", "suspects", "cleared", "confirmed downs", "ups",
	"downs", "synthetic batches", "batches", "lists", "questions of Valid",
}

// fields gives the counts in the order of their names.
func (k *Counts) fields() []*int {
	return []*int{
		&k.Records, &k.Revisions, &k.Incarnations, &k.Expiries, &k.Fences, &k.FalseDeletes, &k.Compactions,
		&k.Resumes, &k.Stales, &k.Resets, &k.EtcdRestarts, &k.Restarts, &k.Kills, &k.Freezes,
		&k.Leaves, &k.Takeovers, &k.Evictions, &k.Suspects, &k.Cleared, &k.ConfirmedDown, &k.Ups,
		&k.Downs, &k.Synthetic, &k.Batches, &k.Lists, &k.Questions,
	}
}
