package main

import "github.com/urfave/cli/v2"

// grammar knows which flags there are and which of them take a value.
type grammar struct {
	commands []*cli.Command
	global   map[string]flagSpec
	local    map[string]map[string]flagSpec // by command
}

type flagSpec struct {
	name  string // canonical
	value bool   // takes a value
}

func newGrammar(app *cli.App) *grammar {
	g := &grammar{commands: app.Commands, global: flagSpecs(app.Flags), local: make(map[string]map[string]flagSpec)}
	for _, c := range app.Commands {
		g.local[c.Name] = flagSpecs(c.Flags)
	}
	return g
}

func flagSpecs(flags []cli.Flag) map[string]flagSpec {
	specs := make(map[string]flagSpec)
	for _, f := range flags {
		_, boolean := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			specs[name] = flagSpec{name: f.Names()[0], value: !boolean}
		}
	}
	return specs
}

// find looks a flag up among all commands: before the command is known, only that tells whether a value follows. A name
// means the same shape in every command.
func (g *grammar) find(name string) (flagSpec, bool) {
	if spec, ok := g.global[name]; ok {
		return spec, true
	}
	for _, c := range g.commands {
		if spec, ok := g.local[c.Name][name]; ok {
			return spec, true
		}
	}
	return flagSpec{}, false
}

// command finds a command by its name or alias.
func (g *grammar) command(name string) *cli.Command {
	for _, c := range g.commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// dashes gives a flag as one types it.
func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
