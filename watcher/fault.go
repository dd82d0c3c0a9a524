package watcher

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// errSilent is a stream on which nothing was heard, not even answers to what was asked: its member is frozen, cut off or
	// far behind.
	errSilent = errors.New("etcd fell silent")
	// errNotCreated is a watch that etcd did not confirm in time.
	errNotCreated = errors.New("etcd did not begin the watch in time")
	// errSlow ends a stream whose reader is behind. It is no fault of etcd.
	errSlow = errors.New("the reader is behind")
	// errStrange is an answer of a cluster that is not the one of the position.
	errStrange = errors.New("another etcd cluster answered")
	// errHistory is a position that lies too far back to replay.
	errHistory = errors.New("the position is too far behind to replay")
)

// hopeless are the answers that trying again at the start will not change: somebody has to change the rights, the
// credentials or the server. Everything else is tried again, for ever: leaders come back, tokens are renewed, networks heal.
var hopeless = []error{
	rpctypes.ErrPermissionDenied,
	rpctypes.ErrAuthFailed,
	rpctypes.ErrUserEmpty,
	rpctypes.ErrUserNotFound,
	rpctypes.ErrEmptyKey,
	rpctypes.Error(rpctypes.ErrGRPCInvalidClientAPIVersion),
}

// fatal says that a start that failed so must not be tried again. A stream that once ran is always tried again: rights that
// were taken may be given back.
func fatal(err error) bool {
	for _, h := range hopeless {
		if errors.Is(err, h) {
			return true
		}
	}
	return errors.Is(err, ErrInvalid) || errors.Is(err, ErrFuture) || errors.Is(err, ErrOtherCluster) ||
		status.Code(err) == codes.Unimplemented
}

// etcdError gives etcd's own error for what a call or stream returned, so that errors.Is finds it.
func etcdError(err error) error {
	if err == nil {
		return nil
	}
	return rpctypes.Error(err)
}

// cancelled gives the error of a watch that etcd ended, from what it wrote as the reason.
func cancelled(reason string, compactRevision int64) error {
	if compactRevision != 0 {
		return rpctypes.ErrCompacted
	}
	// The reason is the text of a gRPC status, not the status.
	if _, desc, found := strings.Cut(reason, "desc = "); found {
		reason = desc
	}
	return fmt.Errorf("etcd ended the watch: %w", rpctypes.Error(errors.New(reason)))
}

// compacted says that the history that was asked for is gone.
func compacted(err error) bool { return errors.Is(err, rpctypes.ErrCompacted) }
