package etcdtest

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// Alone waits until no other package runs that called it, and until release is called or the process ends. It is for the
// TestMain of packages whose tests start many processes and look at the clock: go test runs several packages at once, and
// on a small machine they would be each other's fault. Processes that a test starts of itself must not call it.
func Alone() (release func()) {
	lock, err := alone()
	if err != nil {
		panic(fmt.Sprintf("etcdtest: waiting for other packages: %v", err))
	}
	return func() { _ = lock.Close() } // it refers to the lock, which would be closed if nobody did
}

func alone() (*fileutil.LockedFile, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, ".bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return fileutil.LockFile(filepath.Join(dir, "alone"), os.O_CREATE|os.O_WRONLY, fileutil.PrivateFileMode)
}
