package etcdtest

import (
	"os"
	"path/filepath"
)

// Wipe stops the server and starts it again without its data: as after a restore from
// a backup, the cluster is the same and its revision has gone back.
func (s *FakeServer) Wipe() {
	s.t.Helper()
	s.Stop()
	names, err := filepath.Glob(filepath.Join(s.dir, "*"))
	if err != nil {
		s.t.Fatalf("etcdtest: %v", err)
	}
	for _, name := range names {
		if err := os.RemoveAll(name); err != nil {
			s.t.Fatalf("etcdtest: %v", err)
		}
	}
	s.Start()
}
