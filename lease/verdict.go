package lease

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Verdict says what an error of etcd means for whoever has to go on.
type Verdict int

// The verdicts.
const (
	// Retry: nothing is known but that this attempt failed. Only time decides.
	Retry Verdict = iota
	// Gone: etcd says that the lease does not exist. Only this leads to a new lease.
	Gone
	// Refused: etcd understood and said no, and will say no again until somebody changes something.
	Refused
)

// String gives the verdict in lower case.
func (v Verdict) String() string {
	return [...]string{"retry", "gone", "refused"}[v]
}

// Judge reads an error of etcd's client or of a raw gRPC call. An error that nobody knows is a Retry: taking one for its
// opposite has ended healthy services elsewhere (etcd answers Unknown "not a primary lessor" in the middle of an election).
func Judge(err error) Verdict {
	err = unwrapped(err)
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return Gone
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Retry
	}
	for _, passing := range passingErrors {
		if errors.Is(err, passing) {
			return Retry
		}
	}
	switch code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented:
		return Refused
	default:
		return Retry
	}
}

// unwrapped gives etcd's own form of the error, however it was wrapped on its way: rpctypes.Error alone knows an error by its
// whole text, and would take a wrapped "lease not found" for a refusal.
func unwrapped(err error) error {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return rpctypes.Error(s.GRPCStatus().Err())
	}
	return rpctypes.Error(err)
}

// passingErrors have the code of a refusal and pass all the same: the next member, or the next token, may say yes.
var passingErrors = []error{
	rpctypes.ErrAuthOldRevision,
	rpctypes.ErrInvalidAuthToken,
	rpctypes.ErrNotLeader,
	rpctypes.Error(rpctypes.ErrGRPCNotCapable),
	rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner),
	rpctypes.Error(rpctypes.ErrGRPCClusterVersionUnavailable),
}

func code(err error) codes.Code {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return known.Code()
	}
	return status.Code(err)
}
