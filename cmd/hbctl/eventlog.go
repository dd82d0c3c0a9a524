package main

import (
	"sync"

	"github.com/rs/zerolog"

	"github.com/hbctl/hbctl/registry"
)

// eventLog writes what happens to a registration to the log. It has a goroutine of its own, so that a stderr which nobody
// reads can't hold up the registration; what there is no room for is counted and dropped.
type eventLog struct {
	log     zerolog.Logger
	events  chan registry.Event
	writing sync.WaitGroup
	dropped int // owned by the one who adds
}

const eventLogSize = 256

func newEventLog(log zerolog.Logger) *eventLog {
	l := &eventLog{log: log, events: make(chan registry.Event, eventLogSize)}
	l.writing.Go(func() {
		for e := range l.events {
			l.write(e)
		}
	})
	return l
}

// add never blocks. It is called by one goroutine.
func (l *eventLog) add(e registry.Event) {
	select {
	case l.events <- e:
	default:
		l.dropped++
	}
}

// close writes what is left and ends the goroutine. Nothing may be added any more.
func (l *eventLog) close() {
	close(l.events)
	l.writing.Wait()
	if l.dropped > 0 {
		l.log.Warn().Int("dropped", l.dropped).Msg("the log could not be written fast enough")
	}
}

// eventWords says what an event means for who runs the service.
var eventWords = map[registry.EventKind]struct {
	level zerolog.Level
	text  string
}{
	registry.Registered:  {zerolog.InfoLevel, "registered"},
	registry.Fenced:      {zerolog.WarnLevel, "fenced: it may not act, as etcd does not say that it still holds its key; still trying"},
	registry.Trusted:     {zerolog.InfoLevel, "trusted again: it still holds its key, as the same incarnation"},
	registry.LostKey:     {zerolog.WarnLevel, "lost its key in etcd; putting it back, if that is still allowed"},
	registry.Unhealthy:   {zerolog.WarnLevel, "unhealthy: withdrawn"},
	registry.Healthy:     {zerolog.InfoLevel, "healthy again"},
	registry.Replaced:    {zerolog.ErrorLevel, "replaced by another process"},
	registry.Evicted:     {zerolog.ErrorLevel, "evicted by an operator"},
	registry.Left:        {zerolog.InfoLevel, "ended, and etcd knows"},
	registry.Retrying:    {zerolog.WarnLevel, "etcd did not take a write; trying again"},
	registry.Quarantined: {zerolog.WarnLevel, "etcd refuses to renew the lease"},
	registry.Stalled:     {zerolog.WarnLevel, "an etcd member does not answer; trying another"},
	registry.Overrun:     {zerolog.WarnLevel, "took longer than its interval"},
	registry.Forced:      {zerolog.WarnLevel, "an operator forced it down"},
	registry.Lifted:      {zerolog.InfoLevel, "an operator lifted the force"},
}

func (l *eventLog) write(e registry.Event) {
	words, known := eventWords[e.Kind]
	if !known {
		words.level, words.text = zerolog.InfoLevel, string(e.Kind)
	}
	line := l.log.WithLevel(words.level)
	if words.level < l.log.GetLevel() {
		return
	}
	line = line.Str("event", string(e.Kind))
	if e.Name != (registry.Name{}) {
		line = line.Str("name", e.Name.String())
	}
	if e.Incarnation != 0 {
		line = line.Int64("incarnation", e.Incarnation)
	}
	if e.Err != nil {
		line = line.Str("why", inWords(e.Err))
	}
	if e.By != 0 {
		line = line.Stringer("by", e.By)
	}
	line.Msg(words.text)
}
