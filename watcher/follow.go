package watcher

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// follow is one attempt to tell what happens after the head, until something goes wrong, and that is what it returns. Only
// what can be mended at once does not count as going wrong.
func (s *session) follow(ctx context.Context) error {
	for {
		err := s.attempt(ctx)
		switch {
		case errors.Is(err, errSlow):
			err = s.queue.pause(ctx)
		case compacted(err) || errors.Is(err, errHistory):
			err = s.compare(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// attempt connects and tells what happens.
func (s *session) attempt(ctx context.Context) error {
	s.vigil.broken() // a new stream, whatever ended the last one
	if s.queue.full() {
		return errSlow
	}
	w := s.head.witness(s.rules.keys)
	resp, err := s.lookAt(ctx, s.patience, w.key)
	if err != nil {
		return err
	}
	now := resp.Header
	switch {
	case now.ClusterId != s.head.cluster:
		return s.lost(ctx, fmt.Errorf("%w: it was %x, now it is %x", errStrange, s.head.cluster, now.ClusterId))
	case now.Revision < s.head.revision:
		return s.lost(ctx, fmt.Errorf("etcd's revision went back from %d to %d", s.head.revision, now.Revision))
	case now.Revision-s.head.revision > s.limits.replay:
		return errHistory
	}
	if !w.proves(resp) { // it was written again since, or never
		if err := s.sameHistory(ctx, w); errors.Is(err, errRestored) {
			return s.lost(ctx, err)
		} else if err != nil {
			return err
		}
	}
	st, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer st.close()
	s.healthy()
	s.vigil.reign(now.RaftTerm)
	// What is to be replayed is not seen as it happens: not after a silence, and not at a start from a position of the past.
	if s.live = max(s.live, s.head.revision); s.heard() || !s.synced {
		s.live = max(s.live, now.Revision)
	}
	s.lateUntil = time.Time{} // nothing was held up on a new stream
	s.arrived()
	return s.listen(ctx, st)
}

// lost begins anew with another history. It counts as a failure all the same: endpoints of two clusters must not make a loop
// without a pause.
func (s *session) lost(ctx context.Context, reason error) error {
	if err := s.restart(ctx, reason); err != nil {
		return err
	}
	return reason
}

// open begins a stream, if need be on another member. Only the stream is tried again: calls go to the members in turn, so one
// that follows a look each time would, of an even number of members, meet the same frozen one for ever.
func (s *session) open(ctx context.Context) (*stream, error) {
	const tries = 3
	for try := 1; ; try++ {
		// From the head's own revision, whose events are dropped: while nothing was written since, etcd gives no sign of life to
		// a watch that begins after it.
		st := openStream(ctx, s.client.ActiveConnection(), s.rules.keys.Prefix(), s.rules.keys.End(), s.head.revision)
		err := s.created(ctx, st)
		if err == nil {
			return st, nil
		}
		st.close()
		if try == tries || !errors.Is(err, errNotCreated) {
			return nil, err
		}
	}
}

// created waits until etcd says that the watch began.
func (s *session) created(ctx context.Context, st *stream) error {
	timeout := time.NewTimer(s.patience)
	defer timeout.Stop()
	select {
	case response, open := <-st.responses:
		if !open {
			return fmt.Errorf("opening the watch: %w", st.err)
		}
		return s.check(response)
	case <-timeout.C:
		return errNotCreated
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listen tells what comes, and asks for a sign of life when nothing does.
func (s *session) listen(ctx context.Context, st *stream) error {
	silence := newAlarm(s.cfg.StaleAfter)
	defer silence.stop()
	ask := newAlarm(s.askEvery())
	defer ask.stop()
	confirming := newConfirmation(ctx, s, st)
	defer confirming.stop()
	for word := time.Now(); ; {
		confirming.advance(time.Now())
		select {
		case response, open := <-st.responses:
			if !open {
				return fmt.Errorf("watching: %w", st.err)
			}
			word = time.Now()
			catchingUp := !s.synced
			if err := s.take(ctx, response); err != nil {
				return err
			}
			confirming.word()
			if catchingUp && s.synced {
				ask.reset(s.askEvery())
			}
		case <-ask.rings:
			st.ask()
			ask.reset(s.askEvery())
		case <-confirming.timer.C:
			confirming.wake()
		case answer := <-confirming.answers:
			confirming.take(answer, time.Now())
		case <-silence.rings:
			left := s.cfg.StaleAfter - time.Since(word)
			if left <= 0 {
				return errSilent
			}
			silence.reset(left)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *session) askEvery() time.Duration {
	if !s.synced {
		return min(catchUpInterval, s.cfg.StaleAfter/3)
	}
	return min(askInterval, s.cfg.StaleAfter/3)
}

// check refuses what ends the stream.
func (s *session) check(response *pb.WatchResponse) error {
	switch {
	case response.Canceled || response.CompactRevision != 0:
		return cancelled(response.CancelReason, response.CompactRevision)
	case response.Header.GetClusterId() != s.head.cluster:
		return errStrange
	}
	return nil
}

// take tells one message of etcd: any number of whole revisions, or a sign of life.
func (s *session) take(ctx context.Context, response *pb.WatchResponse) error {
	if err := s.check(response); err != nil {
		return err
	}
	s.vigil.reign(response.Header.GetRaftTerm())
	// What was held up on the way, or is sent from a backlog, is told without asking why it went.
	live := max(s.live, response.Header.GetRevision()-1)
	if s.heard() {
		live = math.MaxInt64
	}
	for events := response.Events; len(events) > 0; {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		s.revision(ctx, events[:n], events[0].Kv.ModRevision > live)
		events = events[n:]
		if s.queue.full() {
			return errSlow
		}
	}
	if len(response.Events) == 0 && !response.Created {
		s.head.revision = max(s.head.revision, response.Header.GetRevision())
		s.bookmark()
	}
	s.arrived()
	return nil
}

// revision tells all events of one revision.
func (s *session) revision(ctx context.Context, events []*mvccpb.Event, live bool) {
	revision := events[0].Kv.ModRevision
	if revision <= s.head.revision {
		return // told already
	}
	step := s.rules.fold(s.head, revision, events, live)
	bytes := 0
	for _, ev := range events {
		bytes += len(ev.Kv.Key) + len(ev.Kv.Value)
	}
	s.tell(ctx, step, bytes)
}

// compare lists and tells what is different, because history is gone or too long.
func (s *session) compare(ctx context.Context) error {
	step, err := s.rules.differ(ctx, s.client, s.head, max(s.patience, minPage), func() { s.heard() }, func(at *pb.ResponseHeader) error {
		if at.ClusterId != s.head.cluster || at.Revision < s.head.revision {
			return errStrange // another attempt finds out what happened
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.heard()
	s.tell(ctx, step, 0)
	return nil
}

// tell queues a step. One that means nothing to the reader still moves its position.
func (s *session) tell(ctx context.Context, step step, bytes int) {
	patch := step.patch // of the step nothing else is kept
	s.head.apply(&patch)
	s.vigil.follow(patch.suspects)
	it := item{patch: &patch, bytes: bytes, silent: len(step.events) == 0}
	if !it.silent {
		it.batch = s.batch(Changes, s.vigil.position(s.head.revision))
		it.batch.Events = step.events
		it.asked = s.inquiry.about(ctx, step.events)
	}
	s.queue.put(it)
}

// arrived tells once that everything that had happened at the start is told.
func (s *session) arrived() {
	if s.synced || s.head.revision < s.goal {
		return
	}
	s.synced = true
	batch := s.batch(Bookmark, s.vigil.position(s.head.revision))
	batch.Synced = true
	s.queue.put(item{batch: batch, patch: &patch{revision: s.head.revision}})
}

// bookmark tells a quiet reader now and then how far it is. A position that never moved would be compacted under it.
func (s *session) bookmark() {
	position := s.vigil.position(s.head.revision)
	if !s.synced || position <= s.told || time.Since(s.toldAt) < s.cfg.BookmarkInterval || !s.queue.empty() {
		return
	}
	s.queue.put(item{batch: s.batch(Bookmark, position), patch: &patch{revision: s.head.revision}})
}

func (s *session) batch(kind BatchKind, revision int64) Batch {
	now := time.Now()
	s.told, s.toldAt = revision, now
	b := Batch{Kind: kind, Revision: revision, ObservedAt: now}
	if s.head != nil {
		b.Cluster = s.head.cluster
	}
	return b
}
