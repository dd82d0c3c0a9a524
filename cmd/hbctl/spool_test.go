package main

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gated is an output that takes nothing until it is opened.
type gated struct {
	gate chan struct{}
	err  error

	mu    sync.Mutex
	taken bytes.Buffer
}

func (g *gated) Write(p []byte) (int, error) {
	<-g.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.taken.Write(p)
}

func (g *gated) text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.taken.String()
}

func TestSpool(t *testing.T) {
	piece := strings.Repeat("x", 1000)
	write := func(t *testing.T, s *spool, pieces int) {
		t.Helper()
		for range pieces {
			if _, err := s.Write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, try := range map[string]func(*testing.T, *gated, *spool){
		"who writes is never held up": func(t *testing.T, g *gated, s *spool) {
			write(t, s, 1000)
			close(g.gate)
			if err := s.close(); err != nil || g.text() != strings.Repeat(piece, 1000) {
				t.Errorf("%d bytes came out, %v", len(g.text()), err)
			}
		},
		"the first piece comes before the last": func(t *testing.T, g *gated, s *spool) {
			close(g.gate)
			write(t, s, 100)
			synctest.Wait()
			if g.text() == "" {
				t.Error("nothing came out")
			}
			_ = s.close()
		},
		"of a short one that is dropped nothing is written": func(t *testing.T, g *gated, s *spool) {
			close(g.gate)
			write(t, s, 10)
			synctest.Wait()
			if s.drop(); g.text() != "" {
				t.Errorf("%d bytes came out", len(g.text()))
			}
		},
		"an error ends it": func(t *testing.T, g *gated, s *spool) {
			g.err = errors.New("full")
			write(t, s, 100)
			close(g.gate) // not before, or the error may come while the pieces do
			synctest.Wait()
			if _, err := s.Write([]byte(piece)); !errors.Is(err, g.err) {
				t.Errorf("%v", err)
			}
			if err := s.close(); !errors.Is(err, g.err) {
				t.Errorf("%v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &gated{gate: make(chan struct{})}
				try(t, g, newSpool(g))
			})
		})
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out, "instances read")
		p.count.Add(7)
		time.Sleep(progressAfter / 2)
		p.stop()
		if out.Len() > 0 {
			t.Errorf("of what is short it told %q", &out)
		}
		p = newProgress(&out, "instances read")
		p.count.Add(12000)
		time.Sleep(progressAfter + time.Millisecond)
		p.stop()
		if want := "\r12000 instances read, 1s\x1b[K\r\x1b[K"; out.String() != want {
			t.Errorf("told %q, want %q", &out, want)
		}
		p = newProgress(nil, "")
		p.stop()
	})
}
