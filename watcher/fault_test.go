package watcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

// What ends a start, by the names in etcd's rpctypes without ErrGRPC: rights, credentials or a server that somebody has to
// change. All other errors are tried again, for ever.
var ends = map[string]bool{
	"PermissionDenied": true, "AuthFailed": true, "UserEmpty": true, "UserNotFound": true, "EmptyKey": true, "InvalidClientAPIVersion": true,
}

func TestFatalEveryErrorOfEtcd(t *testing.T) {
	found := etcdtest.Errors(t)
	for name, err := range found {
		endsStart(t, name, err, ends[name])
	}
	for name := range ends {
		if found[name] == nil {
			t.Errorf("rpctypes has no ErrGRPC%s", name)
		}
	}
}

func TestFatalEveryCode(t *testing.T) {
	for c := codes.OK + 1; c <= codes.Unauthenticated+1; c++ { // one more than there are
		endsStart(t, c.String(), status.Error(c, "of a proxy, perhaps"), c == codes.Unimplemented)
	}
}

func TestFatalOtherErrors(t *testing.T) {
	if fatal(nil) {
		t.Error("no error ends a start")
	}
	for _, err := range []error{
		context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNRESET,
		&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		&net.DNSError{Err: "no such host", Name: "etcd", IsNotFound: true},
		status.Error(codes.Unknown, "not a primary lessor"), status.FromContextError(context.Canceled).Err(),
		errSilent, errNotCreated, errSlow, errStrange, errHistory, errors.New("anything"),
	} {
		endsStart(t, err.Error(), err, false)
	}
	for _, err := range []error{ErrInvalid, ErrFuture, ErrOtherCluster} {
		endsStart(t, err.Error(), err, true)
	}
}

// endsStart checks the error as a call returns it, and as it may have been wrapped on its way.
func endsStart(t *testing.T, name string, err error, want bool) {
	t.Helper()
	for how, err := range map[string]error{
		"as it is": etcdError(err),
		"wrapped":  fmt.Errorf("asking: %w", etcdError(err)),
		"joined":   errors.Join(errors.New("asking"), etcdError(err)),
	} {
		if got := fatal(err); got != want {
			t.Errorf("%s %s: ends the start: %v, want %v", name, how, got, want)
		}
	}
}

func TestCancelled(t *testing.T) {
	tests := []struct {
		reason  string
		compact int64
		want    error
	}{
		{rpctypes.ErrGRPCPermissionDenied.Error(), 0, rpctypes.ErrPermissionDenied},
		{rpctypes.ErrGRPCInvalidAuthToken.Error(), 0, rpctypes.ErrInvalidAuthToken},
		{"etcdserver: mvcc: required revision has been compacted", 7, rpctypes.ErrCompacted},
		{"", 7, rpctypes.ErrCompacted},
		{rpctypes.ErrGRPCNoLeader.Error(), 0, rpctypes.ErrNoLeader},
	}
	for _, tt := range tests {
		if got := cancelled(tt.reason, tt.compact); !errors.Is(got, tt.want) {
			t.Errorf("%q (%d): %v, want %v", tt.reason, tt.compact, got, tt.want)
		}
	}
	if err := cancelled("", 0); err == nil {
		t.Error("a cancelled watch without a reason is no error")
	}
}
