package watcher

import (
	"sync/atomic"

	"github.com/hbctl/hbctl/registry"
)

// A suspect is an incarnation whose alive key went unannounced, and whose down waits for confirmation: the reader was told
// suspect and no more. It does not change, but for the cause, which etcd's answer brings.
type suspect struct {
	alive   stored // the key as the reader knew it
	lease   int64
	process uint64
	deleted int64                          // the revision that deleted the key; 0: it went unseen
	safe    int64                          // where a reader who keeps nothing but a revision can resume without missing this
	cause   atomic.Pointer[registry.Cause] // why the key went, once that is known
}

// suspectOf makes a suspect of what is known of a name.
func suspectOf(c *cell) *suspect {
	return &suspect{alive: c.alive, lease: c.lease, process: c.process}
}

// position gives where a reader can resume without missing the suspect; 0 of a closed one.
func (s *suspect) position() int64 {
	if s == nil {
		return 0
	}
	return s.safe
}

// cell gives the suspect's key the form in which it was known.
func (s *suspect) cell() *cell { return &cell{alive: s.alive, lease: s.lease, process: s.process} }

// sameProcess says that two alive keys were put by the same process, as far as that can be told: by the same registration, or by
// two of one process. Unknown is not the same: another process may have taken the name of a dead one.
func sameProcess(a, b *registry.AliveKey, aProcess, bProcess uint64) bool {
	return a.Holder.SameProcess(b.Holder) || aProcess != 0 && aProcess == bProcess
}
