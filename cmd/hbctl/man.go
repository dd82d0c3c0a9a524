package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"
)

// manName is the hidden command that writes the man page, when packages are built.
const manName = "__man"

func (p *program) manCommand() *cli.Command {
	return &cli.Command{
		Name: manName, Hidden: true, Usage: "write the man page", UsageText: "hbctl " + manName,
		Action: func(c *cli.Context) error {
			_, err := io.WriteString(p.stdout, manPage(c.App))
			return err
		},
	}
}

// manPage makes a man page of what help says.
func manPage(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%% HBCTL 1 \"\" \"hbctl %s\" \"User Commands\"\n\n# NAME\n\nhbctl - %s\n\n# SYNOPSIS\n\n**hbctl** *COMMAND* [*FLAGS*] [*ARGUMENTS*]\n\n", version, app.Usage)
	fmt.Fprintf(&b, "# DESCRIPTION\n\n%s\n", prose(app.Description))
	b.WriteString("# COMMANDS\n\n")
	for _, c := range visible(app) {
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n    %s\n\n", strings.Join(c.Names(), ", "), sentence(c.Usage), c.UsageText)
		b.WriteString(prose(c.Description))
		manFlags(&b, c.Flags)
	}
	b.WriteString("# FLAGS OF EVERY COMMAND\n\n")
	manFlags(&b, app.Flags)
	b.WriteString("# SEE ALSO\n\n**etcd**(1), **etcdctl**(1)\n")
	return string(md2man.Render([]byte(b.String())))
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// prose makes Markdown of a description: indented lines are shown as they are, all others flow.
func prose(text string) string {
	var b strings.Builder
	literal := false
	for line := range strings.Lines(text + "\n") {
		line = strings.TrimRight(line, "\n")
		indented := strings.HasPrefix(line, "   ")
		if indented != literal && line != "" {
			b.WriteString("\n")
			literal = indented
		}
		if indented {
			line = "    " + strings.TrimPrefix(line, "   ")
		} else {
			line = markdownEscaper.Replace(line)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString("\n")
	return b.String()
}

var markdownEscaper = strings.NewReplacer("_", `\_`, "*", `\*`, "<", `\<`, "[", `\[`, "`", "\\`")

func manFlags(b *strings.Builder, flags []cli.Flag) {
	for _, f := range flags {
		name, about, _ := strings.Cut(strings.TrimSpace(flagLine(f)), "\t")
		fmt.Fprintf(b, "**%s**\n: %s\n\n", markdownEscaper.Replace(name), markdownEscaper.Replace(about))
	}
}
