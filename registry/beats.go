package registry

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// beatQuestions bounds how many leases are asked about at once.
const beatQuestions = 32

// beats asks etcd when leases were renewed last, each once, beside whoever needs the answers.
type beats struct {
	ctx    context.Context
	client LeaseAsker
	now    func() time.Time
	leases map[string]*beat
	queue  chan *beat // to the askers
	askers int
	asking sync.WaitGroup
}

// beat is one question and its answer.
type beat struct {
	lease clientv3.LeaseID
	done  chan struct{}                     // closed when it is answered, or will not be
	resp  *clientv3.LeaseTimeToLiveResponse // nil: no answer
	at    time.Time
}

func newBeats(ctx context.Context, client LeaseAsker, now func() time.Time) *beats {
	if now == nil {
		now = time.Now
	}
	return &beats{ctx: ctx, client: client, now: now, leases: make(map[string]*beat), queue: make(chan *beat)}
}

// about asks about the lease of a row, if it is present and nobody did yet. It waits while too many questions are open.
func (b *beats) about(s *Service) *beat {
	if !s.Present || s.Lease == nil {
		return nil
	}
	if asked, known := b.leases[*s.Lease]; known {
		return asked
	}
	id, err := strconv.ParseInt(*s.Lease, 16, 64)
	if err != nil {
		return nil
	}
	asked := &beat{lease: clientv3.LeaseID(id), done: make(chan struct{})}
	b.leases[*s.Lease] = asked
	if b.askers < beatQuestions {
		b.askers++
		b.asking.Go(func() { b.ask(asked) })
		return asked
	}
	select {
	case b.queue <- asked:
	case <-b.ctx.Done():
		close(asked.done)
	}
	return asked
}

// ask asks one question after the other.
func (b *beats) ask(asked *beat) {
	for open := true; open; asked, open = <-b.queue {
		if resp, err := b.client.TimeToLive(b.ctx, asked.lease); err == nil {
			asked.resp = resp
		}
		asked.at = b.now()
		close(asked.done)
	}
}

// stop ends the asking. No more questions may come.
func (b *beats) stop() {
	close(b.queue)
	b.asking.Wait()
}

// answered says that the question need not be waited for.
func (b *beat) answered() bool {
	if b == nil {
		return true
	}
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// AskLastBeats asks etcd when the leases of what is present were renewed last, once for each distinct lease, and fills in UpdatedAt
// and Expiring of these rows, as ListOptions.LastBeat does. A lease that does not answer leaves its rows unknown: they are true
// without it. Now turns an age into a time; default time.Now. It returns the context's error only.
func AskLastBeats(ctx context.Context, client LeaseAsker, services []Service, now func() time.Time) error {
	b := newBeats(ctx, client, now)
	defer b.stop()
	asked := make([]*beat, len(services))
	for i := range services {
		asked[i] = b.about(&services[i])
	}
	for i, q := range asked {
		if q == nil {
			continue
		}
		<-q.done // ends with the context at the latest
		fillLastBeat(&services[i], q.resp, q.at)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("asking for last beats: %w", err)
	}
	return nil
}

// fillLastBeat derives when the lease was last started: now - (granted - remaining). Right after a leader change etcd grants
// more than was asked for, and then the time is not known.
func fillLastBeat(s *Service, resp *clientv3.LeaseTimeToLiveResponse, now time.Time) {
	written := s.UpdatedAt
	s.UpdatedAt = nil
	if resp == nil || resp.GrantedTTL <= 0 || resp.TTL > resp.GrantedTTL {
		return
	}
	s.Expiring = ptr(resp.TTL <= 0)
	beat := now.Add(-time.Duration(resp.GrantedTTL-resp.TTL) * time.Second)
	if written != nil && beat.Before(*written) {
		beat = *written
	}
	if beat.After(now) {
		beat = now
	}
	s.UpdatedAt = ptr(beat.UTC())
	s.TTLSeconds = ptr(resp.GrantedTTL)
}

// An output hands rows over in their order, each when its last beat is known.
type output struct {
	ctx   context.Context // of the questions
	yield func(*Service, error) bool
	beats *beats // nil: nobody asks
	rows  []waitingRow
	over  bool // nobody wants more
	shown Service
}

type waitingRow struct {
	row  Service
	beat *beat
}

// beatAhead is how many rows are read ahead of the one whose last beat is waited for.
const beatAhead = 4096

func (l *Listing) output(ctx context.Context, yield func(*Service, error) bool) *output {
	o := &output{ctx: ctx, yield: yield}
	if l.opts.LastBeat {
		o.beats = newBeats(ctx, l.client, l.opts.Now)
	}
	return o
}

// put takes a row, and says whether more are wanted.
func (o *output) put(s *Service) bool {
	if o.beats == nil {
		o.over = !o.yield(s, nil)
		return !o.over
	}
	o.rows = append(o.rows, waitingRow{*s, o.beats.about(s)})
	for len(o.rows) > beatAhead || len(o.rows) > 0 && o.rows[0].beat.answered() {
		if !o.emit() {
			return false
		}
	}
	return true
}

// emit hands the oldest row over.
func (o *output) emit() bool {
	w := o.rows[0]
	o.rows = o.rows[1:]
	if w.beat != nil {
		<-w.beat.done // ends with the context at the latest
		if o.ctx.Err() != nil {
			return false
		}
		fillLastBeat(&w.row, w.beat.resp, w.beat.at)
	}
	o.shown = w.row
	o.over = !o.yield(&o.shown, nil)
	return !o.over
}

// finish hands over what waits.
func (o *output) finish() {
	for len(o.rows) > 0 && !o.over && o.ctx.Err() == nil {
		o.emit()
	}
}

// stop waits for questions that are still open. The context has ended.
func (o *output) stop() {
	if o.beats != nil {
		o.beats.stop()
	}
}
