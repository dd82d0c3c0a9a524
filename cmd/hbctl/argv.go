package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line taken apart. The cli package stops looking for flags at the first argument; here they are found
// wherever they stand, up to "--".
type line struct {
	command string   // canonical name
	global  []string // --name=value
	local   []string // --name=value
	args    []string // arguments before "--"
	rest    []string // everything after "--"
	dashed  bool     // there was a "--"
}

// argv gives the line in the one order that the cli package reads. Arguments stay here: it would take some for commands.
func (l line) argv() []string {
	return slices.Concat([]string{"hbctl"}, l.global, []string{l.command}, l.local)
}

// scan is the state of taking a line apart.
type scan struct {
	*grammar
	words   []string // arguments, the command first
	flags   []flagUse
	rest    []string
	dashed  bool
	help    bool
	version bool
}

// flagUse is a flag as it was typed; which one it is depends on the command.
type flagUse struct {
	typed string
	value string // "=value", or empty
}

// parse takes the arguments of the program apart.
func (g *grammar) parse(args []string) (line, error) {
	s := &scan{grammar: g}
	if err := s.tokens(args); err != nil {
		return line{}, err
	}
	return s.line()
}

func (s *scan) tokens(args []string) error {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			s.dashed, s.rest = true, args
			return nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			s.words = append(s.words, arg)
		default:
			taken, err := s.flag(arg, args)
			if err != nil {
				return err
			}
			args = args[taken:]
		}
	}
	return nil
}

// flag reads one flag and says how many of the following arguments it took.
func (s *scan) flag(arg string, following []string) (int, error) {
	typed, value, inline := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
	switch typed {
	case "help", "h":
		s.help = true
		return 0, nil
	case "version":
		s.version = true
		return 0, nil
	}
	spec, ok := s.find(typed)
	if !ok && !strings.HasPrefix(arg, "--") {
		// -ojson, as kubectl takes it
		if short, known := s.find(arg[1:2]); known && short.value {
			spec, ok, typed, value, inline = short, true, arg[1:2], arg[2:], true
		}
	}
	if !ok {
		return 0, s.unknownFlag(arg, typed, following)
	}
	use := flagUse{typed: typed}
	taken := 0
	if spec.value && !inline {
		if len(following) == 0 || following[0] == "--" {
			return 0, usageIn(s.likelyCommand(following), "flag %s needs a value", dashes(typed))
		}
		value, inline, taken = following[0], true, 1
	}
	if inline {
		use.value = "=" + value
	}
	s.flags = append(s.flags, use)
	return taken, nil
}

// line puts together what was found, once the command is known.
func (s *scan) line() (line, error) {
	l := line{rest: s.rest, dashed: s.dashed}
	switch {
	case s.version && len(s.words) == 0:
		s.words = []string{"version"}
	case s.help && len(s.words) == 0:
		s.words = []string{"help"}
	case len(s.words) == 0:
		return l, errNoCommand
	}
	cmd := s.command(s.words[0])
	if cmd == nil {
		return l, s.unknownCommand(s.words[0])
	}
	l.command, l.args = cmd.Name, s.words[1:]
	if s.help && cmd.Name != "help" {
		return line{command: "help", args: []string{cmd.Name}}, nil
	}
	if err := s.sort(&l); err != nil {
		return l, err
	}
	return l, checkArguments(cmd, l)
}

// sort deals the flags out to the program and to the command.
func (s *scan) sort(l *line) error {
	for _, use := range s.flags {
		if spec, ok := s.global[use.typed]; ok {
			l.global = append(l.global, "--"+spec.name+use.value)
			continue
		}
		spec, ok := s.local[l.command][use.typed]
		if !ok {
			return s.foreignFlag(l.command, use.typed)
		}
		l.local = append(l.local, "--"+spec.name+use.value)
	}
	return nil
}

// checkArguments refuses arguments that a command would ignore.
func checkArguments(cmd *cli.Command, l line) error {
	extra := l.args
	if !takesRest(cmd) {
		extra = slices.Concat(l.args, l.rest)
	}
	if cmd.Args || len(extra) == 0 {
		return nil
	}
	if takesRest(cmd) {
		return usageIn(cmd.Name, "unexpected argument %q; the command to run comes after --, as in %s", extra[0], cmd.UsageText)
	}
	if slices.ContainsFunc(cmd.Flags, func(f cli.Flag) bool { return f.Names()[0] == "selector" }) {
		return usageIn(cmd.Name, "unexpected argument %q: %s takes none; select with flags, as --binary or --host", extra[0], cmd.Name)
	}
	return usageIn(cmd.Name, "unexpected argument %q: %s takes none", extra[0], cmd.Name)
}

// takesRest says whether a command wants what follows "--" by itself.
func takesRest(cmd *cli.Command) bool { return strings.Contains(cmd.ArgsUsage, "--") }
