package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// watchFormat gives the format in which a watch goes on after a list: lines of text after a table, of JSON after JSON.
func watchFormat(listFormat string, q query) (string, error) {
	switch {
	case q.given():
		return "", usageIn("list", "--watch goes on for ever, --jq and --template want an end; use 'hbctl watch -o json | jq'")
	case listFormat == "table", listFormat == "wide":
		return "text", nil
	case listFormat == "jsonl":
		return "json", nil
	}
	return "", usageIn("list", "-o %s can't go on with a watch; use table, wide or jsonl", listFormat)
}

// watchOn tells what happened after the list, until it is stopped.
func (p *program) watchOn(ctx context.Context, c *cli.Context, filter registry.Filter, after int64, format string) error {
	config := watcher.Config{Prefix: p.settings.keys.Prefix(), Filter: filter, StartTimeout: p.settings.commandTimeout}
	view := &watchView{format: format, onlyChanges: true, unsaid: true, colored: p.color(p.stdout)}
	return p.tell(ctx, c, newPrinter(view, p.stdout), config, nil, watcher.After(after))
}
