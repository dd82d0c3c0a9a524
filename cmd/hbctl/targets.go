package main

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// targetsUsage is how a command with targets is called.
const targetsUsage = "BINARY/HOST... | SELECTION"

// targets is what a command is about: instances by name, or those that are selected.
type targets struct {
	names  []registry.Name
	filter registry.Filter
}

// targets reads the arguments and the selecting flags. There must be one or the other, and not both: nothing means "all" by
// accident, and who gives both may mean either.
func (p *program) targets(c *cli.Context) (targets, error) {
	var t targets
	for _, arg := range slices.Concat(p.line.args, p.line.rest) {
		name, err := registry.ParseName(arg)
		if err != nil {
			return t, invalid(err)
		}
		if !slices.Contains(t.names, name) {
			t.names = append(t.names, name)
		}
	}
	selected := false
	for _, f := range selectorFlags() {
		selected = selected || c.IsSet(f.Names()[0])
	}
	switch {
	case selected && len(t.names) > 0:
		return t, usageIn(c.Command.Name, "targets and a selection are both given; keep one of them")
	case !selected && len(t.names) == 0:
		return t, usageIn(c.Command.Name, "nothing is selected; name BINARY/HOST, as 'hbctl list -o name' gives it, or select, as with --zone az1")
	}
	var err error
	t.filter, err = selection(c)
	return t, err
}

// resolve gives the names. A selection is looked up now; one that selects nothing is not an error.
func (t targets) resolve(ctx context.Context, p *program, client *clientv3.Client) ([]registry.Name, error) {
	if len(t.names) > 0 {
		return t.names, nil
	}
	snap, err := registry.List(ctx, client, registry.ListOptions{Prefix: p.settings.keys.Prefix(), Filter: t.filter})
	if err != nil {
		return nil, err
	}
	names := make([]registry.Name, len(snap.Services))
	for i := range snap.Services {
		names[i] = snap.Services[i].Name()
	}
	return names, nil
}

// worst joins what went wrong with several targets: every error is told, and the highest code is the one to end with.
type worst struct {
	p    *program
	errs []error
}

// add tells an error at once, so that its line stands where it happened.
func (w *worst) add(err error) {
	if err != nil {
		w.errs = append(w.errs, err)
	}
}

// err gives nothing for none, the error itself for one, and else the last word on all of them.
func (w *worst) err() error {
	if len(w.errs) < 2 {
		return errors.Join(w.errs...)
	}
	code := exitOK
	for _, err := range w.errs {
		w.p.sayWhy(err)
		code = max(code, exitCode(err))
	}
	return &exitError{code: code}
}
