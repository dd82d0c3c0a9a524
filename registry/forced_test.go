package registry_test

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// What an operator said holds when the lease is lost and all comes back under a new one: nobody is told that it was lifted, and put
// again.
func TestForcedStaysForcedThroughTheLossOfTheLease(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		r.put(t, "/hb/admin/vol/node1", `{"schema":1,"forced_down":{"reason":"fire"}}`)
		wait(t, time.Second, "it hears of it", func() bool { return g.Status().Forced })
		before := g.Incarnation()
		if _, err := r.client.Revoke(t.Context(), clientv3.LeaseID(g.Status().Lease)); err != nil {
			t.Fatal(err)
		}
		wait(t, 5*time.Second, "it is back", func() bool { return g.Incarnation() > before })
		time.Sleep(time.Minute)
		if !g.Status().Forced || p.count(registry.Forced) != 1 || p.count(registry.Lifted) != 0 {
			t.Errorf("forced %v; told %d times that it is and %d times that it is not", g.Status().Forced, p.count(registry.Forced), p.count(registry.Lifted))
		}
		r.delete(t, "/hb/admin/vol/node1")
		wait(t, time.Second, "it hears that it is lifted", func() bool { return !g.Status().Forced })
	})
}

// The same when the word is taken back while there is no lease, and nobody is watching for it.
func TestLiftedWhileTheLeaseIsLost(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		g := p.register(t, "vol/node1", 2*time.Second)
		r.put(t, "/hb/admin/vol/node1", `{"schema":1,"forced_down":{"reason":"fire"}}`)
		wait(t, time.Second, "it hears of it", func() bool { return g.Status().Forced })
		before := g.Incarnation()
		p.net.Gate.Cut()
		time.Sleep(10 * time.Second)
		r.delete(t, "/hb/admin/vol/node1")
		p.net.Gate.Heal()
		wait(t, 10*time.Second, "it is back", func() bool { return g.Incarnation() > before })
		wait(t, time.Second, "it hears that it is lifted", func() bool { return !g.Status().Forced })
	})
}
