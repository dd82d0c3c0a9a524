package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"
)

// program is one run of hbctl: its surroundings, its command line and what follows from both.
type program struct {
	system
	line     line
	settings settings
	log      zerolog.Logger
	plain    bool // final errors as plain text: unless JSON logs were asked for by name
}

func newProgram(sys system) *program {
	return &program{system: sys, log: zerolog.Nop(), plain: true}
}

// execute reads the command line and runs the command in it.
func (p *program) execute(ctx context.Context) error {
	app := p.app()
	parsed, err := newGrammar(app).parse(p.args[1:])
	p.line = parsed
	if errors.Is(err, errNoCommand) {
		var help strings.Builder // whoever types the bare name wants to know what there is
		describeApp(&help, app)
		fmt.Fprintln(p.stderr, help.String())
	}
	if err == nil {
		err = enoughFiles()
	}
	if err != nil {
		return err
	}
	return app.RunContext(ctx, parsed.argv())
}

// action wraps what a command does: it settles the global flags first, so that a command only starts with settings that
// were checked as a whole, and has signals end its context.
func (p *program) action(do func(context.Context, *cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := p.settle(c); err != nil {
			return err
		}
		ctx, release := stopOnSignal(c.Context)
		defer release()
		return do(ctx, c)
	}
}

// localAction is action for what brings its own etcd: only the settings of the log count, so that an environment made for
// another etcd, even a wrong one, does not matter.
func (p *program) localAction(do func(context.Context, *cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := p.settleLog(c); err != nil {
			return err
		}
		ctx, release := stopOnSignal(c.Context)
		defer release()
		return do(ctx, c)
	}
}

// terminal says whether v is a terminal.
func terminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// color says whether what is written to v may be coloured.
func (p *program) color(v any) bool {
	return !p.settings.noColor && p.getenv("TERM") != "dumb" && terminal(v)
}
