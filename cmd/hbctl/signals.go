package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// stopped is why a context ended that a signal ended.
type stopped struct{ signal syscall.Signal }

func (s stopped) Error() string { return "stopped by " + s.signal.String() }

// stopOnSignal gives a context that the first signal ends, with a stopped as its cause. The second one ends the program
// at once, for the user who can't wait for a clean end. release undoes it.
func stopOnSignal(ctx context.Context) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stopSignals()...)
	done := make(chan struct{})
	go func() {
		for first := true; ; first = false {
			select {
			case s := <-signals:
				number, _ := s.(syscall.Signal)
				if !first {
					os.Exit(128 + int(number))
				}
				cancel(stopped{signal: number})
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// stopSignals leaves out what the parent had ignored: nohup means it, and so does a shell that starts a job in the
// background.
func stopSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	return signals
}

// catchBrokenPipe turns SIGPIPE into an error of the write: a closed stderr must not kill what holds a registration.
// The signal is caught and not ignored, because an ignored one would be passed on to children.
func catchBrokenPipe() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// endedBySignal turns an end that was asked for by SIGTERM (or a hangup) into success, as a service manager wants it from
// what runs until it is stopped. Ctrl-C stays an error with its own code.
func endedBySignal(ctx context.Context) error {
	cause := context.Cause(ctx)
	var s stopped
	if errors.As(cause, &s) && s.signal != syscall.SIGINT {
		return nil
	}
	return cause
}
