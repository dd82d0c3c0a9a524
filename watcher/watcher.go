package watcher

import (
	"context"
	"fmt"
	"iter"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

// Watcher follows what is under one prefix. Its methods may be called at any time and from any goroutine, but only one Watch
// can run at once.
type Watcher struct {
	client *clientv3.Client
	leases leases // the client
	cfg    Config
	rules  rules
	limits limits

	mu   sync.Mutex
	busy bool
	view *View // as of the last batch that was acknowledged
}

// New makes a Watcher. It talks to nobody yet. The client stays the caller's, who closes it after the last Watch; its own
// settings for reconnecting do not matter to the watch (see lease.DialOptions for what else they do), and its endpoints should
// name all members. It returns ErrInvalid, also for a client that is closed or has no endpoints.
func New(client *clientv3.Client, cfg Config) (*Watcher, error) {
	if err := lease.CheckClient(client); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	keys, err := registry.NewKeys(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Watcher{
		client: client, leases: client, cfg: cfg, limits: defaultLimits,
		rules: rules{keys: keys, selection: selection{cfg.Filter}, confirm: cfg.Confirm > 0},
	}, nil
}

// Watch tells what is there and what happens, from a position on, until the reader breaks out of the loop or ctx ends, which
// ends the sequence without an error. When it returns, nothing of it runs any more.
//
// Everything that passes is mended inside, and told by Stale and Live. An error is the last thing in the sequence and comes
// with an empty Batch: ErrInvalid, ErrFuture or ErrOtherCluster for the position, ErrBusy while another Watch of this Watcher
// runs, ErrUnreachable after Config.StartTimeout, etcd's own error for rights or credentials that are refused at the start
// (such as rpctypes.ErrPermissionDenied), what Config.OnMove returned, and any error once the client is closed. Reading needs the
// right to read the whole prefix.
//
// The sequence can be ranged over once more; it begins at from again.
func (w *Watcher) Watch(ctx context.Context, from Position) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		if err := w.watch(ctx, from, yield); err != nil {
			yield(Batch{}, fmt.Errorf("watching %s: %w", w.rules.keys.Prefix(), err))
		}
	}
}

// watch runs a session and hands over what it finds. The error is to be told; there is none if nobody wants more.
func (w *Watcher) watch(ctx context.Context, from Position, yield func(Batch, error) bool) error {
	if err := from.check(w.rules); err != nil {
		return err
	}
	if !w.acquire(from.view) {
		return ErrBusy
	}
	defer w.release()
	ctx, cancel := context.WithCancel(ctx)
	s := newSession(w)
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx, from) })
	defer running.Wait()
	defer cancel()
	defer s.queue.leave()
	m := &moves{tell: w.cfg.OnMove}
	for {
		it, err := s.queue.next(ctx)
		switch {
		case ctx.Err() != nil:
			return w.tellMoves(m)
		case err != nil:
			return err
		case !it.silent && !yield(w.place(it.batch, from), nil):
			return nil
		}
		w.acknowledge(&it)
		if err := w.moved(m, &it); err != nil {
			return err
		}
	}
}

// place gives a word about the stream itself the position that the reader is at. Before etcd was reached that is the one that he
// came with: told 0, a reader who keeps the position of his last batch would begin at now, and miss all that was in between.
func (w *Watcher) place(b Batch, from Position) Batch {
	if b.Kind == Stale || b.Kind == Live {
		w.mu.Lock()
		defer w.mu.Unlock()
		b.Revision = from.revision
		if w.view != nil {
			b.Cluster, b.Revision = w.view.cluster, w.view.position()
		}
	}
	return b
}

// View gives the view as of the last batch that was acknowledged: that after which another was asked for. From(View()) goes
// on right there; what was handed over but not acknowledged comes again. It is nil as long as there is no position: from Now
// until the first Snapshot was acknowledged, from After until etcd was reached. It costs a copy of one pointer for each instance, so call it now and then rather than after each batch.
func (w *Watcher) View() *View {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.view == nil {
		return nil
	}
	return w.view.Clone()
}

func (w *Watcher) acknowledge(it *item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case it.view != nil:
		w.view = it.view
	case it.patch != nil:
		w.view.apply(it.patch)
	}
}

func (w *Watcher) acquire(view *View) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy {
		return false
	}
	w.busy, w.view = true, nil
	if view != nil {
		w.view = view.Clone()
	}
	return true
}

func (w *Watcher) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = false
}
