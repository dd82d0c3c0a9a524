package main

import (
	"io"
	"sync"
)

// spoolStart is how much is gathered before the first of it is written: a short list that fails in the middle prints nothing.
const spoolStart = 64 << 10

// A spool writes what it is given, and never makes the giver wait: a pager that shows one screen must not hold up a list that is
// being read from etcd, or the time for that would run out. While the output keeps up it holds next to nothing.
type spool struct {
	to io.Writer

	mu      sync.Mutex
	change  sync.Cond
	pending []byte
	closed  bool
	err     error
	writing sync.WaitGroup
}

// newSpool makes a spool, which must be closed.
func newSpool(to io.Writer) *spool {
	s := &spool{to: to}
	s.change.L = &s.mu
	s.writing.Go(s.run)
	return s
}

// Write takes p over. It returns the error of an earlier write.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	s.pending = append(s.pending, p...)
	if len(s.pending) >= spoolStart {
		s.change.Signal()
	}
	return len(p), nil
}

func (s *spool) run() {
	var spare []byte
	for {
		s.mu.Lock()
		for len(s.pending) < spoolStart && !s.closed {
			s.change.Wait()
		}
		some := s.pending
		s.pending = spare[:0]
		s.mu.Unlock()
		if len(some) == 0 {
			return
		}
		_, err := s.to.Write(some)
		if cap(some) <= 4*spoolStart {
			spare = some
		} else {
			spare = nil // it was behind, and is no longer
		}
		if err != nil {
			s.mu.Lock()
			s.err, s.pending = err, nil
			s.mu.Unlock()
			return
		}
	}
}

// close writes the rest and returns the first error.
func (s *spool) close() error {
	s.mu.Lock()
	s.closed = true
	s.change.Signal()
	s.mu.Unlock()
	s.writing.Wait()
	return s.err
}

// drop ends without writing the rest.
func (s *spool) drop() {
	s.mu.Lock()
	s.pending = nil
	s.mu.Unlock()
	_ = s.close()
}
