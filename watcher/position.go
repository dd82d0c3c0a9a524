package watcher

import (
	"fmt"

	"github.com/hbctl/hbctl/registry"
)

// Position says where a watch begins. The zero value is Now.
type Position struct {
	revision int64
	view     *View
	fromView bool
}

// Now begins with a Snapshot of what is there, then tells what happens.
func Now() Position { return Position{} }

// After resumes after a revision whose batch the reader has handled; 0 means Now. No Snapshot is sent: the events follow, and
// a Bookmark with Synced set once all that had happened is told. If etcd has compacted that history, a Reset and a Snapshot
// come instead: what happened in between can't be told. A negative revision is ErrInvalid, one after the cluster's newest is
// ErrFuture.
func After(revision int64) Position { return Position{revision: revision} }

// From resumes from a view that an earlier Watcher gave. Nothing is lost: what history no longer holds is found by comparing
// and comes as synthetic events. A Bookmark with Synced set follows once all that had happened is told. A view of another
// prefix or selection is ErrInvalid, of another cluster ErrOtherCluster, one after the cluster's newest revision ErrFuture.
// The view is not changed.
func From(view *View) Position { return Position{view: view, fromView: true} }

// check refuses what no cluster could satisfy.
func (p Position) check(r rules) error {
	switch {
	case p.revision < 0:
		return fmt.Errorf("%w: revision %d is negative; use 0 for now", ErrInvalid, p.revision)
	case !p.fromView:
		return nil
	case p.view == nil || p.view.cells == nil:
		return fmt.Errorf("%w: the view is empty; use Now", ErrInvalid)
	case p.view.prefix != r.keys.Prefix():
		return fmt.Errorf("%w: the view is of prefix %s, not of %s", ErrInvalid, p.view.prefix, r.keys.Prefix())
	case p.view.selection != r.selection.String():
		return fmt.Errorf("%w: the view was taken with the selection %q, not with %q", ErrInvalid, p.view.selection, r.selection.String())
	}
	return nil
}

// Check says whether a Watcher of this configuration can resume from the view, as far as that can be told without etcd: a view
// of another prefix or selection is ErrInvalid.
func (v *View) Check(cfg Config) error {
	keys, err := registry.NewKeys(cfg.Prefix)
	if err != nil {
		return err
	}
	return From(v).check(rules{keys: keys, selection: selection{cfg.Filter}})
}
