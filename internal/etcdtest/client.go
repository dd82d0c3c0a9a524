package etcdtest

import (
	"context"
	"net"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/hbctl/hbctl/lease"
)

// A Client is an etcd client with a network of its own. Methods of the Gate are
// promoted: c.Cut() cuts this client off and no other.
type Client struct {
	*clientv3.Client
	*Gate
}

// Dial makes a client with a network of its own, for a process that a test has started: it has no test to end with, and is
// its caller's to close.
func Dial(endpoints []string, configure ...func(*clientv3.Config)) (*Client, error) {
	return makeClient(endpoints, overTCP, configure)
}

func overTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// newClient makes a client whose connections come from dial, through a Gate.
func newClient(t testing.TB, endpoints []string, dial dialer, configure ...func(*clientv3.Config)) *Client {
	t.Helper()
	client, err := makeClient(endpoints, dial, configure)
	if err != nil {
		t.Fatalf("etcdtest: new client: %v", err)
	}
	return client
}

func makeClient(endpoints []string, dial dialer, configure []func(*clientv3.Config)) (*Client, error) {
	gate := newGate()
	cfg := clientv3.Config{
		Endpoints: endpoints,
		Logger:    zap.NewNop(),
		DialOptions: append(lease.DialOptions(0), grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return gate.dial(ctx, addr, dial)
		})),
	}
	for _, f := range configure {
		f(&cfg)
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{Client: client, Gate: gate}, nil
}

// shut closes the client, unless the test has done so already.
func (c *Client) shut() {
	_ = c.Close() // fails the second time
	c.Break()
}
