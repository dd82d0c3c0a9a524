package registry

import (
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// keepProbing asks again and again whether the stream is alive, and ends it when it is not. It is not the writer's work: a
// frozen member blocks the writer.
func (w *keyWatch) keepProbing(s *watchStream) {
	probe := time.NewTicker(watchProbe)
	defer probe.Stop()
	for {
		select {
		case <-probe.C:
			if !w.probe(s) {
				s.cancel()
				return
			}
		case <-s.rpc.Context().Done():
			return
		}
	}
}

// probe asks for progress, again if a question is open; it reports whether the stream still counts as alive. etcd answers only
// when every watch of the stream has been told everything, so the answer is proof of both.
func (w *keyWatch) probe(s *watchStream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !s.asking {
		s.asking, s.askedAt = true, time.Now()
	} else if time.Since(s.askedAt) >= watchSilence {
		return false
	}
	// Again, if it is open: etcd drops a question that comes while a watch is still catching up.
	s.send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
	return true
}
