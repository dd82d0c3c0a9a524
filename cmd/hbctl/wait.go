package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// defaultWait is how long wait waits.
const defaultWait = 30 * time.Second

func (p *program) waitCommand() *cli.Command {
	return &cli.Command{
		Name: "wait", Usage: "wait until instances are as they should be", ArgsUsage: targetsUsage, Args: true,
		UsageText: "hbctl wait --for state=up|state=down|status=enabled|status=disabled " + targetsUsage,
		Description: `Returns when all targets are so at the same time, and tells each that is. Ends with 3 if they are not in time, and with 4 if
contact with etcd is lost at that time: then nothing is known. A target that has no row is waited for; it is neither up nor down.
A selection is looked up once, at the start.

Examples:
   hbctl wait --for state=up web/node1 --timeout 1m
   hbctl wait --for state=down --host node7
   hbctl disable web/node1 --reason drain && hbctl wait --for status=disabled web/node1`,
		Flags: append(selectorFlags(),
			&cli.StringFlag{Name: "for", Usage: "wait for `CONDITION`: state=up, state=down, status=enabled or status=disabled (required)"},
			&cli.StringFlag{Name: "timeout", Usage: "wait for `TIME` at most", DefaultText: defaultWait.String()},
		),
		Action: p.action(p.waitFor),
	}
}

// condition is what is waited for.
type condition struct {
	text string
	met  func(*registry.Service) bool
}

func parseCondition(text string) (condition, error) {
	field, value, _ := strings.Cut(text, "=")
	c := condition{text: text}
	switch {
	case field == "state" && (value == string(registry.Up) || value == string(registry.Down)):
		c.met = func(s *registry.Service) bool { return string(s.State) == value }
	case field == "status" && (value == string(registry.Enabled) || value == string(registry.Disabled)):
		c.met = func(s *registry.Service) bool { return s.Status != nil && string(*s.Status) == value }
	case text == "":
		return c, usageIn("wait", "--for is missing; say what to wait for, as --for state=up")
	default:
		return c, usageIn("wait", "--for %s: want state=up, state=down, status=enabled or status=disabled", quoteShort(text))
	}
	return c, nil
}

// A waiting keeps track of what is so.
type waiting struct {
	condition condition
	names     []registry.Name
	rows      map[registry.Name]registry.Service
	stale     error // why nothing is known now
}

func (p *program) waitFor(ctx context.Context, c *cli.Context) error {
	want, err := parseCondition(c.String("for"))
	if err != nil {
		return err
	}
	what, err := p.targets(c)
	if err != nil {
		return err
	}
	limit, err := flagTime(c, "timeout", defaultWait)
	if err == nil && limit <= 0 {
		err = usageIn("wait", "--timeout %v: want more than 0, as %v", limit, defaultWait)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w := &waiting{condition: want, rows: make(map[registry.Name]registry.Service)}
	starting, started := p.bounded(ctx)
	client, err := p.connect(starting, func(ctx context.Context, client *clientv3.Client) error {
		if err := p.peek(ctx, client); err != nil {
			return err
		}
		var err error
		w.names, err = what.resolve(ctx, p, client)
		return err
	})
	started()
	if err != nil {
		return endedWell(ctx, err)
	}
	defer client.Close()
	return p.follow(ctx, c, client, w, limit)
}

// follow watches until all are as they should be.
func (p *program) follow(ctx context.Context, c *cli.Context, client *clientv3.Client, w *waiting, limit time.Duration) error {
	watching, err := watcher.New(client, watcher.Config{Prefix: p.settings.keys.Prefix(), StartTimeout: min(limit, p.settings.commandTimeout)})
	if err != nil {
		return err
	}
	for batch, err := range watching.Watch(ctx, watcher.Now()) {
		if err != nil {
			return p.watchError(ctx, c, nil, err)
		}
		w.take(&batch)
		if w.stale == nil && batch.Kind != watcher.Reset && len(w.missing()) == 0 {
			return w.tell(p)
		}
	}
	return w.late(ctx, limit)
}

func (w *waiting) take(b *watcher.Batch) {
	switch b.Kind {
	case watcher.Stale:
		w.stale = b.Reason
	case watcher.Live:
		w.stale = nil
	case watcher.Snapshot, watcher.Reset:
		clear(w.rows)
		for _, s := range b.Services {
			w.rows[s.Name()] = s
		}
	default:
		for _, e := range b.Events {
			if e.Kind == watcher.Forgotten {
				delete(w.rows, e.Name)
			} else if e.Kind != watcher.Warning {
				w.rows[e.Name] = e.Service
			}
		}
	}
}

// missing gives those that are not as they should be.
func (w *waiting) missing() []registry.Name {
	return slices.DeleteFunc(slices.Clone(w.names), func(n registry.Name) bool {
		row, there := w.rows[n]
		return there && w.condition.met(&row)
	})
}

// tell says what is so, a line each.
func (w *waiting) tell(p *program) error {
	for _, name := range w.names {
		if _, err := fmt.Fprintf(p.stdout, "%s %s\n", name, w.condition.text); err != nil {
			return err
		}
	}
	return nil
}

// late says what was not so in time.
func (w *waiting) late(ctx context.Context, limit time.Duration) error {
	if err := endedWell(ctx, nil); err != nil && ctx.Err() != context.DeadlineExceeded {
		return context.Cause(ctx)
	}
	if w.stale != nil {
		return &unreachableError{reason: fmt.Sprintf("contact with etcd is lost (%s), so it is not known whether %s", oneLine(w.stale.Error()), w.condition.text)}
	}
	const shown = 5
	var late []string
	missing := w.missing()
	for _, n := range missing[:min(len(missing), shown)] {
		if _, there := w.rows[n]; !there {
			late = append(late, n.String()+" (which has no row)")
			continue
		}
		late = append(late, n.String())
	}
	if more := len(missing) - shown; more > 0 {
		late = append(late, fmt.Sprintf("%d more", more))
	}
	return &exitError{code: exitNot, err: fmt.Errorf("not %s within %v: %s", w.condition.text, limit, strings.Join(late, ", "))}
}
