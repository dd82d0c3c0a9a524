package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
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
)

// sink takes what a watch tells. The next batch is asked for, and the position moves, only when it has taken one.
type sink interface {
	take(ctx context.Context, b *watcher.Batch) error
}

// printer writes batches to the program's output.
type printer struct {
	view *watchView
	out  *bufio.Writer
}

func (p *printer) take(_ context.Context, b *watcher.Batch) error {
	if err := p.view.write(p.out, b); err != nil {
		return fmt.Errorf("writing what happened: %w", err)
	}
	return nil
}

// handler runs a command for each batch, with its lines on stdin, and goes on only when it has ended with 0: so whatever the
// command did with a batch it has done at least once, also across crashes of either of them.
type handler struct {
	p    *program
	args []string
	view *watchView
}

// sink gives who takes the batches.
func (p *program) sink(view *watchView, textWanted bool) (sink, error) {
	if !p.line.dashed {
		return &printer{view: view, out: bufio.NewWriter(p.stdout)}, nil
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
			h.p.log.Warn().Str("why", oneLine(err.Error())).Int64("revision", b.Revision).Stringer("again_in", wait.Round(time.Millisecond)).
				Msg("the handler failed; it gets the same lines again")
		}))
	return err
}

// run runs the command once.
func (h *handler) run(ctx context.Context, lines []byte) error {
	child, err := supervise.Start(supervise.Command{Args: h.args, Stdin: io.NopCloser(bytes.NewReader(lines)), Stdout: h.p.stdout, Stderr: h.p.stderr})
	if err != nil {
		return err // it may be being replaced just now
	}
	select {
	case <-child.Done():
	case <-ctx.Done():
		child.Pass(syscall.SIGTERM)
		h.await(child)
	}
	sweeping, cancel := context.WithTimeout(context.WithoutCancel(ctx), handlerGrace)
	defer cancel()
	child.Sweep(sweeping, handlerGrace)
	if result := child.Result(); result.Code != 0 {
		return errors.New(result.String())
	}
	return nil
}

// await gives a child that was asked to stop the time for it.
func (h *handler) await(child *supervise.Process) {
	grace := time.NewTimer(handlerGrace)
	defer grace.Stop()
	select {
	case <-child.Done():
	case <-grace.C:
		child.Stop(syscall.SIGKILL)
		<-child.Done()
	}
}
