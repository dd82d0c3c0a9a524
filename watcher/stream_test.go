package watcher

import (
	"context"
	"errors"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// A wire notes what a stream is asked for, and refuses it.
type wire struct {
	grpc.ClientConnInterface
	asked metadata.MD
}

func (w *wire) NewStream(ctx context.Context, _ *grpc.StreamDesc, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	w.asked, _ = metadata.FromOutgoingContext(ctx)
	return nil, rpctypes.ErrGRPCNoLeader
}

func TestStream(t *testing.T) {
	var w wire
	s := openStream(t.Context(), &w, "/hb/", "/hb0", 7)
	if _, open := <-s.responses; open || !errors.Is(s.err, rpctypes.ErrNoLeader) {
		t.Errorf("ended with %v, want etcd's own error", s.err)
	}
	s.close()
	// A member without a leader would go on serving an old state.
	if !slices.Equal(w.asked.Get(rpctypes.MetadataRequireLeaderKey), []string{rpctypes.MetadataHasLeader}) {
		t.Errorf("asked with %v, want a leader to be required", w.asked)
	}
}
