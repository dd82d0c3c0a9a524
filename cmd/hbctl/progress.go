package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// progressAfter is how long something may take before a person is told how far it is.
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// progress tells a person at a terminal how far something is that takes long, on a line that is wiped at the end.
type progress struct {
	count   atomic.Int64
	done    chan struct{}
	telling sync.WaitGroup
}

// newProgress begins to tell, on w; nil tells nobody. It must be stopped.
func newProgress(w io.Writer, what string) *progress {
	p := &progress{done: make(chan struct{})}
	if w != nil {
		p.telling.Go(func() { p.tell(w, what) })
	}
	return p
}

func (p *progress) tell(w io.Writer, what string) {
	begin := time.Now()
	next := time.NewTimer(progressAfter)
	defer next.Stop()
	told := false
	for {
		select {
		case <-next.C:
			told = true
			fmt.Fprintf(w, "\r%d %s, %.0fs\x1b[K", p.count.Load(), what, time.Since(begin).Seconds())
			next.Reset(progressEvery)
		case <-p.done:
			if told {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		}
	}
}

func (p *progress) stop() {
	close(p.done)
	p.telling.Wait()
}
