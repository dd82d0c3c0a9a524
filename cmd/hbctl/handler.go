package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/hbctl/hbctl/internal/supervise"
	"github.com/hbctl/hbctl/watcher"
)

const (
	// handlerRetry and handlerPatience bound the wait before a handler that failed is run again.
	handlerRetry    = 200 * time.Millisecond
	handlerPatience = 30 * time.Second
	// handlerGrace is how long a handler may take to end when the watch is stopped.
	handlerGrace = 5 * time.Second
	// handlerSlow is how long a handler may run until it is told that everything waits for it.
	handlerSlow = time.Minute
)

// sink takes what a watch tells. The next batch is asked for, and the position moves, only when it has taken one.
type sink interface {
	// ends gives a context that ends when there is nobody left to tell.
	ends(ctx context.Context) (_ context.Context, release func())
	take(ctx context.Context, b *watcher.Batch) error
	close() // must be called at the end
}

// printer writes batches to the program's output.
type printer struct {
	view *watchView
	to   io.Writer
	out  *bufio.Writer
}

func newPrinter(view *watchView, to io.Writer) *printer {
	return &printer{view: view, to: to, out: bufio.NewWriter(to)}
}

func (p *printer) ends(ctx context.Context) (_ context.Context, release func()) {
	return untilUnread(ctx, p.to)
}

func (p *printer) take(_ context.Context, b *watcher.Batch) error {
	if err := p.view.write(p.out, b); err != nil {
		return unwritten("what happened", err)
	}
	return nil
}

func (p *printer) close() {}

// handler runs a command for each batch, with its lines on stdin, and goes on only when it has ended with 0: so whatever the
// command did with a batch it has done at least once, also across crashes of either of them.
type handler struct {
	p        *program
	args     []string
	view     *watchView
	guardian *supervise.Guardian // for the next run, started ahead; nil: not yet
}

// sink gives who takes the batches.
func (p *program) sink(view *watchView, textWanted bool) (sink, error) {
	if !p.line.dashed {
		return newPrinter(view, p.stdout), nil
	}
	args := p.line.rest
	switch {
	case len(args) == 0 || args[0] == "":
		return nil, usageIn("watch", "no command to run; it comes after --, as in hbctl watch -- ./handler")
	case textWanted:
		return nil, usageIn("watch", "a command gets lines of JSON; leave -o text out")
	}
	if _, err := supervise.Find(args[0]); err != nil {
		return nil, usageIn("watch", "%s", err)
	}
	view.format = "json"
	return &handler{p: p, args: args, view: view}, nil
}

// ends leaves it to signals: the output is the command's, and whether somebody reads it is nothing to it, or to what must not be
// missed. A command that needs a reader fails without one, which is told.
func (h *handler) ends(ctx context.Context) (_ context.Context, release func()) {
	return ctx, func() {}
}

func (h *handler) take(ctx context.Context, b *watcher.Batch) error {
	var lines bytes.Buffer
	if err := h.view.write(bufio.NewWriter(&lines), b); err != nil {
		return err
	}
	if lines.Len() == 0 {
		return nil
	}
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = handlerRetry, handlerPatience
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, h.run(ctx, lines.Bytes()) },
		backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			h.p.log.Warn().Str("why", inWords(err)).Int64("revision", b.Revision).Stringer("again_in", wait.Round(time.Millisecond)).
				Msg("the handler failed; it gets the same lines again")
		}))
	return err
}

// run runs the command once. Nothing of it lives on, whoever is killed: the next run, of this process or of the one that is
// started in its place, must be the only one.
func (h *handler) run(ctx context.Context, lines []byte) error {
	guardian := h.guarded()
	child, err := supervise.Start(supervise.Command{
		Args: h.args, Stdin: io.NopCloser(bytes.NewReader(lines)), Stdout: h.p.stdout, Stderr: h.p.stderr, Guardian: guardian,
	})
	if err != nil {
		if guardian != nil {
			guardian.Release()
		}
		return err // it may be being replaced just now
	}
	h.prepare() // while the command works
	h.await(ctx, child)
	child.Sweep(context.WithoutCancel(ctx), handlerGrace)
	if supervise.Inherits() {
		child.Bury(h.guardian) // what has left its group
	}
	if result := child.Result(); result.Code != 0 {
		return errors.New(result.String())
	}
	return nil
}

// prepare starts the next run's guardian.
func (h *handler) prepare() { h.guardian = h.p.startGuardian("handler") }

// guarded gives a guardian that is ready, or nil.
func (h *handler) guarded() *supervise.Guardian {
	if h.guardian == nil {
		h.prepare()
	}
	guardian := h.p.readied(h.guardian, "handler")
	h.guardian = nil
	return guardian
}

func (h *handler) close() {
	if h.guardian != nil {
		h.guardian.Release()
	}
}

// await waits for the command's end, and has it end when ctx does.
func (h *handler) await(ctx context.Context, child *supervise.Process) {
	slow := time.NewTicker(handlerSlow)
	defer slow.Stop()
	for begin := time.Now(); ; {
		select {
		case <-child.Done():
			return
		case <-slow.C:
			h.p.log.Warn().Int("pid", child.PID()).Stringer("running_for", time.Since(begin).Round(time.Second)).
				Msg("the handler has not ended yet; what happens meanwhile waits for it")
		case <-ctx.Done():
			h.stop(child)
			return
		}
	}
}

// stop asks a child to stop and gives it the time for it.
func (h *handler) stop(child *supervise.Process) {
	child.Pass(syscall.SIGTERM)
	grace := time.NewTimer(handlerGrace)
	defer grace.Stop()
	select {
	case <-child.Done():
	case <-grace.C:
		child.Stop(syscall.SIGKILL)
		<-child.Done()
	}
}
