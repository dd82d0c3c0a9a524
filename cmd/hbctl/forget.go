package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

func (p *program) forgetCommand() *cli.Command {
	return &cli.Command{
		Name: "forget", Usage: "remove the rows of what is down for good", ArgsUsage: targetsUsage, Args: true,
		UsageText: "hbctl forget [--evict] [--admin] " + targetsUsage,
		Description: `Removes the record of instances that are down. What operators said of them stays, for when they come back, unless
--admin is given. What is up is refused, unless --evict is given: then its incarnation is evicted for good. 'hbctl register'
ends by that, a service in Go is told, and 'hbctl run' does with its command what its --on-lost says: by default the
command runs on, unseen. Started anew, the service may register again.

Examples:
   hbctl forget cinder-volume/node1
   hbctl forget --state down --host node7
   hbctl forget --evict --reason 'moved to node2' cinder-volume/node1

Shows the rows as they were. Of several targets all are tried.`,
		Flags: append(append(selectorFlags(), queryFlags()...),
			&cli.BoolFlag{Name: "admin", Usage: "forget what operators said, too"},
			&cli.BoolFlag{Name: "evict", Usage: "also what is up: end its registration for good"},
			&cli.StringFlag{Name: "reason", Usage: "why it is evicted: `REASON` is told to its holder"},
			outputFlag(listFormats...),
		),
		Action: p.action(p.forget),
	}
}

func (p *program) forget(ctx context.Context, c *cli.Context) error {
	what, err := p.targets(c)
	if err != nil {
		return err
	}
	format, err := output(c, listFormats...)
	if err != nil {
		return err
	}
	query, err := p.query(c)
	if err != nil {
		return err
	}
	forgetting := registry.Forgetting{Admin: c.Bool("admin"), Evict: c.Bool("evict"), Reason: c.String("reason")}
	if c.IsSet("reason") && !forgetting.Evict {
		return usageIn("forget", "--reason is kept with an eviction only; give --evict, or leave it out")
	}
	var rows []registry.Service
	work := operating{p: p, writes: true, each: func(ctx context.Context, o *registry.Operator, name registry.Name) error {
		row, err := o.Forget(ctx, name, forgetting)
		switch {
		case err == nil:
			rows = append(rows, *row)
		case errors.Is(err, registry.ErrUp):
			err = fmt.Errorf("%w with --evict", err)
		}
		return err
	}}
	cluster, err := work.run(ctx, what, func(context.Context, *clientv3.Client) {})
	if len(rows) > 0 || err == nil {
		view := listView{format: format, query: query, colored: p.color(p.stdout), now: time.Now()}
		snap := &registry.Snapshot{Cluster: cluster.id, Revision: cluster.revision, Services: rows}
		if writeErr := view.write(p.stdout, snap); writeErr != nil {
			return rowsUnwritten(err, writeErr)
		}
	}
	return err
}
