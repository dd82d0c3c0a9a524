package lease

import "time"

// clock reads two clocks at once. Go's own monotonic clock stands still while the machine is suspended, the lease in etcd
// does not: a holder that trusted it alone would wake from a suspend and act for hours on a lease that is long gone.
type clock struct {
	boot func() time.Duration // runs in suspend
}

func newClock(boot func() time.Duration) clock {
	if boot == nil {
		boot = boottime
	}
	return clock{boot: boot}
}

// instant is one moment on both clocks.
type instant struct {
	mono time.Time
	boot time.Duration
}

func (c clock) now() instant { return instant{mono: time.Now(), boot: c.boot()} }

func (i instant) add(d time.Duration) instant {
	return instant{mono: i.mono.Add(d), boot: i.boot + d}
}

func (i instant) isZero() bool { return i.mono.IsZero() }

// until gives what is left until the deadline, by the clock that leaves less.
func (i instant) until(deadline instant) time.Duration {
	return min(deadline.mono.Sub(i.mono), deadline.boot-i.boot)
}

// when gives the moment on Go's clock at which the deadline is reached, as far as can be told now: a suspend brings it nearer.
func (i instant) when(deadline instant) time.Time { return i.mono.Add(i.until(deadline)) }

// skew is what a suspend adds: how far the two clocks have come apart between the instants.
func (i instant) skew(since instant) time.Duration {
	return (i.boot - since.boot) - i.mono.Sub(since.mono)
}
