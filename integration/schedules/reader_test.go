package schedules_test

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/watcher"
)

// window is the confirmation window of the reader that asks for one.
const window = 2 * time.Second

type readerKind string

const (
	raw        readerKind = "raw"
	confirming readerKind = "confirming"
	calm       readerKind = "calm" // raw too, and nothing ever happens to it
)

// A reader watches, stops and resumes, and remembers what it has taken.
type reader struct {
	w    *world
	kind readerKind
	net  *etcdtest.Client

	life sync.Mutex // held to stop and to resume
	bare bool       // it will resume from a revision
	stop func()     // nil while it is stopped

	mu      sync.Mutex
	watcher *watcher.Watcher
	log     []heard
	moved   chan struct{} // closed and replaced with each batch
	way     trouble       // its way to etcd is cut
	idle    trouble       // it is stopped, or slow, or begins
	lossy   bool
	naps    time.Duration
}

// heard is one batch that was taken, or the moment at which the reader began anew.
type heard struct {
	batch   watcher.Batch
	at      time.Time // when it was handed over
	resumed string    // of a beginning: from what
	after   int64     // and after which revision
}

const (
	fromView     = "its view"
	fromRevision = "a revision"
)

func newReader(w *world, k readerKind) *reader {
	r := &reader{w: w, kind: k, net: w.server.NewClient(), moved: make(chan struct{})}
	r.idle.begin() // what comes right after the start is not seen as it happens
	r.follow(watcher.Now())
	r.idle.over()
	return r
}

// follow watches from the position on.
func (r *reader) follow(from watcher.Position) {
	cfg := watcher.Config{}
	if r.kind == confirming {
		cfg.Confirm = window
	}
	w, err := watcher.New(r.net.Client, cfg)
	if err != nil {
		r.w.t.Error(err)
		return
	}
	r.mu.Lock()
	r.watcher = w
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for batch, err := range w.Watch(ctx, from) {
			if err != nil {
				r.w.problem("the watch of %s ended: %v", r.kind, err)
				return
			}
			if !r.take(ctx, batch) {
				return // it is handed over again
			}
		}
	}()
	r.stop = func() { cancel(); <-done }
}

// take takes a batch, perhaps slowly. It says no if the reader stops meanwhile.
func (r *reader) take(ctx context.Context, batch watcher.Batch) bool {
	at := time.Now()
	r.w.look()
	r.mu.Lock()
	nap := r.naps
	r.naps = 0
	r.mu.Unlock()
	if nap > 0 {
		r.note(&r.idle, true)
		asleep := time.NewTimer(nap)
		defer asleep.Stop()
		select {
		case <-asleep.C:
		case <-ctx.Done():
		}
		r.note(&r.idle, false)
	}
	if ctx.Err() != nil {
		return false
	}
	r.add(heard{batch: batch, at: at})
	return true
}

func (r *reader) add(h heard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, h)
	close(r.moved)
	r.moved = make(chan struct{})
}

// note notes that a trouble begins, or is over.
func (r *reader) note(t *trouble, begins bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if begins {
		t.begin()
	} else {
		t.over()
	}
}

// cut cuts it off for a time.
func (r *reader) cut(how int, last time.Duration) {
	r.note(&r.way, true)
	r.mu.Lock()
	r.lossy = r.lossy || how/3%2 == 1
	r.mu.Unlock()
	cutGate(r.net.Gate, how)
	r.w.after(last, r.heal)
}

func (r *reader) heal() {
	r.mu.Lock()
	lossy := r.lossy
	r.lossy = false
	r.mu.Unlock()
	if lossy {
		r.net.Gate.Break()
	}
	r.net.Gate.Heal()
	r.note(&r.way, false)
}

// slow makes it take its time over the next batch.
func (r *reader) slow(nap time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.naps = nap
}

// pause stops it. What was handed over and not taken is lost to it.
func (r *reader) pause(bare bool) {
	r.life.Lock()
	defer r.life.Unlock()
	if r.stop == nil {
		return
	}
	r.stop()
	r.stop, r.bare = nil, bare
	r.note(&r.idle, true)
}

// resume lets it go on: from its view, as it was kept as JSON, or after the revision that it was told last.
func (r *reader) resume() {
	r.life.Lock()
	defer r.life.Unlock()
	if r.stop != nil {
		return
	}
	position, how, after := r.position()
	r.add(heard{resumed: how, after: after, at: time.Now()})
	r.w.tally.add("resumed from " + how)
	r.note(&r.idle, false)
	r.follow(position)
}

func (r *reader) position() (from watcher.Position, how string, after int64) {
	view := r.watcher.View()
	if r.bare || view == nil { // stopped before it had one
		if after = r.revision(); after != 0 {
			return watcher.After(after), fromRevision, after
		}
		return watcher.Now(), "nothing", 0
	}
	data, err := json.Marshal(view)
	if err != nil {
		r.w.problem("keeping the view of %s: %v", r.kind, err)
	}
	var kept watcher.View
	if err := json.Unmarshal(data, &kept); err != nil {
		r.w.problem("reading the view of %s: %v", r.kind, err)
	}
	return watcher.From(&kept), fromView, kept.Revision()
}

// revision gives the position of the last batch that was taken.
func (r *reader) revision() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.log) - 1; i >= 0; i-- {
		if r.log[i].resumed == "" {
			return r.log[i].batch.Revision
		}
	}
	return 0
}

// reach waits until it has been told everything up to the revision, and says whether it was in time.
func (r *reader) reach(revision int64, limit time.Duration) bool {
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	for r.revision() < revision {
		r.mu.Lock()
		moved := r.moved
		r.mu.Unlock()
		select {
		case <-moved:
		case <-timeout.C:
			return r.revision() >= revision
		}
	}
	return true
}

// close ends it for good.
func (r *reader) close() {
	r.life.Lock()
	defer r.life.Unlock()
	if r.stop != nil {
		r.stop()
	}
}
