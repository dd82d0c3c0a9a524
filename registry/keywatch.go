package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/lease"
)

const (
	// watchProbe is the time between two questions whether the watch stream is alive and complete.
	watchProbe = time.Second
	// watchSilence is how long an unanswered question counts as a slow member and not as a dead one.
	watchSilence = 2 * time.Second
	// watchRetry bounds the wait before the stream is opened again.
	watchRetry = 500 * time.Millisecond
	// watchesPerName is record, alive and admin key.
	watchesPerName = 3
)

// keyWatch watches the keys of all registrations of a process on one raw watch stream: one small server-side watch a key, no
// goroutine each, and never the whole prefix, which may not even be readable to a service. What it tells is a reason to
// look, not proof.
type keyWatch struct {
	client Client
	mail   *mailbox
	onKey  func(*Registration, Family, *clientv3.Event)
	onLost func(*Registration)

	mu      sync.Mutex
	targets map[int64]*target
	number  int64 // of the last target
	stream  *watchStream
	changed chan struct{} // 1 slot
}

// target is the keys of one registration.
type target struct {
	g      *Registration
	from   int64 // revision to watch from
	stream *watchStream
	acked  [watchesPerName]int // round of the stream in which etcd confirmed the watch; 0: not yet
}

// creation is one watch that was asked for.
type creation struct {
	t     *target
	which int
}

// watchStream is one stream. Its fields are guarded by the keyWatch's mutex.
type watchStream struct {
	rpc      pb.Watch_WatchClient
	cancel   context.CancelFunc
	outbox   []*pb.WatchRequest
	toWrite  chan struct{}
	round    int        // questions sent
	answered int        // questions answered
	asked    int        // times that they were asked: an open question is asked again
	creating []creation // watches that are not confirmed yet, in the order of the requests
	progress int64      // revision of the last answer: all watches confirmed before its question are complete up to it
	askedAt  time.Time
}

func newKeyWatch(client Client, mail *mailbox, onKey func(*Registration, Family, *clientv3.Event), onLost func(*Registration)) *keyWatch {
	return &keyWatch{
		client: client, mail: mail, onKey: onKey, onLost: onLost,
		targets: make(map[int64]*target), changed: make(chan struct{}, 1),
	}
}

// add watches the keys of the registration from the revision on. For one that is watched already it does nothing.
func (w *keyWatch) add(g *Registration, from int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.targets[g.number] != nil {
		return
	}
	w.number++ // never used again: etcd remembers the ids of watches that it cancelled itself
	g.number = w.number
	t := &target{g: g, from: from}
	w.targets[g.number] = t
	if w.stream != nil {
		w.create(t)
	}
	w.signal()
}

func (w *keyWatch) remove(g *Registration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.targets[g.number]
	if t == nil {
		return
	}
	delete(w.targets, g.number)
	if w.stream == nil || t.stream != w.stream {
		return
	}
	for i := range int64(watchesPerName) {
		w.stream.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
			CancelRequest: &pb.WatchCancelRequest{WatchId: g.number*watchesPerName + i},
		}})
	}
}

func (w *keyWatch) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

var watchedFamilies = [watchesPerName]Family{FamilyAlive, FamilyRecord, FamilyAdmin}

// create asks for the watches of one registration. The caller holds the lock.
func (w *keyWatch) create(t *target) {
	t.stream, t.acked = w.stream, [watchesPerName]int{}
	for i, key := range [watchesPerName]string{t.g.keys.alive, t.g.keys.record, t.g.keys.admin} {
		w.stream.creating = append(w.stream.creating, creation{t, i})
		w.stream.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{
				Key: []byte(key), StartRevision: t.from, WatchId: t.g.number*watchesPerName + int64(i),
			},
		}})
	}
}

func (s *watchStream) send(req *pb.WatchRequest) {
	s.outbox = append(s.outbox, req)
	select {
	case s.toWrite <- struct{}{}:
	default:
	}
}

// run keeps one stream open for as long as there is something to watch, until the context ends.
func (w *keyWatch) run(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, watchRetry
	for {
		if !w.waitForTargets(ctx) {
			return
		}
		s, err := w.open(ctx)
		if err == nil {
			err = w.serve(s, wait) // whatever it was, the next stream goes on where this one ended
		}
		if errors.Is(err, errRefused) {
			w.refreshToken(ctx)
		}
		timer := time.NewTimer(min(wait.NextBackOff(), watchRetry))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		lease.Reconnect(w.client)
	}
}

// refreshToken makes the client notice that its token is outdated: it does so for simple calls, and not for streams.
func (w *keyWatch) refreshToken(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, watchSilence)
	defer cancel()
	key := "\x00"
	w.mu.Lock()
	for _, t := range w.targets {
		key = t.g.keys.alive
		break
	}
	w.mu.Unlock()
	_, _ = w.client.Get(ctx, key) // only its side effect matters
}

func (w *keyWatch) waitForTargets(ctx context.Context) bool {
	for {
		w.mu.Lock()
		some := len(w.targets) > 0
		w.mu.Unlock()
		if some {
			return ctx.Err() == nil
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (w *keyWatch) open(ctx context.Context) (*watchStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(watchSilence, cancel)
	rpc, err := pb.NewWatchClient(w.client.ActiveConnection()).Watch(clientv3.WithRequireLeader(ctx))
	if !timer.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &watchStream{rpc: rpc, cancel: cancel, toWrite: make(chan struct{}, 1)}, nil
}

// serve uses the stream until it fails or falls silent.
func (w *keyWatch) serve(s *watchStream, wait *backoff.ExponentialBackOff) error {
	w.install(s)
	var helpers sync.WaitGroup
	helpers.Go(func() { w.write(s) })
	helpers.Go(func() { w.keepProbing(s) })
	defer helpers.Wait()
	defer s.cancel()
	defer w.uninstall(s)
	for {
		resp, err := s.rpc.Recv()
		if err != nil {
			return err
		}
		if err := w.handle(s, resp); err != nil {
			return err
		}
		wait.Reset()
	}
}

func (w *keyWatch) install(s *watchStream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream = s
	for _, t := range w.targets {
		w.create(t)
	}
}

// uninstall notes how far each target got on the stream, so that the next one misses nothing.
func (w *keyWatch) uninstall(s *watchStream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream = nil
	for _, t := range w.targets {
		if t.stream == s && t.covered(s) {
			t.from = max(t.from, s.progress)
		}
	}
}

// covered says that etcd confirmed all watches of the target before the last answered question was asked. Only then does its
// revision hold for them. Where questions were asked again an answer may be one to an older question, so more of them are
// waited for.
func (t *target) covered(s *watchStream) bool {
	slack := max(0, s.asked-s.round)
	for _, round := range t.acked {
		if round == 0 || round+slack > s.answered {
			return false
		}
	}
	return s.progress > 0
}

// write sends requests.
func (w *keyWatch) write(s *watchStream) {
	for {
		select {
		case <-s.toWrite:
		case <-s.rpc.Context().Done():
			return
		}
		w.mu.Lock()
		batch := s.outbox
		s.outbox = nil
		w.mu.Unlock()
		for _, req := range batch {
			if s.rpc.Send(req) != nil {
				return // the reader gets the reason
			}
		}
	}
}

var (
	errOldAnswer = errors.New("etcd went back in time")
	errUnasked   = errors.New("etcd confirmed a watch that nobody asked for")
	errRefused   = errors.New("etcd refused a watch")
)

// handle takes over one answer.
func (w *keyWatch) handle(s *watchStream, resp *pb.WatchResponse) error {
	if resp.Created {
		lost, err := w.confirm(s, resp)
		if lost != nil {
			w.mail.post(func() { w.onLost(lost.g) })
		}
		return err
	}
	if resp.WatchId < 0 && !resp.Canceled {
		return w.takeProgress(s, resp)
	}
	w.mu.Lock()
	t := w.targets[resp.WatchId/watchesPerName]
	if t == nil || t.stream != s {
		w.mu.Unlock()
		return nil
	}
	which := resp.WatchId % watchesPerName
	if resp.Canceled {
		// Compacted or no longer permitted: the registration is read back and then watched from there.
		delete(w.targets, t.g.number)
		w.mu.Unlock()
		w.mail.post(func() { w.onLost(t.g) })
		return nil
	}
	w.mu.Unlock()
	if len(resp.Events) > 0 {
		w.deliver(t, watchedFamilies[which], resp.Events)
	}
	return nil
}

// confirm takes over that a watch was created, or refused: etcd refuses without naming the watch, so order tells which. One
// that may not be watched is given up, to be read instead; anything else that is refused, as an outdated token, is cured by
// another stream.
func (w *keyWatch) confirm(s *watchStream, resp *pb.WatchResponse) (lost *target, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(s.creating) == 0 {
		return nil, errUnasked
	}
	c := s.creating[0]
	s.creating = s.creating[1:]
	switch {
	case !resp.Canceled:
		if c.t.stream == s {
			c.t.acked[c.which] = s.round + 1
		}
		return nil, nil
	case w.targets[c.t.g.number] != c.t:
		return nil, nil
	case strings.Contains(resp.CancelReason, rpctypes.ErrorDesc(rpctypes.ErrGRPCPermissionDenied)):
		delete(w.targets, c.t.g.number)
		return c.t, nil
	default:
		return nil, fmt.Errorf("%w: %s", errRefused, resp.CancelReason)
	}
}

func (w *keyWatch) takeProgress(s *watchStream, resp *pb.WatchResponse) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.round == s.answered || resp.Header == nil {
		return nil // a notice of etcd's own
	}
	if resp.Header.Revision < s.progress {
		return errOldAnswer
	}
	s.answered, s.progress = s.round, resp.Header.Revision
	return nil
}

func (w *keyWatch) deliver(t *target, family Family, events []*mvccpb.Event) {
	w.mail.post(func() {
		for _, e := range events {
			w.onKey(t.g, family, e)
		}
	})
}
