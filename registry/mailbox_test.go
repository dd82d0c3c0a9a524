package registry

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// However work is posted: all of it is done, once, by one at a time, and in the order of each who posted it.
func TestMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const posters, each = 8, 500
		m := newMailbox()
		stop := make(chan struct{})
		var loop, posting sync.WaitGroup
		loop.Go(func() {
			for {
				m.doPosted()
				select {
				case <-m.wake:
				case <-stop:
					return
				}
			}
		})
		var at atomic.Int32
		var done [posters]int // no lock: that one at a time does the work is what is tested
		for p := range posters {
			posting.Go(func() {
				for i := range each {
					work := func() {
						if at.Add(1) != 1 {
							t.Error("two are at it")
						}
						if done[p] != i {
							t.Errorf("poster %d: %d came as number %d", p, i, done[p])
						}
						done[p]++
						at.Add(-1)
					}
					if i%2 == 0 {
						m.post(work)
					} else {
						m.do(work)
					}
				}
			})
		}
		posting.Wait()
		synctest.Wait()
		for p, n := range done {
			if n != each {
				t.Errorf("poster %d: %d of %d done", p, n, each)
			}
		}
		m.close()
		m.do(func() { t.Error("it was done after the end") })
		m.post(func() { t.Error("it was done after the end") })
		synctest.Wait()
		close(stop)
		loop.Wait()
	})
}

// Work that posts work, and even wants to do it at once, must not wait for itself.
func TestMailboxFromWithin(t *testing.T) {
	m := newMailbox()
	var told []string
	if !m.do(func() {
		told = append(told, "first")
		if m.do(func() { told = append(told, "second") }) {
			t.Error("it was done in the middle of another")
		}
	}) {
		t.Error("nobody was at it, and it was not done")
	}
	<-m.wake
	m.doPosted()
	if len(told) != 2 || told[1] != "second" {
		t.Errorf("done: %v", told)
	}
}

// A callback of the application that panics, in the Register of somebody who goes on all the same, takes no work of others with it.
func TestMailboxAfterAPanic(t *testing.T) {
	m := newMailbox()
	var did []int
	m.add(func() { did = append(did, 1) })
	m.add(func() { panic("of the application") })
	m.add(func() { did = append(did, 2) })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		m.do(func() { did = append(did, 3) })
	}()
	select {
	case <-m.wake:
	default:
		t.Error("the loop is not woken")
	}
	m.post(func() { did = append(did, 4) })
	m.doPosted()
	if !slices.Equal(did, []int{1, 2, 3, 4}) {
		t.Errorf("done: %v", did)
	}
}

// The same of the answers of one transaction.
func TestAnswersAfterAPanic(t *testing.T) {
	r := &Registry{mail: newMailbox()}
	told := 0
	good, bad := &op{}, &op{}
	good.answered = func(outcome, error) { told++ }
	bad.answered = func(outcome, error) { panic("of the application") }
	func() {
		defer func() { _ = recover() }()
		r.answered([]*op{good, bad, good, good})
	}()
	r.mail.doPosted()
	if told != 3 {
		t.Errorf("%d of 3 told", told)
	}
}
