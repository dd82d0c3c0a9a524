package registry

import (
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// While it was asked whether all is as it was, an operator forced the instance down and lifted it again, and only the first half of
// that is known when the answer comes. What follows of it is no news then.
func TestStillSoAfterThereAndBack(t *testing.T) {
	t.Parallel()
	var told []EventKind
	r := &Registry{cfg: Config{OnEvent: func(e Event) { told = append(told, e.Kind) }}}
	for _, tt := range []struct {
		asOf   int64
		forced bool
	}{{asOf: 15, forced: true}, {asOf: 25, forced: false}} {
		g := new(Registration)
		g.adminAsOf = 10
		r.learnAdmin(g, &mvccpb.KeyValue{Value: []byte(`{"schema":1,"forced_down":{"reason":"fire"}}`), ModRevision: 20}, 20)
		r.stillSo(g, tt.asOf, 0)
		if g.forced() != tt.forced || g.Status().Forced != tt.forced {
			t.Errorf("asked as of %d: forced %v, told %v", tt.asOf, g.forced(), told)
		}
	}
}
