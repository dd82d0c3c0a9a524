package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// level is how well a check went.
type level string

const (
	levelOK   level = "ok"
	levelWarn level = "warn"
	levelFail level = "fail"
)

// check is what the doctor found: one line.
type check struct {
	Level  level  `json:"level"`
	Check  string `json:"check"`            // what was looked at
	Found  string `json:"found"`            // what is so
	Remedy string `json:"remedy,omitempty"` // what to do; not for ok
}

func (p *program) doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "check this client, the cluster and the data under the prefix",
		UsageText: "hbctl doctor [--strict] [-o text|json]",
		Description: `Tells each setting that is not left at its default, and where it comes from. Checks that each endpoint answers and how fast,
version, leader and alarms of etcd, the shortest TTL that it grants, what this user may do with each kind of key, and the data:
junk, foreign keys, alive keys without a lease, leases without keys, records that nobody renewed for long, names that look
alike. One line a check: ok, warn or fail, with what to do.

It writes nothing but a lease of the shortest TTL, which it revokes at once. Ends with 1 if something failed, with --strict also if
something is worth a warning, with 4 if no endpoint answers, and with 5 if the user is refused.

Examples:
   hbctl doctor
   hbctl doctor --strict -o json --endpoints a:2379,b:2379,c:2379`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "strict", Usage: "warnings count as failures"},
			outputFlag("text", "json"),
		},
		Action: p.action(p.doctor),
	}
}

// examination collects what is found.
type examination struct {
	p      *program
	client *clientv3.Client
	checks []check
}

func (e *examination) add(l level, name, found, remedy string, args ...any) {
	e.checks = append(e.checks, check{Level: l, Check: name, Found: oneLine(found), Remedy: oneLine(fmt.Sprintf(remedy, args...))})
}

func (e *examination) ok(name, format string, args ...any) {
	e.add(levelOK, name, fmt.Sprintf(format, args...), "")
}

func (p *program) doctor(ctx context.Context, c *cli.Context) error {
	format, err := output(c, "text", "json")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*p.settings.commandTimeout) // several questions, each with its own bound
	defer cancel()
	e := &examination{p: p}
	e.settings()
	code := e.examine(ctx)
	if err := e.write(p.stdout, format); err != nil {
		return unwritten("what was found", err)
	}
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return context.Cause(ctx)
	case code != exitOK:
		return &exitError{code: code}
	case e.has(levelFail), c.Bool("strict") && e.has(levelWarn):
		return &exitError{code: exitFailed}
	}
	return nil
}

// examine makes all checks. If no endpoint could be reached, or all refuse the user, there is nothing to look at, and the code says so.
func (e *examination) examine(ctx context.Context) (code int) {
	client, err := e.dial(ctx)
	if err != nil {
		remedy := "start it, or name another with --endpoints"
		code = exitUnreachable
		if exitCode(err) == exitDenied {
			remedy, code = "check --user and --password-file", exitDenied
		}
		e.add(levelFail, "client", inWords(err), "%s", remedy)
		return code
	}
	defer client.Close()
	e.client = client
	members := e.endpoints(ctx)
	if len(members) == 0 {
		return exitUnreachable
	}
	e.cluster(members)
	e.alarms(ctx)
	e.shortestTTL(ctx)
	e.permissions(ctx)
	e.data(ctx)
	return exitOK
}

// dial makes the client, which asks etcd something only if there is a password.
func (e *examination) dial(ctx context.Context) (client *clientv3.Client, err error) {
	ctx, cancel := e.p.bounded(ctx)
	defer cancel()
	err = e.p.reach(ctx, func(ctx context.Context) error {
		client, err = dial(ctx, e.p.clientConfig())
		return err
	})
	return client, err
}

func (e *examination) has(l level) bool {
	for _, c := range e.checks {
		if c.Level == l {
			return true
		}
	}
	return false
}

func (e *examination) write(w io.Writer, format string) error {
	if format == "json" {
		return jsonLine(w, struct {
			Checks []check `json:"checks"`
		}{e.checks})
	}
	colored := e.p.color(w)
	for _, c := range e.checks {
		word := fmt.Sprintf("%-4s", c.Level)
		if colored {
			word = paintLevel(c.Level, word)
		}
		line := fmt.Sprintf("%s  %s: %s", word, c.Check, c.Found)
		if c.Remedy != "" {
			line += "; " + c.Remedy
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

func paintLevel(l level, word string) string {
	color := map[level]string{levelOK: green, levelWarn: yellow, levelFail: red}[l]
	return color + word + reset
}
