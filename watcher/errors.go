package watcher

import (
	"errors"

	"github.com/hbctl/hbctl/registry"
)

var (
	// ErrInvalid is wrapped by every refusal of what the caller gave: a configuration, a negative revision, a view of another
	// prefix or selection. It is registry.ErrInvalid.
	ErrInvalid = registry.ErrInvalid
	// ErrFuture refuses a position after the newest revision of the cluster. etcd itself would wait for it in silence.
	ErrFuture = errors.New("position is in the future")
	// ErrOtherCluster refuses a view that was taken from another etcd cluster.
	ErrOtherCluster = errors.New("view is of another etcd cluster")
	// ErrUnreachable ends a watch that could not start within Config.StartTimeout. Nothing is known then: it never means that
	// anything is down.
	ErrUnreachable = errors.New("etcd can't be reached")
	// ErrBusy refuses a second Watch while one runs: a Watcher has one position.
	ErrBusy = errors.New("this watcher is in use already")
	// ErrHubEnded ends the readers of a Hub whose Run was ended by its context.
	ErrHubEnded = errors.New("the hub has ended")
)
