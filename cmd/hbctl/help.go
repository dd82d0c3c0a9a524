package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

func (p *program) helpCommand() *cli.Command {
	return &cli.Command{
		Name:      "help",
		Aliases:   []string{"h"},
		Usage:     "explain hbctl, or one command",
		UsageText: "hbctl help [COMMAND]",
		ArgsUsage: "[COMMAND]",
		Args:      true,
		Action:    p.help,
	}
}

func (p *program) help(c *cli.Context) error {
	var b strings.Builder
	switch len(p.line.args) {
	case 0:
		describeApp(&b, c.App)
	case 1:
		g := newGrammar(c.App)
		cmd := g.command(p.line.args[0])
		if cmd == nil {
			return g.unknownCommand(p.line.args[0])
		}
		describeCommand(&b, cmd)
	default:
		return usageIn("help", "help explains one command at a time")
	}
	_, err := io.WriteString(p.stdout, b.String())
	return err
}

func describeApp(b *strings.Builder, app *cli.App) {
	fmt.Fprintf(b, "hbctl %s\n\nUsage: %s\n\n%s\n", app.Usage, app.UsageText, app.Description)
	section(b, "Commands", func(w io.Writer) {
		for _, c := range visible(app) {
			fmt.Fprintf(w, "  %s\t%s\n", strings.Join(c.Names(), ", "), c.Usage)
		}
	})
	describeFlags(b, "Flags of every command", app.Flags)
	b.WriteString("\n'hbctl help COMMAND' tells more.\n")
}

// visible gives the commands that are for people.
func visible(app *cli.App) []*cli.Command {
	return slices.DeleteFunc(slices.Clone(app.Commands), func(c *cli.Command) bool { return c.Hidden })
}

func describeCommand(b *strings.Builder, cmd *cli.Command) {
	fmt.Fprintf(b, "hbctl %s: %s\n\nUsage: %s\n", cmd.Name, cmd.Usage, cmd.UsageText)
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(b, "Also:  %s\n", strings.Join(cmd.Aliases, ", "))
	}
	if cmd.Description != "" {
		fmt.Fprintf(b, "\n%s\n", cmd.Description)
	}
	describeFlags(b, "Flags", cmd.Flags)
	b.WriteString("\n'hbctl help' has the flags for connection and log, which every command takes.\n")
}

func describeFlags(b *strings.Builder, title string, flags []cli.Flag) {
	if len(flags) == 0 {
		return
	}
	section(b, title, func(w io.Writer) {
		for _, f := range flags {
			fmt.Fprintln(w, flagLine(f))
		}
	})
}

// flagLine gives "-o, --output FORMAT <tab> what it does (default: table)".
func flagLine(f cli.Flag) string {
	names := f.Names()
	line := "      --" + names[0]
	if len(names) > 1 {
		line = "  " + dashes(names[1]) + ", --" + names[0]
	}
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return line
	}
	usage := d.GetUsage()
	if _, rest, found := strings.Cut(usage, "`"); found {
		value, _, _ := strings.Cut(rest, "`")
		line += " " + value
		usage = strings.ReplaceAll(usage, "`", "")
	}
	line += "\t" + usage
	if initial := d.GetDefaultText(); initial != "" && d.TakesValue() {
		line += " (default: " + initial + ")"
	}
	return line
}

// section writes lines in two columns under a title.
func section(b *strings.Builder, title string, lines func(io.Writer)) {
	fmt.Fprintf(b, "\n%s:\n", title)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	lines(w)
	_ = w.Flush() // a strings.Builder takes everything
}
