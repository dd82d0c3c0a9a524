package registry

import (
	"slices"
	"sync"
)

// mailbox carries work to whoever is at the state of a Registry: one at a time, in the order of posting. Posting never blocks, so
// it is safe from callbacks that hold somebody else's lock.
type mailbox struct {
	mu    sync.Mutex
	queue []func()
	spare []func() // an empty one, to be filled next
	wake  chan struct{}

	owner  chan struct{} // of the state; full while somebody does the work. No mutex: it may be held for as long as a callback takes
	closed bool          // guarded by owner
}

// mostSpare is how large an empty queue may be and be kept.
const mostSpare = 1 << 12

func newMailbox() *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), owner: make(chan struct{}, 1)}
}

// post leaves work for the loop.
func (m *mailbox) post(f func()) {
	m.add(f)
	m.signal()
}

// do is post by one who may do the work, and others', at once: to wake another goroutine for it would take longer. It says
// whether it did. If somebody is at it, that is the loop's.
func (m *mailbox) do(f func()) (done bool) {
	m.add(f)
	select {
	case m.owner <- struct{}{}:
	default:
		m.signal() // whoever is at it may not have seen it any more
		return false
	}
	defer m.release()
	m.doAll()
	return true
}

// doPosted does what has been posted.
func (m *mailbox) doPosted() {
	m.owner <- struct{}{}
	defer m.release()
	m.doAll()
}

// close waits for whoever is at it, and lets nobody do anything any more.
func (m *mailbox) close() {
	m.owner <- struct{}{}
	defer m.release()
	m.closed = true
}

func (m *mailbox) release() { <-m.owner }

func (m *mailbox) doAll() {
	if m.closed {
		return
	}
	work, done := m.take(), 0
	defer func() { m.giveBack(work, done) }()
	for _, f := range work {
		done++
		f()
	}
}

func (m *mailbox) add(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, f)
}

func (m *mailbox) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	work := m.queue
	m.queue, m.spare = m.spare, nil
	return work
}

// giveBack keeps the room for the next. What was not done, because a callback of the application panicked in somebody's Register, who may
// go on, is left for the loop.
func (m *mailbox) giveBack(work []func(), done int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rest := work[done:]; len(rest) > 0 {
		m.queue = append(slices.Clone(rest), m.queue...)
		m.signal()
	}
	if cap(work) <= mostSpare {
		clear(work)
		m.spare = work[:0]
	}
}
