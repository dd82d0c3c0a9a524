package watcher

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestFatal(t *testing.T) {
	// Every error that etcd's API knows: which of them end a start. All others are tried again, for ever.
	ends := map[error]bool{
		rpctypes.ErrGRPCPermissionDenied: true, rpctypes.ErrGRPCAuthFailed: true, rpctypes.ErrGRPCUserEmpty: true,
		rpctypes.ErrGRPCUserNotFound: true, rpctypes.ErrGRPCEmptyKey: true, rpctypes.ErrGRPCInvalidClientAPIVersion: true,

		rpctypes.ErrGRPCNoLeader: false, rpctypes.ErrGRPCNotLeader: false, rpctypes.ErrGRPCLeaderChanged: false,
		rpctypes.ErrGRPCStopped: false, rpctypes.ErrGRPCTimeout: false, rpctypes.ErrGRPCTimeoutDueToLeaderFail: false,
		rpctypes.ErrGRPCTimeoutDueToConnectionLost: false, rpctypes.ErrGRPCTimeoutWaitAppliedIndex: false,
		rpctypes.ErrGRPCUnhealthy: false, rpctypes.ErrGRPCCorrupt: false, rpctypes.ErrGRPCNotCapable: false,
		rpctypes.ErrGRPCNotSupportedForLearner: false, rpctypes.ErrGRPCInvalidAuthToken: false, rpctypes.ErrGRPCAuthOldRevision: false,
		rpctypes.ErrGRPCRequestTooManyRequests: false, rpctypes.ErrGRPCNoSpace: false, rpctypes.ErrGRPCWatchCanceled: false,
		rpctypes.ErrGRPCCompacted: false, rpctypes.ErrGRPCFutureRev: false, rpctypes.ErrGRPCCanceled: false,
		rpctypes.ErrGRPCDeadlineExceeded: false, rpctypes.ErrGRPCAuthNotEnabled: false, rpctypes.ErrGRPCClusterIDMismatch: false,
		status.Error(codes.Unavailable, "connection refused"): false, status.Error(codes.Internal, "stream broken"): false,
		status.Error(codes.Unknown, "not a primary lessor"): false, status.Error(codes.Unimplemented, "unknown service"): true,
		context.DeadlineExceeded: false, errSilent: false, errNotCreated: false, errors.New("anything"): false,
	}
	for err, want := range ends {
		if got := fatal(fmt.Errorf("asking: %w", etcdError(err))); got != want {
			t.Errorf("%v: ends the start: %v, want %v", err, got, want)
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
