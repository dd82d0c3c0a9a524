package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/hbctl/hbctl/registry"
)

// selectorFlags select rows; they are the same everywhere.
func selectorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "binary", Usage: "only instances of service `BINARY`"},
		&cli.StringFlag{Name: "host", Usage: "only instances on `HOST`"},
		&cli.StringFlag{Name: "zone", Usage: "only instances in `ZONE`"},
		&cli.StringFlag{Name: "status", Usage: "only what operators want so: `STATUS` is enabled or disabled"},
		&cli.StringFlag{Name: "state", Usage: "only what is so: `STATE` is up or down"},
		&cli.StringSliceFlag{Name: "selector", Aliases: []string{"l"}, Usage: "only what has the labels of `SELECTOR`, as 'tier=gold,rack in (a,b),!canary'; may be repeated, all must match"},
	}
}

// selection reads the selecting flags. One that is given but empty is refused: it comes from an unset variable, and would
// select everything.
func selection(c *cli.Context) (registry.Filter, error) {
	for _, name := range []string{"binary", "host", "zone", "status", "state"} {
		if c.IsSet(name) && c.String(name) == "" {
			return registry.Filter{}, usagef("--%s is empty; leave it out to select all", name)
		}
	}
	f := registry.Filter{Binary: c.String("binary"), Host: c.String("host"), Zone: c.String("zone")}
	status, err := oneOf(c, "status", string(registry.Enabled), string(registry.Disabled))
	if err != nil {
		return f, err
	}
	state, err := oneOf(c, "state", string(registry.Up), string(registry.Down))
	if err != nil {
		return f, err
	}
	f.Status, f.State = registry.Status(status), registry.State(state)
	f.Labels, err = labelSelector(c.StringSlice("selector"))
	return f, err
}

func labelSelector(texts []string) (labels.Selector, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	for _, text := range texts {
		if strings.TrimSpace(text) == "" {
			return nil, usagef("-l is empty; leave it out to select all")
		}
	}
	text := strings.Join(texts, ",")
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, usagef("-l %s: %s; want terms as tier=gold, rack!=b or 'zone in (a,b)'", quoteShort(text), oneLine(strings.TrimPrefix(err.Error(), "unable to parse requirement: ")))
	}
	return selector, nil
}

// oneOf reads a flag that knows only a few values; unset gives "".
func oneOf(c *cli.Context, name string, allowed ...string) (string, error) {
	value := c.String(name)
	if value == "" && !c.IsSet(name) || slices.Contains(allowed, value) {
		return value, nil
	}
	return "", usagef("--%s %s: want one of %s", name, quoteShort(value), strings.Join(allowed, ", "))
}

// output reads -o; the first of the formats is the default.
func output(c *cli.Context, formats ...string) (string, error) {
	format, err := oneOf(c, "output", formats...)
	if format == "" {
		format = formats[0]
	}
	return format, err
}

func outputFlag(formats ...string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, DefaultText: formats[0], Usage: "`FORMAT` is " + strings.Join(formats[:len(formats)-1], ", ") + " or " + formats[len(formats)-1]}
}
