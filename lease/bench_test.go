package lease

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// BenchmarkSchedule takes the lease that is due first and gives it its next place, as each renewal does twice.
func BenchmarkSchedule(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var s schedule
			for i := range n {
				s.set(&Lease{heapIndex: -1}, time.Duration(i)*time.Microsecond)
			}
			interval := time.Duration(n) * time.Microsecond
			b.ReportAllocs()
			for b.Loop() {
				s.set(s[0].lease, s[0].due+interval)
			}
		})
	}
}

// echo is a lease server that answers every renewal at once.
type echo struct{ pb.UnimplementedLeaseServer }

func (echo) LeaseGrant(_ context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	return &pb.LeaseGrantResponse{ID: r.ID, TTL: r.TTL}, nil
}

func (echo) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(&pb.LeaseKeepAliveResponse{ID: r.ID, TTL: 30}); err != nil {
			return err
		}
	}
}

// connection is a Client.
type connection struct{ conn *grpc.ClientConn }

func (c connection) ActiveConnection() *grpc.ClientConn { return c.conn }

// toEcho connects with an echo, without a network.
func toEcho(b *testing.B) connection {
	b.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	pb.RegisterLeaseServer(server, echo{})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	conn, err := grpc.NewClient("passthrough:echo", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return listener.Dial() }))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		serving.Wait()
	})
	return connection{conn}
}

// BenchmarkRenewals renews all leases of a process that are due at once, and waits for the answers. The server's share is in the
// figures.
func BenchmarkRenewals(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := New(toEcho(b), Config{})
			ctx, stop := context.WithCancel(b.Context())
			var running sync.WaitGroup
			running.Go(func() { _ = r.Run(ctx) })
			defer running.Wait()
			defer stop()
			leases := make([]*Lease, n)
			for i := range leases {
				var err error
				if leases[i], err = r.Grant(ctx, 30*time.Second); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				before := r.answers(leases)
				r.allDue(leases)
				for r.answers(leases) < before+int64(n) {
					time.Sleep(time.Millisecond)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "renewals/s")
		})
	}
}

func (r *Renewer) allDue(leases []*Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.now()
	for _, l := range leases {
		l.nextSend = now
		r.put(l, now)
	}
	r.loop.Wake()
}

func (r *Renewer) answers(leases []*Lease) (sum int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range leases {
		sum += l.stats.Renewals
	}
	return sum
}
