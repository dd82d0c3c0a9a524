package watcher

import (
	"context"
	"math"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// A stream is one watch on one member, never more: when it ends, for whatever reason, it is over. The etcd client's own
// Watcher reconnects in silence instead, possibly to a cluster restored from a backup; its Watch can block for ever on a
// frozen member; and it buffers without bound.
type stream struct {
	cancel    context.CancelFunc
	responses chan *pb.WatchResponse // closed at the end
	err       error                  // why; to be read after that
	watch     pb.Watch_WatchClient   // to be used after the first response
	running   sync.WaitGroup
}

// ahead is how many messages are read before they are asked for, so that at full speed each need not wait for the other side. It is few:
// behind a backlog one may tell of a thousand revisions.
const ahead = 4

// openStream asks for everything in the range from the revision on. It returns at once; the first response says that the
// watch began. The caller must close the stream.
func openStream(ctx context.Context, conn grpc.ClientConnInterface, begin, end string, revision int64) *stream {
	// Without a leader a member would go on serving an old state as if nothing had happened.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	s := &stream{cancel: cancel, responses: make(chan *pb.WatchResponse, ahead)}
	s.running.Go(func() {
		defer close(s.responses)
		s.err = etcdError(s.receive(ctx, conn, &pb.WatchCreateRequest{
			// No Fragment: etcd's cost of it is quadratic. No PrevKv: it can be missing, and the view knows.
			Key: []byte(begin), RangeEnd: []byte(end), StartRevision: revision, ProgressNotify: true,
		}))
	})
	return s
}

func (s *stream) receive(ctx context.Context, conn grpc.ClientConnInterface, create *pb.WatchCreateRequest) error {
	// All events of one revision are one message, and 50,000 keys of one lease are one revision.
	watch, err := pb.NewWatchClient(conn).Watch(ctx, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return err
	}
	s.watch = watch
	if err := watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}}); err != nil {
		return err
	}
	for {
		response, err := watch.Recv()
		if err != nil {
			return err
		}
		select {
		case s.responses <- response:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ask asks for a sign of life: etcd answers with the revision up to which everything was sent, if nothing is in the way. An
// error need not be looked at: the stream ends then.
func (s *stream) ask() {
	_ = s.watch.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}

// close ends the stream and waits until nothing of it runs.
func (s *stream) close() {
	s.cancel()
	s.running.Wait()
}
