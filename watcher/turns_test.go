package watcher

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

// turns makes every second call of a client meet a member that is frozen: with two members calls go to them in turn.
type turns struct {
	frozen atomic.Bool
	calls  atomic.Int64
}

// wait returns at once when it is the turn of the member that lives, and with the context's error otherwise.
func (m *turns) wait(ctx context.Context) error {
	if !m.frozen.Load() || m.calls.Add(1)%2 == 0 {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (m *turns) configure(cfg *clientv3.Config) {
	cfg.DialOptions = append(cfg.DialOptions,
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if err := m.wait(ctx); err != nil {
				return err
			}
			return invoker(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			if err := m.wait(ctx); err != nil {
				return nil, err
			}
			return streamer(ctx, desc, cc, method, opts...)
		}))
}

// One of two members is frozen. Whoever is asked first, the watch is soon with the other one: no call of an attempt may meet the
// frozen one each time, or the reader would be blind until it wakes up.
func TestOneOfTwoMembersIsFrozen(t *testing.T) {
	for first := range int64(2) {
		t.Run(fmt.Sprint("first call ", first), func(t *testing.T) {
			fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
				var members turns
				members.calls.Store(first)
				c := s.NewClient(members.configure)
				lease := w.grant(3600)
				w.txn(putRecord(vol1), putAlive(vol1, lease))
				r := watch(t, c.Client, Now())
				r.want(Snapshot)
				members.frozen.Store(true)
				c.Break()
				begin := time.Now()
				came := w.txn(putRecord(vol2), putAlive(vol2, lease))
				b := r.next()
				for b.Kind == Stale || b.Kind == Live {
					b = r.next()
				}
				if took := time.Since(begin); took > 2*DefaultStaleAfter {
					t.Errorf("told after %v, want at most %v", took, 2*DefaultStaleAfter)
				}
				wantLines(t, tell(b.Events), []string{fmt.Sprintf("up vol/n2 inc=%d zone=az1 state=up", came)})
			})
		})
	}
}
