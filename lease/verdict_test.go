package lease_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/lease"
)

// What each error that etcd's rpctypes defines means, by its name there without ErrGRPC. Every other one has to be added here
// by whoever upgrades etcd, after thinking about it.
var verdicts = map[lease.Verdict][]string{
	lease.Gone: {"LeaseNotFound"},
	lease.Retry: strings.Fields(`
		NoSpace WatchCanceled RequestTooManyRequests
		InvalidAuthToken AuthOldRevision
		NoLeader NotLeader LeaderChanged NotCapable Stopped Unhealthy Corrupt
		Timeout TimeoutDueToLeaderFail TimeoutDueToConnectionLost TimeoutWaitAppliedIndex
		NotSupportedForLearner ClusterVersionUnavailable Canceled DeadlineExceeded`),
	lease.Refused: strings.Fields(`
		EmptyKey KeyNotFound ValueProvided LeaseProvided TooManyOps DuplicateKey InvalidClientAPIVersion InvalidSortOption
		Compacted FutureRev LeaseExist LeaseTTLTooLarge RequestTooLarge
		MemberExist PeerURLExist MemberNotEnoughStarted MemberBadURLs MemberNotFound MemberNotLearner LearnerNotReady
		TooManyLearners ClusterIDMismatch BadLeaderTransferee
		RootUserNotExist RootRoleNotExist UserAlreadyExist UserEmpty UserNotFound
		RoleAlreadyExist RoleNotFound RoleEmpty RoleNotGranted
		AuthFailed AuthNotEnabled InvalidAuthMgmt
		PermissionNotGiven PermissionDenied PermissionNotGranted
		WrongDowngradeVersionFormat InvalidDowngradeTargetVersion DowngradeInProcess NoInflightDowngrade`),
}

func TestJudgeEveryErrorOfEtcd(t *testing.T) {
	want := make(map[string]lease.Verdict)
	for verdict, names := range verdicts {
		for _, name := range names {
			want[name] = verdict
		}
	}
	found := etcdtest.Errors(t)
	for name, err := range found {
		verdict, listed := want[name]
		if !listed {
			t.Errorf("rpctypes.ErrGRPC%s (%v) is not in the table: decide what it means", name, err)
			continue
		}
		judgeAll(t, "rpctypes.ErrGRPC"+name, err, verdict)
		judgeAll(t, "rpctypes.Err"+name, rpctypes.Error(err), verdict)
	}
	for name := range want {
		if found[name] == nil {
			t.Errorf("the table has %s, rpctypes has not", name)
		}
	}
}

// judgeAll judges the error as it is and as it may have been wrapped on its way.
func judgeAll(t *testing.T, name string, err error, want lease.Verdict) {
	t.Helper()
	for how, err := range map[string]error{
		"as it is":      err,
		"wrapped":       fmt.Errorf("renewing: %w", err),
		"wrapped twice": fmt.Errorf("registering: %w", fmt.Errorf("renewing: %w", err)),
		"joined":        errors.Join(errors.New("renewing"), err),
	} {
		if got := lease.Judge(err); got != want {
			t.Errorf("%s %s: %v, want %v", name, how, got, want)
		}
	}
}

func TestJudgeEveryCode(t *testing.T) {
	refused := map[codes.Code]bool{
		codes.InvalidArgument: true, codes.NotFound: true, codes.AlreadyExists: true, codes.PermissionDenied: true,
		codes.FailedPrecondition: true, codes.OutOfRange: true, codes.Unimplemented: true,
	}
	for c := codes.OK + 1; c <= codes.Unauthenticated+1; c++ { // one more than there are
		want := lease.Retry
		if refused[c] {
			want = lease.Refused
		}
		judgeAll(t, c.String(), status.Error(c, "of a proxy, perhaps"), want)
	}
}

func TestJudgeOtherErrors(t *testing.T) {
	for _, err := range []error{
		nil, context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, errors.New("connection refused"),
		net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNRESET,
		&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		&net.DNSError{Err: "no such host", Name: "etcd", IsNotFound: true},
		status.Error(codes.OK, ""),                                 // which is nil
		status.Error(codes.Unknown, "lease: not a primary lessor"), // what etcd says in the middle of an election
		status.Error(codes.Unavailable, "transport is closing"),
		status.FromContextError(context.Canceled).Err(),
		status.FromContextError(context.DeadlineExceeded).Err(),
	} {
		if err == nil {
			if got := lease.Judge(err); got != lease.Retry {
				t.Errorf("nil: %v, want retry", got)
			}
			continue
		}
		judgeAll(t, err.Error(), err, lease.Retry)
	}
}

func TestVerdictString(t *testing.T) {
	for verdict, want := range map[lease.Verdict]string{lease.Retry: "retry", lease.Gone: "gone", lease.Refused: "refused"} {
		if got := verdict.String(); got != want {
			t.Errorf("%d is called %q, want %q", verdict, got, want)
		}
	}
}
