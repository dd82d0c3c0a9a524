package watcher

import (
	"context"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/hbctl/hbctl/registry"
)

// proofRetry is how long after a failed question the next is asked.
const proofRetry = 250 * time.Millisecond

// askOpen is how often the stream is asked for a word while a suspect is open. Only what lies between two words of one stream counts,
// so with less of them a reader whose streams break again and again would wait for ever.
const askOpen = 250 * time.Millisecond

// A confirmation turns open suspects into downs, while one stream runs. That a window is over proves nothing yet: the member
// at the other end may have been cut off from the others since, and answer for an old state in good faith. So the cluster is asked,
// by a read that a quorum stands for, how far it is, and only a stream that has told everything up to there confirms.
type confirmation struct {
	s      *session
	stream *stream
	ctx    context.Context // of the watch
	own    context.Context // of the questions
	cancel context.CancelFunc
	asking sync.WaitGroup

	timer   *time.Timer
	answers chan *pb.ResponseHeader // how far the cluster is; nil: no answer
	waiting bool                    // a question is under way
	after   time.Time               // the next one is not asked before
	woken   bool                    // the stream was asked for a word, and none came yet
	due     []*watched              // whose windows were over when the question was asked
	proof   int64                   // the answer; 0: none
}

func newConfirmation(ctx context.Context, s *session, st *stream) *confirmation {
	c := &confirmation{s: s, stream: st, ctx: ctx, timer: time.NewTimer(time.Hour), answers: make(chan *pb.ResponseHeader, 1)}
	c.own, c.cancel = context.WithCancel(ctx)
	c.timer.Stop()
	return c
}

// stop waits until nothing of it runs.
func (c *confirmation) stop() {
	c.timer.Stop()
	c.cancel()
	c.asking.Wait()
}

// word notes that the stream said something.
func (c *confirmation) word() { c.woken = false }

// wake asks for a word: a window counts only up to the last one.
func (c *confirmation) wake() {
	c.woken = true
	c.stream.ask()
}

// advance does what can be done now, and sets the timer for what comes next.
func (c *confirmation) advance(now time.Time) {
	if c.proof != 0 && c.s.head.revision >= c.proof {
		c.confirm()
	}
	c.timer.Stop()
	if c.waiting || c.proof != 0 {
		return
	}
	if c.after.After(now) {
		c.timer.Reset(c.after.Sub(now))
		return
	}
	if c.due = c.s.vigil.due(); len(c.due) > 0 {
		c.ask()
		return
	}
	if left, open := c.s.vigil.wait(now); open && !c.woken {
		c.timer.Reset(min(left, askOpen))
	}
}

// ask asks the cluster how far it is, without holding up the stream.
func (c *confirmation) ask() {
	c.waiting = true
	c.asking.Go(func() {
		header, err := c.s.look(c.own, questionTimeout)
		if err != nil {
			header = nil
		}
		c.answers <- header
	})
}

// take takes over the answer.
func (c *confirmation) take(header *pb.ResponseHeader, now time.Time) {
	c.waiting = false
	if header == nil {
		c.after = now.Add(proofRetry)
		return
	}
	c.s.vigil.reign(header.RaftTerm)
	c.proof = header.Revision
	if c.s.head.revision < c.proof {
		c.stream.ask() // it need not be about our keys
	}
}

// confirm tells the downs of those that did not come back, and whose windows did not begin again or grow meanwhile.
func (c *confirmation) confirm() {
	names := make([]registry.Name, 0, len(c.due))
	for _, w := range c.due {
		if !w.closed && c.s.vigil.over(w) {
			names = append(names, w.name)
		}
	}
	c.due, c.proof = nil, 0
	if len(names) > 0 {
		c.s.tell(c.ctx, c.s.rules.confirmed(c.s.head, names), 0)
	}
}
