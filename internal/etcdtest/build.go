package etcdtest

import (
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// workDir is the directory of the package under test. It is taken before any test can
// change it, as the etcd framework under [Cluster] does.
var workDir, errWorkDir = os.Getwd()

// builds are the commands built by this process.
var builds = struct {
	sync.Mutex
	m map[build]func() (string, error)
}{m: make(map[build]func() (string, error))}

type build struct{ pkg, flags string }

// Binary builds a command and returns the path of the program. The package is an import
// path, or one relative to the root of this module as in "./cmd/hbctl"; flags go to go
// build, for example "-race". A package is built once per process, and not at all when
// nothing has changed: programs are kept in .bin at the root of the module.
func Binary(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	key := build{pkg, strings.Join(flags, " ")}
	builds.Lock()
	once := builds.m[key]
	if once == nil {
		once = sync.OnceValues(func() (string, error) { return goBuild(pkg, flags) })
		builds.m[key] = once
	}
	builds.Unlock()
	program, err := once()
	if err == nil && strings.HasPrefix(pkg, "./") {
		err = dependOnSources()
	}
	if err != nil {
		t.Fatalf("etcdtest: build %s: %v", pkg, err)
	}
	return program
}

// dependOnSources lets go test see that a test is about all code of this module, of which it need not import anything: else
// it would keep a result when the program has changed.
func dependOnSources() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root, d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"):
			_, err = os.Stat(path) // which is what it notes
		}
		return err
	})
}

func goBuild(pkg string, flags []string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Packages are tested by processes of their own, several at once.
	lock, err := fileutil.LockFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_WRONLY, fileutil.PrivateFileMode)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()

	program := filepath.Join(dir, programName(pkg, flags))
	args := append([]string{"build", "-buildvcs=false", "-o", program}, flags...)
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

var majorVersion = regexp.MustCompile(`^v\d+$`)

// programName is what go build would call the program, with a mark for what else went
// into it.
func programName(pkg string, flags []string) string {
	name := path.Base(pkg)
	if majorVersion.MatchString(name) {
		name = path.Base(path.Dir(pkg))
	}
	if len(flags) == 0 && strings.HasPrefix(pkg, "./") {
		return name
	}
	mark := fnv.New32a()
	_, _ = fmt.Fprint(mark, pkg, flags)
	return fmt.Sprintf("%s-%08x", name, mark.Sum32())
}

func moduleRoot() (string, error) {
	if errWorkDir != nil {
		return "", errWorkDir
	}
	for dir := workDir; ; {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("go.mod above %s: %w", workDir, fs.ErrNotExist)
		}
		dir = parent
	}
}
