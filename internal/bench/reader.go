package bench

import (
	"context"
	"errors"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/watcher"
)

// A reader runs a watch of a prefix, ours or the plain client's, in a goroutine of its own, and hands over what comes with the time
// at which it came.
type reader struct {
	stop context.CancelCauseFunc
	ctx  context.Context // of the goroutine
	done sync.WaitGroup
}

// errStopped is why a reader ends that was stopped.
var errStopped = errors.New("stopped")

func newReader(ctx context.Context) *reader {
	rd := &reader{}
	rd.ctx, rd.stop = context.WithCancelCause(ctx)
	return rd
}

// close stops the reader and waits for it.
func (rd *reader) close() {
	rd.stop(errStopped)
	rd.done.Wait()
}

// await waits until the channel is closed. When the reader ends before that, it says why.
func (rd *reader) await(what <-chan struct{}) error {
	select {
	case <-what:
		return nil
	case <-rd.ctx.Done():
		return context.Cause(rd.ctx)
	}
}

// readOurs starts a watcher from a position, and returns once it is ready for what is new.
func (r *runner) readOurs(ctx context.Context, w *watcher.Watcher, from watcher.Position, handle func(*watcher.Batch, time.Time)) (*reader, error) {
	rd, ready := newReader(ctx), make(chan struct{})
	tell := sync.OnceFunc(func() { close(ready) })
	rd.done.Go(func() {
		for batch, err := range w.Watch(rd.ctx, from) {
			now := time.Now()
			if err != nil {
				rd.stop(err)
				return
			}
			handle(&batch, now)
			if batch.Synced {
				tell() // for the first time; a reset would say it again
			}
		}
	})
	if err := rd.await(ready); err != nil {
		rd.close()
		return nil, err
	}
	return rd, nil
}

// readRaw starts a watch of the plain client, from a revision or, if it is 0, from now on, and returns once etcd has begun it.
func (r *runner) readRaw(ctx context.Context, prefix string, revision int64, handle func(*clientv3.Event, time.Time)) (*reader, error) {
	rd, ready := newReader(ctx), make(chan struct{})
	client := clientv3.NewWatcher(r.cfg.Client)
	channel := client.Watch(rd.ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision), clientv3.WithCreatedNotify())
	rd.done.Go(func() {
		defer client.Close()
		for resp := range channel {
			now := time.Now()
			if err := resp.Err(); err != nil {
				rd.stop(err)
				return
			}
			if resp.Created {
				close(ready)
			}
			for _, event := range resp.Events {
				handle(event, now)
			}
		}
		rd.stop(errors.New("the watch ended"))
	})
	if err := rd.await(ready); err != nil {
		rd.close()
		return nil, err
	}
	return rd, nil
}
