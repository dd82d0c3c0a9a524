package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// operating is work on some targets, one after the other.
type operating struct {
	p      *program
	writes bool // each changes something, so that a missing answer leaves open whether it did
	// each does it to one target.
	each func(ctx context.Context, o *registry.Operator, name registry.Name) error
}

// run connects, finds the targets, and tries all of them. Each has the command's timeout for itself: a selection may be of
// thousands, and an etcd that answers them one by one is not one that does not answer. When one is not answered the others
// are not tried, so it ends in time. It gives where the rows were read, which last, for all of them together, may add to.
func (w operating) run(ctx context.Context, what targets, last func(context.Context, *clientv3.Client)) (clusterState, error) {
	p := w.p
	var names []registry.Name
	client, err := p.connectInTime(ctx, func(ctx context.Context, client *clientv3.Client) error {
		var err error
		names, err = what.resolve(ctx, p, client)
		if err == nil && len(what.names) > 0 {
			_, err = client.Get(ctx, p.settings.keys.Admin(names[0]))
		}
		return err
	})
	if err != nil {
		return clusterState{}, err
	}
	defer client.Close()
	o, err := registry.NewOperator(client, registry.OperatorConfig{Prefix: p.settings.keys.Prefix(), By: p.who(), Only: what.filter})
	if err != nil {
		return clusterState{}, err
	}
	if answered, err := w.all(ctx, o, names); !answered {
		return clusterState{}, err
	} else {
		ctx, cancel := p.bounded(ctx)
		defer cancel()
		last(ctx, client)
		return stateOf(ctx, client), err
	}
}

// all tries the targets, and says whether etcd has answered about all of them.
func (w operating) all(ctx context.Context, o *registry.Operator, names []registry.Name) (answered bool, _ error) {
	failed := worst{p: w.p}
	for i, name := range names {
		err := w.one(ctx, o, name)
		switch {
		case err == nil:
			continue
		case errors.Is(err, registry.ErrUnselected): // since it was looked up: not what was asked for
			w.p.log.Warn().Msg(err.Error() + " any more, and was left alone")
			continue
		}
		if cut := w.unanswered(ctx, err, name, len(names)-i-1); cut != nil {
			failed.add(cut)
			return false, failed.err()
		}
		failed.add(w.p.operationError(err))
	}
	return true, failed.err()
}

func (w operating) one(ctx context.Context, o *registry.Operator, name registry.Name) error {
	ctx, cancel := w.p.bounded(ctx)
	defer cancel()
	return w.each(ctx, o, name)
}

// unanswered gives the error of an operation that etcd did not answer, or that was not waited for because a signal ended the
// command, and tells how many others it ends; nil if that is not what happened.
func (w operating) unanswered(ctx context.Context, err error, name registry.Name, others int) error {
	rest := ""
	if w.writes {
		rest = "; whether it was written is not known"
	}
	if others > 0 {
		rest += fmt.Sprintf("; %d more were not tried", others)
	}
	if sig := new(stopped); errors.As(context.Cause(ctx), sig) {
		return &exitError{code: exitCode(*sig), err: fmt.Errorf("%s: %s%s", name, sig.Error(), rest)} // not wrapped: it is to be told
	}
	if isUnavailable(err) || ctx.Err() != nil {
		return &unreachableError{reason: fmt.Sprintf("%s: etcd did not answer within %v: %s%s", name, w.p.settings.commandTimeout, inWords(err), rest)}
	}
	return nil
}

// operationError puts a refusal into words, with its exit code.
func (p *program) operationError(err error) error {
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return &exitError{code: exitNot, err: err}
	case errors.Is(err, registry.ErrInvalid):
		return invalid(err)
	case isDenied(err):
		return &exitError{code: exitDenied, err: p.denied(err)}
	}
	return err
}

// clusterState is where the rows were read; zero if that is not known.
type clusterState struct {
	id       uint64
	revision int64
}

func stateOf(ctx context.Context, client *clientv3.Client) clusterState {
	resp, err := client.Get(ctx, "\x00", clientv3.WithCountOnly())
	if err != nil {
		return clusterState{}
	}
	return clusterState{resp.Header.ClusterId, resp.Header.Revision}
}

// who says who speaks: the user of etcd, else that of the system, and the machine.
func (p *program) who() string {
	name := p.settings.user
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	if sudo := p.getenv("SUDO_USER"); sudo != "" && p.settings.user == "" {
		name = sudo // root is everybody
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
