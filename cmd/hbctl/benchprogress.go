package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// A benchProgress tells on a terminal, in one line, what is being done; elsewhere nothing.
type benchProgress struct {
	w     io.Writer // nil: nobody looks
	start time.Time

	mu   sync.Mutex
	what string
	stop chan struct{}
	done *task
}

func newBenchProgress(w io.Writer) *benchProgress {
	g := &benchProgress{start: time.Now(), stop: make(chan struct{})}
	if terminal(w) {
		g.w = w
		g.done = inBackground(g.run)
	}
	return g
}

// run writes the line anew every second, for the time in it.
func (g *benchProgress) run() error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			g.draw()
		case <-g.stop:
			return nil
		}
	}
}

func (g *benchProgress) say(what string) {
	g.mu.Lock()
	g.what = what
	g.mu.Unlock()
	g.draw()
}

// eraseLine goes back to the beginning of the line and empties it.
const eraseLine = "\r\x1b[K"

func (g *benchProgress) draw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w == nil || g.what == "" {
		return
	}
	line := fmt.Sprintf("[%v] %s", time.Since(g.start).Round(time.Second), g.what)
	if width := terminalWidth(g.w); len(line) >= width {
		line = line[:max(width-1, 0)]
	}
	fmt.Fprint(g.w, eraseLine+line)
}

// end removes the line.
func (g *benchProgress) end() {
	if g.w == nil {
		return
	}
	close(g.stop)
	_ = g.done.wait() // it has no error
	fmt.Fprint(g.w, eraseLine)
}
