// Command hbctl keeps services registered in etcd, lists them, and tells which went up or down as it happens.
package main

import (
	"context"
	"io"
	"os"

	"github.com/rs/zerolog"
	"google.golang.org/grpc/grpclog"

	"github.com/hbctl/hbctl/internal/supervise"
)

// system is what the program gets from the outside, so that tests can give it something else.
type system struct {
	args   []string // the program's name first
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
}

func main() {
	if supervise.IsGuardian(os.Args) {
		os.Exit(supervise.Guard())
	}
	setGlobals()
	os.Exit(run(context.Background(), system{
		args: os.Args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
	}))
}

// setGlobals sets what there is one of in a process. gRPC would write its own lines to stderr, in between ours.
func setGlobals() {
	catchBrokenPipe()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00"
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, sys system) int {
	p := newProgram(sys)
	return p.finish(p.execute(ctx))
}
