package watcher

import "time"

// An alarm is a timer for whoever waits for many things, over and over. A goroutine that waits on the channel of a time.Timer puts it
// into the runtime's heap, and takes it out again, each time that it waits; of this one it knows nothing, so it costs only when it is
// set. It may ring early, for what it was set to before: whoever hears it looks at the clock. It is used by one goroutine.
type alarm struct {
	rings chan struct{}
	timer *time.Timer
}

// newAlarm makes an alarm that rings after d; it must be stopped.
func newAlarm(d time.Duration) *alarm {
	a := &alarm{rings: make(chan struct{}, 1)}
	a.timer = time.AfterFunc(d, func() { signal(a.rings) })
	return a
}

func (a *alarm) reset(d time.Duration) { a.timer.Reset(d) }

func (a *alarm) stop() { a.timer.Stop() }
