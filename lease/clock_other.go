//go:build !linux

package lease

import "time"

// boottime is the monotonic clock where no clock that runs in suspend is known: there a suspend goes unseen until the
// first answer of etcd.
func boottime() time.Duration { return time.Since(started) }

var started = time.Now()
