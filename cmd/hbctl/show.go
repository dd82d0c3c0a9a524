package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// showFormats are the values of show's -o.
var showFormats = []string{"text", "json", "jsonl", "yaml", "csv", "name"}

func (p *program) showCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Aliases: []string{"describe"}, Usage: "show every field of instances", ArgsUsage: targetsUsage, Args: true,
		UsageText: "hbctl show " + targetsUsage,
		Description: `Shows all that is known of an instance, a field a line; "-" is what is not known.

Examples:
   hbctl show cinder-volume/node1
   hbctl show cinder-volume/node1 -o json
   hbctl show --host node1 --age`,
		Flags: slices.Concat(selectorFlags(), queryFlags(), []cli.Flag{
			outputFlag(showFormats...),
			&cli.BoolFlag{Name: "age", Usage: "show ages (3s) in place of times"},
		}),
		Action: p.action(p.show),
	}
}

func (p *program) show(ctx context.Context, c *cli.Context) error {
	what, err := p.targets(c)
	if err != nil {
		return err
	}
	format, err := output(c, showFormats...)
	if err != nil {
		return err
	}
	query, err := p.query(c)
	if err != nil {
		return err
	}
	var snap registry.Snapshot
	work := operating{p: p, each: func(ctx context.Context, o *registry.Operator, name registry.Name) error {
		row, warnings, err := o.Get(ctx, name)
		snap.Warnings = append(snap.Warnings, warnings...)
		if err == nil {
			snap.Services = append(snap.Services, *row)
		}
		return err
	}}
	at, err := work.run(ctx, what, func(ctx context.Context, client *clientv3.Client) {
		_ = registry.AskLastBeats(ctx, client, snap.Services, nil)
	})
	snap.Cluster, snap.Revision = at.id, at.revision
	if format != "json" && format != "yaml" {
		p.warn(snap.Warnings)
	}
	if len(snap.Services) == 0 && err != nil {
		return err
	}
	write := func() error {
		return listView{format: format, query: query, ages: c.Bool("age"), now: time.Now()}.write(p.stdout, &snap)
	}
	if format == "text" && !query.given() {
		write = func() error { return writeShow(p.stdout, snap.Services, c.Bool("age"), p.color(p.stdout), time.Now()) }
	}
	if writeErr := write(); writeErr != nil {
		return rowsUnwritten(err, writeErr)
	}
	return err
}

// writeShow writes rows as blocks of "Field:  value", with a blank line in between.
func writeShow(w io.Writer, services []registry.Service, ages, colored bool, now time.Time) error {
	out := bufio.NewWriter(w)
	for i := range services {
		if i > 0 {
			out.WriteByte('\n')
		}
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, f := range fieldsOf(&services[i]) {
			fmt.Fprintf(table, "%s:\t%s\n", title(f.name), showValue(f.value, ages, colored, now))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return out.Flush()
}

// title makes "Disabled reason" of disabled_reason.
func title(field string) string {
	words := strings.ReplaceAll(field, "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

func showValue(v any, ages, colored bool, now time.Time) string {
	text := unknown
	switch v := v.(type) {
	case nil:
	case time.Time:
		text = stamp(&v)
		if ages {
			text = age(&v, now)
		}
	case map[string]string:
		text = cell(joinLabels(v))
	case []string:
		text = cell(strings.Join(v, " "))
	default:
		text = cell(textOf(v))
	}
	if colored {
		text = paint(text)
	}
	return text
}
