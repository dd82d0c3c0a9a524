package registry

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// onKey takes over that somebody changed a key of the registration. Revisions tell our own writes from others'.
func (r *Registry) onKey(g *Registration, family Family, e *clientv3.Event) {
	if g.released {
		return
	}
	switch family {
	case FamilyAlive:
		r.onAliveKey(g, e)
	case FamilyRecord:
		r.onRecordKey(g, e)
	case FamilyAdmin:
		r.onAdminKey(g, e)
	}
	r.step(g)
}

func (r *Registry) onAliveKey(g *Registration, e *clientv3.Event) {
	if e.Kv.ModRevision > g.incarnation {
		g.aliveAsOf = max(g.aliveAsOf, e.Kv.ModRevision)
	}
	switch {
	case g.incarnation == 0 || g.leaving || e.Kv.ModRevision <= g.incarnation:
		// Nothing of ours is there to be lost, or it is our own write. An op under way finds aliveAsOf.
	case e.Type == clientv3.EventTypeDelete:
		r.lost(g, errKeyDeleted)
	default:
		g.vanish(ErrReplaced) // act no more at once, then find out who it was
		g.verify = true
	}
}

func (r *Registry) onRecordKey(g *Registration, e *clientv3.Event) {
	switch {
	case e.Kv.ModRevision <= g.recordRev || g.leaving:
		return
	case g.busy:
		g.recordSeen = e.Kv.ModRevision // it may be our own write, whose answer is under way, or come after that
		return
	case g.incarnation == 0:
		return // the next put compares
	}
	g.dirty, g.mend = true, true
	if e.Type == clientv3.EventTypeDelete {
		g.recordRev, g.recordOld = 0, nil
		return
	}
	g.recordRev, g.recordOld = e.Kv.ModRevision, append([]byte{}, e.Kv.Value...) // never nil
	if other, err := DecodeRecord(e.Kv.Value); err == nil {
		g.inherit(other)
	}
}

func (r *Registry) onAdminKey(g *Registration, e *clientv3.Event) {
	if e.Kv.ModRevision <= g.adminAsOf {
		return
	}
	kv := e.Kv
	if e.Type == clientv3.EventTypeDelete {
		kv = nil
	}
	r.learnAdmin(g, kv, e.Kv.ModRevision)
	r.checkEvicted(g)
}

// onWatched takes over that the watches of the registration have begun: what was before them is found by reading.
func (r *Registry) onWatched(g *Registration) {
	if g.released {
		return
	}
	g.verify = true
	r.step(g)
}

// onWatchLost takes over that etcd cancelled a watch of the registration: it is read back, then watched from there.
func (r *Registry) onWatchLost(g *Registration) {
	if g.released || g.ending != nil {
		return
	}
	g.verify, g.rewatch = true, true
	g.holdUntil = time.Now().Add(watchRetry)
	r.step(g)
}
