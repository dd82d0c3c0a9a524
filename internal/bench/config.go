package bench

import (
	"errors"
	"os/exec"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrData says that there are keys under the prefix already: what the bench would remove at its end must be its own.
var ErrData = errors.New("there are keys under the prefix already")

// Config says what to measure, and on what.
type Config struct {
	Client *clientv3.Client // what is measured goes through it
	Writer *clientv3.Client // writes what is watched, over a connection of its own
	Prefix string           // with a trailing slash; nothing may be under it
	N      int              // instances, leases, events
	Works  []string         // some of Works(); nil: all

	// Duration bounds how long one measurement of what goes on for a time may take: renew and watch.
	Duration time.Duration
	// Repeats is how often each is measured, ours and raw each.
	Repeats int

	// Own says that the etcd is there for the bench alone: then its history is compacted between measurements.
	Own bool
	// PID is etcd's process, if it is on this machine; 0: not known.
	PID int
	// List makes the command that lists a prefix as JSON; nil leaves that out.
	List func(prefix string) *exec.Cmd
	// Progress, if set, is told what is being done. It is called by one goroutine at a time.
	Progress func(what string)
}

func (c Config) does(work string) bool { return c.Works == nil || slices.Contains(c.Works, work) }

const (
	atOnce      = 64  // calls of the plain client that are under way at once
	registering = 512 // calls of Register that are under way at once

	renewTTL  = 30 * time.Second
	deathTTL  = 5 * time.Second
	crowdTTL  = 10 * time.Minute // of leases that are not to end; the bench revokes them
	watchTime = 3 * time.Second  // at most, for one measurement

	crowdLease  = 1000 // instances on one lease of a list, as a registry has it
	deathLease  = 100  // instances on one lease of a mass death
	watchNames  = 1000 // at most, in a watch
	deaths      = 200  // at most, that are timed one by one
	massDeaths  = 10_000
	singles     = 100 // at most, that are registered one by one
	singlePause = 5 * time.Millisecond
	askedLeases = 5000 // at most, whose last beat is asked for
)
