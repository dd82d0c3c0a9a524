package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	// maxCreating is for how many names watches are asked for at once: while etcd creates one it does nothing else for the stream.
	maxCreating, slowCreating = 256, 16
	// burst is how many registrations within burstSpan make a burst: their watches wait until it is over, or for burstLimit at
	// most. To create them costs etcd as much as the registrations themselves.
	burst      = 100
	burstSpan  = 100 * time.Millisecond
	burstLimit = time.Second
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
	onSeen func(*Registration) // its watches have begun: what was before them is to be looked at
	onLost func(*Registration)

	mu      sync.Mutex
	targets map[int64]*target
	number  int64 // of the last target
	stream  *watchStream
	waiting []*target // to be watched on the stream
	pace    pace
	changed chan struct{} // 1 slot
}

// target is the keys of one registration.
type target struct {
	g      *Registration
	stream *watchStream
	begun  int // how many of its watches etcd has confirmed on the stream
}

// watchStream is one stream. Its fields are guarded by the keyWatch's mutex.
type watchStream struct {
	rpc      pb.Watch_WatchClient
	cancel   context.CancelFunc
	outbox   []*pb.WatchRequest
	toWrite  chan struct{}
	asking   bool      // a question is open
	askedAt  time.Time // since when
	creating []*target // whose watches are not confirmed yet, one entry a watch, in the order of the requests
	progress int64     // revision of the last answer
}

func newKeyWatch(r *Registry) *keyWatch {
	return &keyWatch{
		client: r.client, mail: r.mail, onKey: r.onKey, onSeen: r.onWatched, onLost: r.onWatchLost,
		targets: make(map[int64]*target), changed: make(chan struct{}, 1),
	}
}

// add watches the keys of the registration. For one that is watched already it does nothing.
func (w *keyWatch) add(g *Registration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.targets[g.number] != nil {
		return
	}
	w.number++ // never used again: etcd remembers the ids of watches that it cancelled itself
	g.number = w.number
	t := &target{g: g}
	w.targets[g.number] = t
	if w.stream != nil {
		w.waiting = append(w.waiting, t)
		w.stream.poke()
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
	if w.stream == nil || t.stream != w.stream { // not asked for yet, or on a stream that is over
		return
	}
	for i := range int64(watchesPerName) {
		w.stream.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{
			CancelRequest: &pb.WatchCancelRequest{WatchId: g.number*watchesPerName + i},
		}})
	}
}

// expect says that one more is going to be added, and hears whether very many are.
func (w *keyWatch) expect(now time.Time) (burst bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pace.note(now)
	return w.pace.on(now)
}

func (w *keyWatch) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

var watchedFamilies = [watchesPerName]Family{FamilyAlive, FamilyRecord, FamilyAdmin}

// create asks for the watches of one registration, from now on: what was before is read once they have begun. A watch from an
// older revision would have to catch up first, and etcd does that for 5,000 watches a second, with the whole store locked, and
// answers no question meanwhile: 20,000 registrations at once held it up for ten seconds. The caller holds the lock.
func (w *keyWatch) create(t *target) {
	t.stream, t.begun = w.stream, 0
	keys := t.g.keys()
	for i, key := range [watchesPerName][]byte{keys.alive, keys.record, keys.admin} {
		w.stream.creating = append(w.stream.creating, t)
		w.stream.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{
			CreateRequest: &pb.WatchCreateRequest{
				Key: key, WatchId: t.g.number*watchesPerName + int64(i),
			},
		}})
	}
}

func (s *watchStream) send(req *pb.WatchRequest) {
	s.outbox = append(s.outbox, req)
	s.poke()
}

// poke makes the writer look.
func (s *watchStream) poke() {
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
			err = w.serve(s, wait) // whatever it was, what happens until the next stream is read then
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
		key = string(t.g.keys().alive)
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
	defer w.uninstall()
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
	w.waiting = slices.Collect(maps.Values(w.targets))
	s.poke()
}

func (w *keyWatch) uninstall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream, w.waiting = nil, nil
}

// write sends requests.
func (w *keyWatch) write(s *watchStream) {
	later := time.NewTimer(time.Hour)
	defer later.Stop()
	for {
		select {
		case <-s.toWrite:
		case <-later.C:
		case <-s.rpc.Context().Done():
			return
		}
		batch, wait := w.take(s, time.Now())
		if wait > 0 {
			later.Reset(wait)
		}
		for _, req := range batch {
			if s.rpc.Send(req) != nil {
				return // the reader gets the reason
			}
		}
	}
}

// take gives what is to be sent now, and after which time to look again; 0: when poked.
func (w *keyWatch) take(s *watchStream, now time.Time) (batch []*pb.WatchRequest, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) > 0 {
		wait = w.pace.wait(now)
	}
	most := maxCreating
	if w.pace.on(now) { // without end: what is to be watched must not hold up what is to be registered
		most = slowCreating
	}
	for wait == 0 && len(w.waiting) > 0 && len(s.creating) < most*watchesPerName {
		t := w.waiting[0]
		w.waiting = w.waiting[1:]
		if w.targets[t.g.number] == t {
			w.create(t)
		}
	}
	batch, s.outbox = s.outbox, nil
	return batch, wait
}

var (
	errOldAnswer = errors.New("etcd went back in time")
	errUnasked   = errors.New("etcd confirmed a watch that nobody asked for")
	errRefused   = errors.New("etcd refused a watch")
)

// handle takes over one answer.
func (w *keyWatch) handle(s *watchStream, resp *pb.WatchResponse) error {
	if resp.Created {
		return w.confirm(s, resp)
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
func (w *keyWatch) confirm(s *watchStream, resp *pb.WatchResponse) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(s.creating) == 0 {
		return errUnasked
	}
	t := s.creating[0]
	if s.creating = s.creating[1:]; len(w.waiting) > 0 && len(s.creating)%watchesPerName == 0 {
		s.poke()
	}
	switch {
	case w.targets[t.g.number] != t || t.stream != s: // no longer wanted
	case !resp.Canceled:
		if t.begun++; t.begun == watchesPerName {
			w.mail.post(func() { w.onSeen(t.g) })
		}
	case strings.Contains(resp.CancelReason, rpctypes.ErrorDesc(rpctypes.ErrGRPCPermissionDenied)):
		delete(w.targets, t.g.number)
		w.mail.post(func() { w.onLost(t.g) })
	default:
		return fmt.Errorf("%w: %s", errRefused, resp.CancelReason)
	}
	return nil
}

func (w *keyWatch) takeProgress(s *watchStream, resp *pb.WatchResponse) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !s.asking || resp.Header == nil {
		return nil // a notice of etcd's own
	}
	if resp.Header.Revision < s.progress {
		return errOldAnswer
	}
	s.asking, s.progress = false, resp.Header.Revision
	return nil
}

func (w *keyWatch) deliver(t *target, family Family, events []*mvccpb.Event) {
	w.mail.post(func() {
		for _, e := range events {
			w.onKey(t.g, family, e)
		}
	})
}
