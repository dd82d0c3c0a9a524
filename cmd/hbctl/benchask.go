package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hbctl/hbctl/internal/bench"
)

// errNotSure is why nothing was done.
var errNotSure = errors.New("nothing was done")

// announce says what will be done to a cluster that was given, and lets nobody do that by chance.
func (p *program) announce(ctx context.Context, b *benching, cluster string) error {
	plan := bench.Estimate(b.Config, b.curve)
	takes := plan.Time.Round(time.Second)
	if takes > 2*time.Minute {
		takes = takes.Round(time.Minute)
	}
	where := "it"
	if !b.own {
		where = "the cluster " + cluster
	}
	fmt.Fprintf(p.stderr, "This writes under %s of %s, as fast as etcd takes it: up to %d keys and %d leases at once, some %d writes in all, in about %v. It removes them at the end.\n",
		b.Prefix, where, plan.Keys, plan.Leases, plan.Writes, takes)
	if b.own {
		return nil
	}
	fmt.Fprintln(p.stderr, "Whoever else uses that cluster will feel it, and its history grows by these writes until it is compacted.")
	switch {
	case b.sure:
		return nil
	case !terminal(p.stdin) || !terminal(p.stderr):
		return usageIn("bench", "there is no terminal to ask on; give --yes if that is meant")
	}
	fmt.Fprint(p.stderr, "Go on? [y/N] ")
	return p.confirmed(ctx)
}

// confirmed reads the answer. Nothing but a yes is one.
func (p *program) confirmed(ctx context.Context) error {
	var answer string
	// A read from a terminal can't be ended; after Ctrl-C the program ends, and it with it.
	reading := inBackground(func() (err error) {
		answer, err = bufio.NewReader(p.stdin).ReadString('\n')
		return err
	})
	select {
	case <-reading.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &exitError{code: exitFailed, err: errNotSure}
}
