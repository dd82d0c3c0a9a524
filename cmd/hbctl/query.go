package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/cli/go-gh/v2/pkg/jq"
	"github.com/cli/go-gh/v2/pkg/template"
	"github.com/itchyny/gojq"
	"github.com/urfave/cli/v2"
)

// query is what --jq or --template makes of the JSON.
type query struct {
	jq       string
	template string
	colored  bool
	width    int // of the terminal, for tables in templates
}

func queryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "jq", Usage: "print what the jq expression `EXPR` makes of the JSON"},
		&cli.StringFlag{Name: "template", Usage: "print what the Go template `TEMPLATE` makes of the JSON; it has tablerow, timeago, color and more, as gh has"},
	}
}

// query reads the flags, and checks them before anything is asked for.
func (p *program) query(c *cli.Context) (query, error) {
	q := query{jq: c.String("jq"), template: c.String("template"), colored: p.color(p.stdout), width: terminalWidth(p.stdout)}
	for _, name := range []string{"jq", "template"} {
		if c.IsSet(name) && c.String(name) == "" {
			return q, usageIn(c.Command.Name, "--%s is empty; give it an expression, or leave it out", name)
		}
	}
	switch {
	case q.jq != "" && q.template != "":
		return q, usageIn(c.Command.Name, "--jq and --template are both given; keep one of them")
	case q.given() && c.IsSet("output") && c.String("output") != "json":
		return q, usageIn(c.Command.Name, "--jq and --template work on the JSON; leave -o out")
	case q.jq != "":
		if _, err := gojq.Parse(q.jq); err != nil {
			return q, usageIn(c.Command.Name, "--jq %s: %s", quoteShort(q.jq), oneLine(err.Error()))
		}
	case q.template != "":
		if err := q.parsed(io.Discard).Parse(q.template); err != nil {
			return q, usageIn(c.Command.Name, "--template %s: %s", quoteShort(q.template), oneLine(err.Error()))
		}
	}
	return q, nil
}

func (q query) given() bool { return q.jq != "" || q.template != "" }

func (q query) parsed(w io.Writer) *template.Template { return template.New(w, q.width, q.colored) }

// write writes what the query makes of the JSON that another writes.
func (q query) write(w io.Writer, writeJSON func(io.Writer) error) error {
	var b bytes.Buffer
	if err := writeJSON(&b); err != nil {
		return err
	}
	if q.jq != "" {
		if err := jq.EvaluateFormatted(&b, w, q.jq, "", q.colored); err != nil {
			return usagef("--jq %s: %s", quoteShort(q.jq), oneLine(err.Error()))
		}
		return nil
	}
	t := q.parsed(w)
	if err := t.Parse(q.template); err != nil {
		return err
	}
	if err := t.Execute(&b); err != nil {
		return fmt.Errorf("--template %s: %w", quoteShort(q.template), err)
	}
	return t.Flush()
}
