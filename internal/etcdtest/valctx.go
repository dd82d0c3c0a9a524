package etcdtest

import (
	_ "unsafe" // for go:linkname

	_ "go.etcd.io/etcd/client/v3" // declares the variable below
)

// valCtxCh is a channel of the etcd client that is never closed: every watch of the
// client waits on it. It is made when the program starts, outside of any synctest
// bubble, and a goroutine that waits on a channel from outside keeps the clock of its
// bubble still. A nil channel blocks for ever as well, and belongs to nobody.
//
//go:linkname valCtxCh go.etcd.io/etcd/client/v3.valCtxCh
var valCtxCh chan struct{}

// watchInFakeTime tells whether the variable was found: the client's initialisation
// has run before this package's, so it is not nil unless etcd has renamed it.
var watchInFakeTime = valCtxCh != nil

func init() { valCtxCh = nil }
