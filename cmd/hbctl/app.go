package main

import (
	"regexp"
	"slices"

	"github.com/urfave/cli/v2"
)

// app describes the program to the cli package.
func (p *program) app() *cli.App {
	app := &cli.App{
		Name:      "hbctl",
		HelpName:  "hbctl",
		Usage:     "registers services in etcd and tells which are up and which are down",
		UsageText: "hbctl COMMAND [FLAGS] [ARGUMENTS]",
		Description: `A service holds a key in etcd that is bound to a lease, and keeps renewing the lease: the key is there while the
service lives, and everybody who watches is told when it goes. hbctl registers, lists and watches.

Examples:
   hbctl demo                                      see it all at work in less than 20 seconds, without any etcd
   hbctl dev                                       an etcd to try things with
   hbctl run --binary web --zone az1 -- ./web      start a service and keep it registered
   hbctl list                                      what is up, what is down
   hbctl watch                                     what goes up and down, as it happens

Flags may stand anywhere on the line, up to a "--".
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found or timed out, 4 etcd not reachable, 5 permission denied.`,
		Commands: slices.Concat(
			[]*cli.Command{p.listCommand(), p.showCommand(), p.watchCommand(), p.topCommand(), p.waitCommand()},
			p.operationCommands(), []*cli.Command{p.forgetCommand()},
			[]*cli.Command{p.registerCommand(), p.runCommand(), p.doctorCommand(), p.benchCommand(), p.devCommand(), p.demoCommand(), p.certsCommand(), p.completionCommand(), p.versionCommand(), p.helpCommand(), p.completeCommand(), p.manCommand()},
		),
		Reader:         p.stdin,
		Writer:         p.stdout,
		ErrWriter:      p.stderr,
		OnUsageError:   onUsageError,
		ExitErrHandler: func(*cli.Context, error) {}, // the exit code is chosen in finish
		HideHelp:       true,                         // help is found on the line before the package looks
		HideVersion:    true,
		// A comma belongs to the value: label selectors and URLs have some.
		DisableSliceFlagSeparator: true,
	}
	for _, g := range globalFlags {
		app.Flags = append(app.Flags, g.flag())
	}
	for _, c := range app.Commands {
		c.HideHelp = true // or the package would take an argument "help" for a command
		c.OnUsageError = onUsageError
	}
	return app
}

var noSwitch = regexp.MustCompile(`^invalid boolean value (".*") for -+(?:flag )?-*([\w-]+):`)

// onUsageError makes the package's refusal of a flag one of ours. What is left for it to refuse are switches with a value
// that is neither true nor false.
func onUsageError(c *cli.Context, err error, _ bool) error {
	command := ""
	if c.Command != nil && c.Command.Name != c.App.Name {
		command = c.Command.Name
	}
	if m := noSwitch.FindStringSubmatch(err.Error()); m != nil {
		return usageIn(command, "--%s %s: want true or false", m[2], m[1])
	}
	return usageIn(command, "%s", err)
}
