package main

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// unreachableError says that etcd could not be asked, so that nothing is known: neither up nor down.
type unreachableError struct{ reason string }

func (e *unreachableError) Error() string { return e.reason }

// code gives the gRPC code in an error, which etcd's own errors hide.
func code(err error) codes.Code {
	if etcdErr := (rpctypes.EtcdError{}); errors.As(err, &etcdErr) {
		return etcdErr.Code()
	}
	var withStatus interface{ GRPCStatus() *status.Status }
	if errors.As(err, &withStatus) {
		return withStatus.GRPCStatus().Code()
	}
	return codes.Unknown
}

// isUnavailable says that nobody answered, or that who answered has no quorum.
func isUnavailable(err error) bool {
	switch code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// isForeign says that something answered which is no etcd.
func isForeign(err error) bool { return code(err) == codes.Unimplemented }

// isDenied says that etcd knows who asks, or wants to, and refuses.
func isDenied(err error) bool {
	for _, denied := range []error{
		rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound,
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrRoleEmpty, rpctypes.ErrAuthOldRevision,
	} {
		if errors.Is(rpctypes.Error(unwrapStatus(err)), denied) {
			return true
		}
	}
	switch code(err) {
	case codes.PermissionDenied, codes.Unauthenticated:
		return true
	}
	return false
}

// unwrapStatus finds what etcd answered inside wrapped errors.
func unwrapStatus(err error) error {
	if etcdErr := (rpctypes.EtcdError{}); errors.As(err, &etcdErr) {
		return etcdErr
	}
	var withStatus interface{ GRPCStatus() *status.Status }
	if errors.As(err, &withStatus) {
		return withStatus.GRPCStatus().Err()
	}
	return err
}

// denied says what to do about a refusal.
func (p *program) denied(err error) error {
	is := func(target error) bool { return errors.Is(rpctypes.Error(unwrapStatus(err)), target) }
	user := p.settings.user
	switch {
	case is(rpctypes.ErrAuthFailed):
		return fmt.Errorf("etcd refuses user %s: wrong name or password", quoteShort(user))
	case user == "" && (is(rpctypes.ErrUserEmpty) || is(rpctypes.ErrPermissionDenied)):
		return errors.New("etcd wants to know who asks: give --user NAME:PASSWORD")
	case is(rpctypes.ErrPermissionDenied):
		return fmt.Errorf("etcd denies user %s access under %s: grant a role for it, or use another user", quoteShort(user), p.settings.keys.Prefix())
	}
	return fmt.Errorf("etcd denies access: %w", err)
}
