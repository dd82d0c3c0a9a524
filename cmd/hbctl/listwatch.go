package main

import (
	"bufio"
	"context"
	"fmt"

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
	starting, cancel := p.bounded(ctx)
	client, err := p.connect(starting, p.peek)
	cancel()
	if err != nil {
		return endedWell(ctx, err)
	}
	defer client.Close()
	w, err := watcher.New(client, watcher.Config{Prefix: p.settings.keys.Prefix(), Filter: filter, StartTimeout: p.settings.commandTimeout})
	if err != nil {
		return err
	}
	ctx, release := untilUnread(ctx, p.stdout)
	defer release()
	view := &watchView{format: format, onlyChanges: true, colored: p.color(p.stdout)}
	out := bufio.NewWriter(p.stdout)
	for batch, err := range w.Watch(ctx, watcher.After(after)) {
		if err != nil {
			return p.watchError(ctx, c, err)
		}
		if batch.Kind == watcher.Bookmark {
			continue // that the list is complete goes without saying
		}
		if err := view.write(out, &batch); err != nil {
			return fmt.Errorf("writing what happened: %w", err)
		}
	}
	return endedBySignal(ctx)
}
