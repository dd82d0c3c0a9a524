package lease

import (
	"context"
	"errors"
	"reflect"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
)

// DefaultConnectTimeout is how long one attempt to connect may take.
const DefaultConnectTimeout = 2 * time.Second

// firstReconnect is the wait before the second attempt to connect.
const firstReconnect = 20 * time.Millisecond

// DialOptions gives what an etcd client that holds leases should be made with, for clientv3.Config.DialOptions. An attempt to
// connect gets connectTimeout, 0 for DefaultConnectTimeout, and the next one follows after 500 ms at the most.
//
// gRPC's own wait grows to two minutes, and a lease is lost when the client comes back later than its TTL after etcd did: after
// 30 s without etcd, at TTL 5, all of 100 services were lost. What this package, registry and watcher do with a client ends these waits
// as long as they have something to do, so they come back on a client of any making; the caller's own calls do not, and wait.
//
// The caller sets the rest:
//
//   - Endpoints must name all members. With one of three, that member's end is the end of etcd, and a member that is frozen
//     can't be left.
//   - DialKeepAliveTime may be set, at 10 s or more, and nothing here relies on it: gRPC raises a shorter one to 10 s, and an
//     etcd server closes connections that ping more often than every 5 s. A silent member is noticed by the deadline of a renewal
//     or of a question, within a second.
//   - The client must outlive what was made on it, and have the right to read and write below the prefix.
func DialOptions(connectTimeout time.Duration) []grpc.DialOption {
	if connectTimeout <= 0 {
		connectTimeout = DefaultConnectTimeout
	}
	return []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: firstReconnect, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnect},
		// Zero would give an attempt no longer than the backoff to come about, and etcd's name might take that to resolve.
		MinConnectTimeout: connectTimeout,
	})}
}

// maxReconnect with its jitter of a fifth reaches maxWait.
const maxReconnect = maxWait * 5 / 6

// CheckClient says why a client can't work, as far as that is certain and nobody has to be asked: there is none, it is closed,
// or it has no endpoints. That an etcd is there, and that all its members are named, only etcd could tell.
func CheckClient(client Client) error {
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("an etcd client is needed")
	}
	conn := client.ActiveConnection()
	if conn == nil {
		return errors.New("the etcd client has no connection; make it with clientv3.New")
	}
	if c, ok := client.(interface{ Ctx() context.Context }); ok && c.Ctx().Err() != nil || conn.GetState() == connectivity.Shutdown {
		return errors.New("the etcd client is closed; make another")
	}
	if c, ok := client.(interface{ Endpoints() []string }); ok && len(c.Endpoints()) == 0 {
		return errors.New("the etcd client has no endpoints; name all members")
	}
	return nil
}

// Reconnect ends gRPC's wait between two attempts to connect, if there is no connection at all. It does nothing else, and above all
// not while one works: gRPC walks through its connections without a lock then, and a change of the client's endpoints at the
// same moment would end the process ("concurrent map iteration and map write"; grpc-go, pull request 9155).
func Reconnect(client Client) {
	if conn := client.ActiveConnection(); conn.GetState() == connectivity.TransientFailure {
		conn.ResetConnectBackoff()
	}
}
