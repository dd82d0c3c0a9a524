package main

import (
	"cmp"
	"context"
	"errors"
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
A selection is looked up once, at the start; it ends with 3 if there is nothing in it then.

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

// conditions are what --for may be.
var conditions = []string{
	"state=" + string(registry.Up), "state=" + string(registry.Down),
	"status=" + string(registry.Enabled), "status=" + string(registry.Disabled),
}

func parseCondition(text string) (condition, error) {
	c := condition{text: text}
	switch field, value, _ := strings.Cut(text, "="); {
	case text == "":
		return c, usageIn("wait", "--for is missing; say what to wait for, as --for state=up")
	case !slices.Contains(conditions, text):
		return c, usageIn("wait", "--for %s: want one of %s", quoteShort(text), strings.Join(conditions, ", "))
	case field == "state":
		c.met = func(s *registry.Service) bool { return string(s.State) == value }
	default:
		c.met = func(s *registry.Service) bool { return s.Status != nil && string(*s.Status) == value }
	}
	return c, nil
}

// A waiting keeps track of what is so.
type waiting struct {
	condition condition
	names     []registry.Name
	rows      rows
	stale     error // why nothing is known now
}

// errNoAnswer is why nothing is known before etcd has told what is there.
var errNoAnswer = errors.New("it has not told what is there")

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
	w := &waiting{condition: want, rows: make(rows), stale: errNoAnswer}
	client, err := p.connectInTime(ctx, func(ctx context.Context, client *clientv3.Client) error {
		if err := p.peek(ctx, client); err != nil {
			return err
		}
		var err error
		w.names, err = what.resolve(ctx, p, client)
		return err
	})
	if err != nil {
		return err // not endedWell: a stop is no answer, so it must not end with 0
	}
	defer client.Close()
	if len(w.names) == 0 {
		// Of nothing everything is so; but a script that waits for its services must not go on before the first has come.
		return &exitError{code: exitNot, err: errors.New("nothing is selected now, so there is nothing to wait for; name BINARY/HOST to wait for what is still to come")}
	}
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
			if ctx.Err() != nil {
				break // the error came of it
			}
			return p.watchError(ctx, c, nil, err)
		}
		w.take(&batch)
		if w.stale == nil && len(w.missing()) == 0 {
			return w.tell(p)
		}
	}
	return w.late(ctx, limit)
}

func (w *waiting) take(b *watcher.Batch) {
	switch b.Kind {
	case watcher.Stale, watcher.Reset:
		w.stale = cmp.Or(b.Reason, errNoAnswer)
	case watcher.Live, watcher.Snapshot:
		w.stale = nil
	}
	w.rows.take(b)
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
	if cause := context.Cause(ctx); errors.As(cause, new(stopped)) {
		return cause
	}
	if w.stale != nil {
		return &unreachableError{reason: fmt.Sprintf("contact with etcd is lost (%s), so it is not known whether %s", inWords(w.stale), w.condition.text)}
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
