package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// untilUnread gives a context that ends, with EPIPE as its cause, when out is a pipe that nobody reads any more. A watch
// writes only when something happens, which may be never: without this, "hbctl watch | head" would not end.
func untilUnread(ctx context.Context, out any) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	f, ok := out.(*os.File)
	if !ok || !isPipe(f) {
		return ctx, func() { cancel(nil) }
	}
	stopReader, stop, err := os.Pipe()
	if err != nil {
		return ctx, func() { cancel(nil) } // the next write will tell
	}
	var checking sync.WaitGroup
	checking.Go(func() {
		if closedFirst(f, stopReader) {
			cancel(syscall.EPIPE)
		}
	})
	return ctx, func() {
		stop.Close()
		checking.Wait()
		stopReader.Close()
		cancel(nil)
	}
}

// closedFirst waits until the other end of one of two pipes is closed, and says whether it was that of out.
func closedFirst(out, other *os.File) bool {
	// No event is asked for: the other end's going is told in any case.
	fds := []unix.PollFd{{Fd: int32(out.Fd())}, {Fd: int32(other.Fd())}} //nolint:gosec // descriptors are small
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		case err != nil, fds[1].Revents != 0:
			return false
		case fds[0].Revents != 0:
			return true
		}
	}
}

// unwritten says that what was asked for could not be written to stdout. A query that does not fit the data is no matter of
// the writing.
func unwritten(what string, err error) error {
	if usage := new(usageError); errors.As(err, &usage) {
		return err
	}
	return fmt.Errorf("%s can't be written to stdout: %w", what, plainFileError(err))
}

// rowsUnwritten says that rows could not be written, beside what went wrong before. A reader that has seen enough is no failure,
// and makes none undone.
func rowsUnwritten(before, err error) error {
	if before != nil && errors.Is(err, syscall.EPIPE) {
		return before
	}
	return errors.Join(before, unwritten("the rows", err))
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0
}
