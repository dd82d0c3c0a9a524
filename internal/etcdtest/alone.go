package etcdtest

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// Alone waits until no other package runs that called it, for the life of this process. It is for the TestMain of packages whose
// tests start many processes and look at the clock: go test runs several packages at once, and on a small machine they would
// be each other's fault. Processes that a test starts of itself must not call it.
func Alone() {
	if err := alone(); err != nil {
		panic(fmt.Sprintf("etcdtest: waiting for other packages: %v", err))
	}
}

func alone() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	dir := filepath.Join(root, ".bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	aloneLock, err = fileutil.LockFile(filepath.Join(dir, "alone"), os.O_CREATE|os.O_WRONLY, fileutil.PrivateFileMode)
	return err
}

// aloneLock is held to the end of the process. A file that nobody refers to would be closed, and unlocked with it.
var aloneLock *fileutil.LockedFile
