package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hbctl/hbctl/lease"
)

// A machine whose clock was never set is told so, and nothing else suffers.
func TestClockBefore1970(t *testing.T) {
	t.Parallel()
	now := time.Unix(-1e8, 0)
	cert := &x509.Certificate{NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	if got, want := outOfDate(cert, now), "is not valid before 2026-01-01T00:00:00Z, now is 1966-10-31T14:13:20Z; check the clock"; got != want {
		t.Errorf("a certificate %s, want %s", got, want)
	}
	recorded := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	if got := age(&recorded, now); got != "?" {
		t.Errorf("what is still to come is %s old", got)
	}
	if got := stamp(&now); got != "1966-10-31T14:13:20Z" {
		t.Errorf("shown as %s", got)
	}
}

// What a library says through all its layers is told in one.
func TestInWords(t *testing.T) {
	t.Parallel()
	address := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 2379}
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: address, Err: &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED}}
	reset := &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 5}, Addr: address, Err: &os.SyscallError{Syscall: "read", Err: syscall.ECONNRESET}}
	unavailable := func(text string) error { return status.Error(codes.Unavailable, text) }
	for _, test := range []struct {
		err  error
		want string
	}{
		{
			fmt.Errorf("asking etcd for its revision: %w", unavailable(fmt.Sprintf("connection error: desc = %q", "transport: Error while dialing: "+refused.Error()))),
			"asking etcd for its revision: 10.0.0.1:2379: connection refused",
		},
		{unavailable("error reading from server: " + reset.Error()), "10.0.0.1:2379: connection reset by peer"},
		{unavailable("error reading from server: EOF"), "EOF"},
		{unavailable("etcdserver: no leader"), "etcd: no leader"},
		{&net.OpError{Op: "dial", Net: "tcp", Addr: address, Err: os.ErrDeadlineExceeded}, "10.0.0.1:2379: no answer"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "nowhere", Server: "10.0.0.53:53"}}, "host nowhere: no such host"},
		{fmt.Errorf("%w: opening a renewal stream: %w", lease.ErrFenced, context.DeadlineExceeded), "opening a renewal stream: no answer in time"},
		{errors.New("first\n  second\x1b"), `first; second\x1b`},
		{errors.New(`value "a" is not what was asked for`), `value "a" is not what was asked for`},
	} {
		if got := inWords(test.err); got != test.want {
			t.Errorf("%v\ngives %q,\nwant  %q", test.err, got, test.want)
		}
	}
}
