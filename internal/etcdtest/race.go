//go:build race

package etcdtest

import (
	"runtime"
	"sync"
	"testing"
)

// fakes counts the servers in fake time.
var fakes struct {
	sync.Mutex
	running, processors int
}

// oneProcessor has one goroutine run at a time until the test ends. Two timers of one bubble that fire at once, on two
// processors, share what the race detector knows of them, and bring it down: the runtime gives all timers of a bubble one
// context (timer.unlockAndRun in runtime/time.go, seen with go1.26.8 as "ThreadSanitizer: CHECK failed" and as SIGSEGV, in
// one run of the random schedules out of six).
func oneProcessor(t testing.TB) {
	fakes.Lock()
	defer fakes.Unlock()
	if fakes.running++; fakes.running == 1 {
		fakes.processors = runtime.GOMAXPROCS(1)
	}
	t.Cleanup(func() {
		fakes.Lock()
		defer fakes.Unlock()
		if fakes.running--; fakes.running == 0 {
			runtime.GOMAXPROCS(fakes.processors)
		}
	})
}
