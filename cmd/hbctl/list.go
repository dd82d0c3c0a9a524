package main

import (
	"context"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

func (p *program) listCommand() *cli.Command {
	return &cli.Command{
		Name:      "list",
		Aliases:   []string{"ls", "service-list"},
		Usage:     "list all instances, at one revision",
		UsageText: "hbctl list [--binary B] [--host H] [--zone Z] [--status S] [--state S] [-l SELECTOR] [-o FORMAT]",
		Description: `Lists every instance that has a record, up or down, sorted by BINARY/HOST. State is what is observed: up
while the service renews its lease, else down. Status is what operators want: enabled or disabled.
UPDATED_AT of what is up is its last renewal; of what is down, the best that was recorded.

The cause of a down, with -o wide and in the events of 'hbctl watch':
   expired                    it stopped renewing, as when it is killed
   left, failed, unhealthy    it said so itself: a clean stop, a failure, a health check that failed
   replaced, evicted          another process took its name; an operator ended its registration
   forced                     an operator said that it is down
   deleted, unleased          its key was deleted while its lease lived; its key is bound to no lease
   lost                       it went unseen, as most crashes are to a list: only who watches sees the lease expire

Examples:
   hbctl list                                 everything
   hbctl list --state down --age              what is down, and for how long
   hbctl list -l 'tier=gold,rack in (a,b)'    by labels
   hbctl list -o name --binary cinder-volume  one BINARY/HOST a line
   hbctl list --jq '.services[] | select(.state=="down") | .host'
   hbctl list --zone az1 --exit-code          ends with 3 if anything in az1 is down
   hbctl list -w                              lists, then watches`,
		Flags: slices.Concat(selectorFlags(), queryFlags(), []cli.Flag{
			outputFlag(listFormats...),
			&cli.BoolFlag{Name: "age", Usage: "show ages (3s) in place of times"},
			&cli.BoolFlag{Name: "exit-code", Usage: "end with 3 if any selected instance is down"},
			&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "list, then tell what happens, as 'hbctl watch' does"},
		}),
		Action: p.action(p.list),
	}
}

func (p *program) list(ctx context.Context, c *cli.Context) error {
	filter, err := selection(c)
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
	following := ""
	if c.Bool("watch") {
		if c.Bool("exit-code") {
			return usageIn("list", "--watch and --exit-code are both given; keep one of them")
		}
		if following, err = watchFormat(format, query); err != nil {
			return err
		}
	}
	opts := registry.ListOptions{Prefix: p.settings.keys.Prefix(), Filter: filter, LastBeat: format != "name"}
	view := listView{format: format, query: query, ages: c.Bool("age"), colored: p.color(p.stdout), now: time.Now()}
	list, err := p.showList(ctx, opts, view)
	if err != nil {
		return err
	}
	if following != "" {
		return p.watchOn(ctx, c, filter, list.revision, following)
	}
	if c.Bool("exit-code") && list.down {
		return &exitError{code: exitNot}
	}
	return nil
}

// showList writes the list and tells what is wrong with the data, where the format has no place for it.
func (p *program) showList(ctx context.Context, opts registry.ListOptions, view listView) (listed, error) {
	var l listed
	var err error
	if view.query.given() { // made of the whole
		l, err = p.queryList(ctx, opts, view)
	} else {
		l, err = p.writeList(ctx, opts, view)
	}
	if err == nil && view.format != "json" && view.format != "yaml" {
		p.warn(l.warnings)
	}
	return l, err
}

func (p *program) queryList(ctx context.Context, opts registry.ListOptions, view listView) (listed, error) {
	snap, err := p.snapshot(ctx, opts)
	if err != nil {
		return listed{}, err
	}
	if err := view.write(p.stdout, snap); err != nil {
		return listed{}, unwritten("the list", err)
	}
	return listed{revision: snap.Revision, down: anyDown(snap.Services), warnings: snap.Warnings}, nil
}

// snapshot lists within the command's timeout.
func (p *program) snapshot(ctx context.Context, opts registry.ListOptions) (*registry.Snapshot, error) {
	var snap *registry.Snapshot
	client, err := p.connectInTime(ctx, func(ctx context.Context, client *clientv3.Client) error {
		var err error
		snap, err = registry.List(ctx, client, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return snap, client.Close()
}

// warn tells of data that can't be read, where the format has no place for it.
func (p *program) warn(warnings []registry.Warning) {
	for _, w := range warnings {
		p.log.Warn().Str("key", printable(w.Key)).Msg(w.Problem)
	}
}

func anyDown(services []registry.Service) bool {
	for i := range services {
		if services[i].State == registry.Down {
			return true
		}
	}
	return false
}
