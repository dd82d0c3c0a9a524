package faults_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/hbtest"
)

// A controlGroup is the folder of a control group, of version 1, by which processes get only a part of the machine.
type controlGroup struct {
	t      testing.TB
	folder string
}

// groupLimit is the file and the value of one.
type groupLimit struct {
	file  string
	value int
}

// newControlGroup makes one. It must be made before what it is to take, which is then gone when it is removed.
func newControlGroup(t testing.TB, controller string, limits ...groupLimit) controlGroup {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	g := controlGroup{t, filepath.Join("/sys/fs/cgroup", controller, fmt.Sprintf("hbctl-test-%d", os.Getpid()))}
	if err := os.Mkdir(g.folder, 0o755); err != nil {
		t.Skipf("no control group of %s can be made here (version 1, as root): %v", controller, err)
	}
	t.Cleanup(func() {
		// The kernel takes its time with a group whose process was just killed.
		hbtest.Eventually(t, 10*time.Second, "the control group is empty", func() bool {
			err := syscall.Rmdir(g.folder)
			return err == nil || errors.Is(err, os.ErrNotExist)
		})
	})
	for _, l := range limits {
		g.write(l.file, l.value)
	}
	return g
}

// take puts a process into the group.
func (g controlGroup) take(pid int) {
	g.t.Helper()
	g.write("cgroup.procs", pid)
}

func (g controlGroup) write(file string, value int) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.folder, file), fmt.Append(nil, value), 0o600); err != nil {
		g.t.Skipf("%s can't be set here: %v", file, err)
	}
}
