package main

import (
	"context"
	"io"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// listed is what is left to know of a list that was written.
type listed struct {
	revision int64
	down     bool // something is
	warnings []registry.Warning
}

// writeList lists within the command's timeout, and writes the rows while they are read.
func (p *program) writeList(ctx context.Context, opts registry.ListOptions, view listView) (listed, error) {
	var l listed
	out := newSpool(p.stdout)
	reading := newProgress(p.progressTo(view.aligned()), "instances read")
	client, err := p.connectInTime(ctx, func(ctx context.Context, client *clientv3.Client) error {
		return l.read(ctx, client, opts, view.sink(out), reading)
	})
	reading.stop()
	if err != nil {
		out.drop()
		return l, err
	}
	if err := client.Close(); err != nil {
		out.drop()
		return l, err
	}
	if err := out.close(); err != nil {
		return l, unwritten("the list", err)
	}
	return l, nil
}

// read hands the rows to the sink.
func (l *listed) read(ctx context.Context, client registry.Lister, opts registry.ListOptions, sink listSink, reading *progress) error {
	list, err := registry.Stream(ctx, client, opts)
	if err != nil {
		return err
	}
	l.revision = list.Revision
	if err := sink.begin(list.Cluster, list.Revision); err != nil {
		return unwritten("the list", err)
	}
	for s, err := range list.Rows(ctx) {
		if err != nil {
			return err
		}
		reading.count.Add(1)
		l.down = l.down || s.State == registry.Down
		if err := sink.row(s); err != nil {
			return unwritten("the list", err)
		}
	}
	l.warnings = list.Warnings()
	if err := sink.end(l.warnings); err != nil {
		return unwritten("the list", err)
	}
	return nil
}

// progressTo gives where progress is told: to a person, and not into rows that come out meanwhile.
func (p *program) progressTo(silent bool) io.Writer {
	if terminal(p.stderr) && (silent || !terminal(p.stdout)) {
		return p.stderr
	}
	return nil
}
