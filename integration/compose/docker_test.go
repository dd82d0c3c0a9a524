//go:build linux

package compose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

const (
	root = "../.." // of the module, where the compose file is

	// callLimit is for one call of docker or compose, on a machine that is busy.
	callLimit = 2 * time.Minute
	// buildLimit is for the images, from nothing.
	buildLimit = 10 * time.Minute
)

func TestMain(m *testing.M) {
	defer etcdtest.Alone()()
	goleak.VerifyTestMain(m)
}

// engine is what there is to run containers with.
type engine struct {
	compose []string // the program and its first arguments
	lacks   string   // why there is none
	err     error    // of building the images
}

// find looks for it once, and builds the images.
var find = sync.OnceValue(func() *engine {
	e := &engine{}
	if _, err := exec.LookPath("docker"); err != nil {
		e.lacks = "there is no docker"
		return e
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	kernel, err := call(ctx, nil, "docker", "info", "--format", "{{.KernelVersion}}")
	if err != nil {
		e.lacks = "there is no Docker engine: " + err.Error()
		return e
	}
	// Histories are of one clock, so the containers must be on this machine.
	if own, err := call(ctx, nil, "uname", "-r"); err != nil || own != kernel {
		e.lacks = fmt.Sprintf("the Docker engine is on another machine: its kernel is %s, not %s (%v)", kernel, own, err)
		return e
	}
	for _, compose := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if _, err := call(ctx, nil, compose[0], append(compose[1:], "version")...); err == nil {
			e.compose = compose
			_, e.err = call(ctx, nil, "make", "-C", root, "images")
			return e
		}
	}
	e.lacks = "there is neither docker compose nor docker-compose"
	return e
})

// need gives the engine, or skips the test.
func need(t *testing.T) *engine {
	t.Helper()
	if testing.Short() {
		t.Skip("starts containers, and takes minutes")
	}
	e := find()
	if e.lacks != "" {
		t.Skip(e.lacks)
	}
	if e.err != nil {
		t.Fatal(e.err)
	}
	return e
}

// call runs a program and gives what it printed.
func call(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	return output(cmd)
}

// output gives what a command prints, without the last end of line. What it says of a failure is in the error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSuffix(stdout.String(), "\n"), err
}

// docker runs docker.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	out, err := call(ctx, nil, "docker", args...)
	if err != nil {
		t.Error(err)
	}
	return out
}

// exitCode gives the code that a program ended with, or -1.
func exitCode(err error) int {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}
