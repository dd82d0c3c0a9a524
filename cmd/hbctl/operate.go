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

// operation is a command that writes what an operator wants of some instances.
type operation struct {
	name, aliases, usage, description string
	reason                            bool // --reason says why
	wish                              func(reason string) registry.Wish
	column                            column // shows what was wanted
}

var (
	disabledReason = column{"DISABLED_REASON", func(s *registry.Service) string { return orUnknown(s.DisabledReason) }}
	forcedReason   = column{"FORCED_REASON", func(s *registry.Service) string { return orUnknown(s.ForcedReason) }}
)

var operations = []operation{
	{
		name: "enable", aliases: "service-enable", usage: "let instances be used again", column: disabledReason,
		wish: func(string) registry.Wish { return registry.ToEnable() },
		description: `Takes back what 'hbctl disable' said. Status is what operators want; state, up or down, is what is observed and does not
change by it.

Examples:
   hbctl enable cinder-volume/node1
   hbctl enable --zone az1 --status disabled`,
	},
	{
		name: "disable", aliases: "service-disable", usage: "say that instances shall not be used", reason: true, column: disabledReason,
		wish: registry.ToDisable,
		description: `The word stays with the name, with reason, who and when, through crashes and restarts of the service, until 'hbctl enable'.
It is up to schedulers to heed it: the service itself runs on.

Examples:
   hbctl disable cinder-volume/node1 --reason 'disk is being replaced'
   hbctl disable -l rack=r1 --reason 'rack maintenance'
   hbctl disable cinder-volume/node9 --create --reason 'not yet'    before it has ever registered`,
	},
	{
		name: "force-down", usage: "count instances as down, whatever is observed", reason: true, column: forcedReason,
		wish: registry.ToForceDown,
		description: `The operator's word over observation: the instances are down, with the cause forced, until 'hbctl force-up', also when the
service restarts. What is observed goes on being told as "present".

Examples:
   hbctl force-down nova-compute/node7 --reason 'host is fenced'
   hbctl list -o name --host node7 | xargs hbctl force-down --reason 'host is fenced'`,
	},
	{
		name: "force-up", usage: "lift a force-down: what is observed counts again", column: forcedReason,
		wish: func(string) registry.Wish { return registry.ToForceUp() },
		description: `Lifts the operator's word; the instance is up if it is present.

Examples:
   hbctl force-up nova-compute/node7`,
	},
}

func (p *program) operationCommands() []*cli.Command {
	var commands []*cli.Command
	for _, op := range operations {
		commands = append(commands, p.operationCommand(op))
	}
	return commands
}

func (p *program) operationCommand(op operation) *cli.Command {
	c := &cli.Command{
		Name: op.name, Usage: op.usage, ArgsUsage: targetsUsage, Args: true,
		UsageText:   fmt.Sprintf("hbctl %s %s", op.name, targetsUsage),
		Description: op.description + "\n\nAnswers with the rows as they were read back. Of several targets all are tried.",
		Flags:       selectorFlags(),
	}
	if op.aliases != "" {
		c.Aliases = []string{op.aliases}
	}
	if op.reason {
		c.UsageText = fmt.Sprintf("hbctl %s --reason REASON %s", op.name, targetsUsage)
		c.Flags = append(c.Flags, &cli.StringFlag{Name: "reason", Usage: "`REASON` is kept and shown; required"})
	}
	c.Flags = append(append(c.Flags, queryFlags()...),
		&cli.BoolFlag{Name: "create", Usage: "also for a target that has no row yet"},
		outputFlag(listFormats...),
	)
	c.Action = p.action(func(ctx context.Context, c *cli.Context) error { return p.operate(ctx, c, op) })
	return c
}

// operate makes the wish come true for all targets and shows their rows as read back.
func (p *program) operate(ctx context.Context, c *cli.Context, op operation) error {
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
	reason := c.String("reason")
	if op.reason && reason == "" {
		return usageIn(op.name, "--reason is missing; say why, for those who find it later")
	}
	if c.Bool("create") && len(what.names) == 0 {
		return usageIn(op.name, "--create needs the names of targets: a selection has only what is there")
	}
	wish := op.wish(reason)
	if c.Bool("create") {
		wish = wish.Create()
	}
	var rows []registry.Service
	work := operating{p: p, writes: true, each: func(ctx context.Context, o *registry.Operator, name registry.Name) error {
		row, err := o.Want(ctx, name, wish)
		if errors.Is(err, registry.ErrNotFound) {
			err = fmt.Errorf("%w; to say it beforehand, give --create", err)
		}
		if err == nil {
			rows = append(rows, *row)
		}
		return err
	}}
	cluster, err := work.run(ctx, what, func(ctx context.Context, client *clientv3.Client) {
		_ = registry.AskLastBeats(ctx, client, rows, nil) // without it the times are those that the services wrote
	})
	if len(rows) > 0 || err == nil {
		view := listView{format: format, query: query, colored: p.color(p.stdout), now: time.Now(), extra: []column{op.column}}
		snap := &registry.Snapshot{Cluster: cluster.id, Revision: cluster.revision, Services: rows}
		if writeErr := view.write(p.stdout, snap); writeErr != nil {
			return rowsUnwritten(err, writeErr)
		}
	}
	return err
}
