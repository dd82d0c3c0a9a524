package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/peer"
)

// stream is one renewal stream that many leases share. Its fields are guarded by the Renewer's mutex.
type stream struct {
	rpc      pb.Lease_LeaseKeepAliveClient
	cancel   context.CancelFunc
	member   string        // address of the etcd member at the other end
	pending  []renewal     // sent or about to be sent, in order: answer i belongs to renewal i
	unsent   []int64       // ids of the tail of pending, not yet with the writer
	toWrite  chan struct{} // 1 slot: the writer has work
	outbox   []int64       // taken by the writer
	answered bool          // at least once
	heard    time.Time     // when the last answer came, by Go's clock
	over     chan struct{} // closed when the stream is no longer the shared one
	err      error         // why
}

// renewal is one request under way.
type renewal struct {
	lease *Lease
	sent  instant // when it was handed to the writer, so never later than it was sent
}

// enqueue takes a lease that is due into the next batch.
func (s *stream) enqueue(l *Lease, now instant) {
	l.outstanding = true
	s.pending = append(s.pending, renewal{lease: l, sent: now})
	s.unsent = append(s.unsent, int64(l.id))
}

// flush hands the batch to the writer.
func (s *stream) flush() {
	if len(s.unsent) == 0 {
		return
	}
	s.outbox = append(s.outbox, s.unsent...)
	s.unsent = s.unsent[:0]
	select {
	case s.toWrite <- struct{}{}:
	default:
	}
}

// stallsAt says when the stream counts as dead: when the oldest request has been unanswered for too long, and nothing else was
// answered meanwhile. One that answers late but goes on is that of an etcd with too much to do: another one, on which all that is
// open is sent once more, would only add to it, and so on until leases are lost. But it may keep nobody waiting for longer than
// an interval.
func (s *stream) stallsAt() (time.Time, bool) {
	if len(s.pending) == 0 {
		return time.Time{}, false
	}
	oldest := s.pending[0]
	ttl := oldest.lease.TTL()
	silent, last := s.heard.Add(stallLimit(ttl)), oldest.sent.mono.Add(interval(ttl))
	if silent.After(last) {
		silent = last
	}
	if at := oldest.sent.mono.Add(stallLimit(ttl)); at.After(silent) {
		return at, true
	}
	return silent, true
}

// errStalled is why a stream that no longer answers is given up.
var errStalled = errors.New("no answer in time")

// abandon gives the stream up: its leases are due at once on the next one. The caller holds the lock.
func (r *Renewer) abandon(s *stream, why error) {
	if r.stream != s {
		return
	}
	r.stream = nil
	s.err = why
	close(s.over)
	now := r.clock.now()
	for _, p := range s.pending {
		if l := p.lease; l.place == shared {
			l.outstanding = false
			l.nextSend = now
			r.put(l, now)
		}
	}
}

// retire gives up a stream that stalled, but goes on listening to it until its successor has answered: where it is this
// process that is starved and not the member, the answers are on their way, and hanging up would only add to the work.
func (r *Renewer) retire(s *stream) {
	if r.retired != nil {
		r.retired.cancel()
	}
	r.retired = s
	r.abandon(s, errStalled)
}

// keepStream keeps one stream open for as long as there are leases, until the context ends.
func (r *Renewer) keepStream(ctx context.Context) {
	retry := newBackoff()
	lastMember := ""
	for {
		if !r.waitForLeases(ctx) {
			return
		}
		s, err := r.open(ctx, lastMember)
		if err == nil {
			lastMember = s.member
			var answered bool
			if answered, err = r.serveStream(ctx, s); answered {
				retry.reset()
			}
		}
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		r.emit(Event{Kind: Reopening, Err: err})
		r.mu.Unlock()
		if retry.wait(ctx, r.client) != nil {
			return
		}
	}
}

// openAfter is how long the stream waits after the first lease: what follows a grant is the put of a key, and opening a stream beside
// it made that take a quarter longer. The first renewal is due later than this at any TTL.
const openAfter = 50 * time.Millisecond

// waitForLeases waits until there is something to renew.
func (r *Renewer) waitForLeases(ctx context.Context) bool {
	for waited := false; ; waited = true {
		r.mu.Lock()
		changed, some := r.changed, r.count > 0
		r.mu.Unlock()
		if some && waited {
			return sleep(ctx, openAfter)
		}
		if some {
			return ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// sleep says whether the context let it sleep.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// openTimeout bounds the opening of a stream: without it the call waits for a connection for as long as gRPC likes.
const openTimeout = time.Second

// otherMemberTries is how often the stream is opened again in the hope of another member than the one that fell silent.
const otherMemberTries = 4

// open opens a stream, preferably not to the member that the last one was with.
func (r *Renewer) open(ctx context.Context, avoid string) (*stream, error) {
	members := len(r.endpoints())
	for try := 1; ; try++ {
		s, err := r.openOnce(ctx)
		if err != nil {
			return nil, err
		}
		if avoid == "" || s.member != avoid || members < 2 || try == otherMemberTries {
			return s, nil
		}
		s.cancel()
	}
}

// endpoints gives the client's endpoints, if it can tell them.
func (r *Renewer) endpoints() []string {
	if c, ok := r.client.(interface{ Endpoints() []string }); ok {
		return c.Endpoints()
	}
	return nil
}

func (r *Renewer) openOnce(ctx context.Context) (*stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(openTimeout, cancel)
	rpc, err := pb.NewLeaseClient(r.client.ActiveConnection()).LeaseKeepAlive(clientv3.WithRequireLeader(ctx))
	if !timer.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening a renewal stream: %w", err)
	}
	s := &stream{rpc: rpc, cancel: cancel, toWrite: make(chan struct{}, 1), over: make(chan struct{})}
	if p, ok := peer.FromContext(rpc.Context()); ok && p.Addr != nil {
		s.member = p.Addr.String()
	}
	return s, nil
}

// serveStream makes the stream the shared one until it fails or stalls, and says why, and whether it ever answered. Its
// goroutines may outlast it, when it is retired.
func (r *Renewer) serveStream(ctx context.Context, s *stream) (answered bool, err error) {
	r.install(s)
	r.running.Go(func() { r.write(s) })
	r.running.Go(func() { r.listen(s) })
	select {
	case <-s.over:
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.answered, s.err
}

// listen reads the stream to its end.
func (r *Renewer) listen(s *stream) {
	err := r.read(s)
	s.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.retired == s {
		r.retired = nil
	}
	if r.stream != s {
		return
	}
	// etcd ends the whole stream for one renewal that it refuses. The answers before it have arrived, so it is the head.
	if Judge(err) == Refused && len(s.pending) > 0 {
		r.quarantine(s.pending[0].lease, err)
	}
	r.abandon(s, err)
	r.loop.Wake()
}

// install makes the stream the shared one, with everything that is due on it.
func (r *Renewer) install(s *stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = s
	r.reschedule(r.clock.now())
	r.loop.Wake()
}

// write sends what the loop hands over. It has a goroutine of its own because a send blocks while the member reads nothing.
func (r *Renewer) write(s *stream) {
	for {
		select {
		case <-s.toWrite:
		case <-s.rpc.Context().Done():
			return
		}
		r.mu.Lock()
		batch := s.outbox
		s.outbox = nil
		r.mu.Unlock()
		for _, id := range batch {
			if s.rpc.Send(&pb.LeaseKeepAliveRequest{ID: id}) != nil {
				return // the reader gets the reason
			}
		}
	}
}

// read hands each answer to its lease.
func (r *Renewer) read(s *stream) error {
	for {
		resp, err := s.rpc.Recv()
		if err != nil {
			return err
		}
		if err := r.take(s, resp); err != nil {
			return err
		}
	}
}

func (r *Renewer) take(s *stream, resp *pb.LeaseKeepAliveResponse) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(s.pending) == 0 || int64(s.pending[0].lease.id) != resp.ID {
		return fmt.Errorf("answer for lease %x is out of order", resp.ID)
	}
	s.answered = true
	head := s.pending[0]
	s.pending = s.pending[1:]
	if r.stream == s {
		head.lease.outstanding = false
		if r.retired != nil {
			r.retired.cancel() // the successor answers
			r.retired = nil
		}
	}
	now := r.clock.now()
	s.heard = now.mono
	r.renewed(head.lease, head.sent, now, time.Duration(resp.TTL)*time.Second)
	if head.lease.heapIndex == 0 {
		r.loop.Wake()
	}
	return nil
}

// quarantine takes a lease that etcd refuses to renew off the shared stream, so that it can't hurt the others.
func (r *Renewer) quarantine(l *Lease, err error) {
	if l.place != shared {
		return
	}
	l.place, l.outstanding = alone, false
	now := r.clock.now()
	l.nextSend = now.add(firstWait)
	r.refuse(l, err)
	r.put(l, now)
}

// refuse tells that etcd refuses to renew the lease, once until it was renewed: it is tried several times a second.
func (r *Renewer) refuse(l *Lease, err error) {
	if !l.refused {
		l.refused = true
		r.emit(Event{Kind: Quarantined, Lease: l, Err: err})
	}
}
