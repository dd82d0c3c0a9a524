package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/bench"
)

const (
	benchPrefix   = "/hb-bench/"
	benchN        = 10_000
	benchCurveN   = 100_000
	benchMaxN     = 1_000_000
	benchOwnMaxN  = 150_000         // what the quota of "hbctl dev" has room for
	benchDuration = 8 * time.Second // a whole interval between two renewals at TTL 30, and a bit
	benchRepeats  = 3
	maxRepeats    = 100
)

// benchFormats are the values of bench's -o.
var benchFormats = []string{"table", "json", "markdown"}

func (p *program) benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure what registrations, renewals, lists and watches cost an etcd",
		UsageText: "hbctl bench [--only WORK,...] [--n N] [--duration TIME] [--repeats N] [--yes] [-o FORMAT] | --curve [--svg FILE]",
		Description: `Does each work as hbctl does it, and as the plain etcd client does it that is given the same, in turns, and shows the medians
and their ratio (hbctl / raw): ` + strings.Join(bench.Works(), ", ") + `.
With --curve it shows instead how the cost of registering, listing, watching and renewing grows from 1,000 instances to N.

Without endpoints of a flag, the environment or a config file it starts an etcd of its own, on a free port, in a temporary folder.
With endpoints it says what it will do to that cluster, and asks, or needs --yes: it writes as fast as etcd takes it, and whoever else uses
the cluster will feel it. It works under ` + benchPrefix + ` unless --prefix says otherwise on the command line, refuses a prefix that has
data, and removes what it wrote, also after Ctrl-C.

Examples:
   hbctl bench                                      everything, on an etcd of its own; some minutes
   hbctl bench --only list,watch --n 100000         two works, with 100,000 instances
   hbctl bench --only renew --n 100000 --duration 10m --repeats 1
   hbctl bench --curve --svg curve.svg              the cost of 1,000 to 100,000 instances, as a picture
   hbctl bench --endpoints etcd1:2379 --n 1000 --yes -o json`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "only", Usage: "only these works: `WORK,...` of " + strings.Join(bench.Works(), ", ")},
			&cli.StringFlag{Name: "n", Usage: "with `N` instances at most", DefaultText: fmt.Sprintf("%d, with --curve %d", benchN, benchCurveN)},
			&cli.StringFlag{Name: "duration", Usage: "one measurement of what goes on for a time may take `TIME`; renew wants 8s or more", DefaultText: benchDuration.String()},
			&cli.StringFlag{Name: "repeats", Usage: "measure each `N` times", DefaultText: strconv.Itoa(benchRepeats)},
			&cli.BoolFlag{Name: "curve", Usage: "show how the cost grows with the number of instances"},
			&cli.StringFlag{Name: "svg", Usage: "with --curve: draw it into `FILE`"},
			&cli.BoolFlag{Name: "yes", Usage: "don't ask before writing to the cluster that was given"},
			outputFlag(benchFormats...),
		},
		Action: p.action(p.bench),
	}
}

// benching is what is to be measured.
type benching struct {
	bench.Config
	curve  bool
	svg    string
	format string
	own    bool // on an etcd that is started for it
	sure   bool // nobody need be asked
}

func (p *program) benching(c *cli.Context) (*benching, error) {
	b := &benching{curve: c.Bool("curve"), svg: c.String("svg"), sure: c.Bool("yes")}
	var err error
	if b.format, err = output(c, benchFormats...); err != nil {
		return nil, err
	}
	for _, name := range []string{"only", "svg"} {
		if c.IsSet(name) && c.String(name) == "" {
			return nil, usageIn("bench", "--%s is empty; give it a value, or leave it out", name)
		}
	}
	switch {
	case b.curve && c.IsSet("only"):
		return nil, usageIn("bench", "--curve and --only are both given; keep one of them")
	case b.svg != "" && !b.curve:
		return nil, usageIn("bench", "--svg draws a curve; give --curve too")
	}
	if c.IsSet("only") {
		if b.Works, err = benchWorks(c.String("only")); err != nil {
			return nil, err
		}
	}
	if err := b.setBounds(c); err != nil {
		return nil, err
	}
	given, err := p.givenSettings(c)
	if err != nil {
		return nil, err
	}
	b.own, b.Prefix = !given["endpoints"].given, benchPrefix
	if b.own && b.N > benchOwnMaxN {
		return nil, usageIn("bench", "--n %d: an etcd of our own has room for %d; give --endpoints for more", b.N, benchOwnMaxN)
	}
	if c.IsSet("prefix") { // and not of the environment or a file: what is there already is no place for a bench
		b.Prefix = p.settings.keys.Prefix()
	}
	return b, nil
}

// benchWorks reads --only.
func benchWorks(text string) ([]string, error) {
	var chosen []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(bench.Works(), name) {
			return nil, usageIn("bench", "--only %s: want some of %s, with commas", quoteShort(name), strings.Join(bench.Works(), ","))
		}
		chosen = append(chosen, name)
	}
	return chosen, nil
}

func (b *benching) setBounds(c *cli.Context) (err error) {
	n := benchN
	if b.curve {
		n = benchCurveN
	}
	if b.N, err = flagNumber(c, "n", n, benchMaxN); err != nil {
		return err
	}
	if b.Repeats, err = flagNumber(c, "repeats", benchRepeats, maxRepeats); err != nil {
		return err
	}
	if b.Duration, err = flagTime(c, "duration", benchDuration); err != nil {
		return err
	}
	if b.Duration <= 0 {
		return usageIn("bench", "--duration %v: want more than 0, as %v", b.Duration, benchDuration)
	}
	return nil
}

// flagNumber reads the number in a flag of a command, from 1 on.
func flagNumber(c *cli.Context, name string, initial, most int) (int, error) {
	if !c.IsSet(name) {
		return initial, nil
	}
	n, err := strconv.Atoi(c.String(name))
	if err != nil || n < 1 || n > most {
		return 0, usageIn(c.Command.Name, "--%s %s: want a number from 1 to %d", name, quoteShort(c.String(name)), most)
	}
	return n, nil
}

func (p *program) bench(ctx context.Context, c *cli.Context) error {
	b, err := p.benching(c)
	if err != nil {
		return err
	}
	var picture *os.File
	if b.svg != "" { // before an hour of measuring and not after it
		if picture, err = os.Create(b.svg); err != nil {
			return &exitError{code: exitFailed, err: fmt.Errorf("--svg: %w", err)}
		}
		defer picture.Close()
	}
	if b.own {
		server, err := p.startOwnEtcd(ctx)
		if err != nil {
			return err
		}
		defer server.stop()
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		defer server.watch(cancel)()
		b.Own, b.PID = true, server.child.PID()
	}
	report, err := p.measure(ctx, b)
	if err != nil && report.empty() {
		return err
	}
	// What was measured until something went wrong is worth showing.
	if writeErr := report.write(p.stdout, b.format); writeErr != nil {
		return fmt.Errorf("writing what was measured: %w", writeErr)
	}
	if err == nil && picture != nil {
		if err := errors.Join(writeCurve(picture, report.Curve), picture.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", b.svg, err)
		}
	}
	return err
}

// measure connects, says what it will do and does it.
func (p *program) measure(ctx context.Context, b *benching) (*benchReport, error) {
	report := &benchReport{N: b.N, Repeats: b.Repeats, Seconds: b.Duration.Seconds(), Own: b.own, Prefix: b.Prefix, curve: b.curve}
	client, err := p.connectInTime(ctx, func(ctx context.Context, client *clientv3.Client) error {
		status, err := client.Status(ctx, client.Endpoints()[0])
		if err != nil {
			return err
		}
		report.Cluster, report.Etcd = clusterID(status.Header.ClusterId), status.Version
		return bench.CheckEmpty(ctx, client, b.Prefix)
	})
	if err != nil {
		return report, benchRefusal(err)
	}
	defer client.Close()
	if err := p.announce(ctx, b, report.Cluster); err != nil {
		return report, err
	}
	writer, err := p.connectInTime(ctx, func(context.Context, *clientv3.Client) error { return nil })
	if err != nil {
		return report, err
	}
	defer writer.Close()
	b.Client, b.Writer = client, writer
	if self, err := os.Executable(); err == nil {
		b.List = func(prefix string) *exec.Cmd { return p.listCommandFor(self, prefix) }
	}
	progress := newBenchProgress(p.stderr)
	b.Progress = progress.say
	if b.curve {
		report.Curve, err = bench.RunCurve(ctx, b.Config)
	} else {
		report.Results, err = bench.Run(ctx, b.Config)
	}
	progress.end()
	if errors.Is(err, bench.ErrClean) {
		p.log.Warn().Str("prefix", b.Prefix).Msg(oneLine(err.Error()) + "; remove what is left by hand: etcdctl del --prefix " + b.Prefix)
	}
	return report, p.benchFailure(ctx, err)
}

// benchFailure tells why it came to an end. Not every deadline that was missed means that etcd can't be reached: a bench goes
// to the limits.
func (p *program) benchFailure(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, bench.ErrData):
		return benchRefusal(err)
	case isDenied(err):
		return &exitError{code: exitDenied, err: p.denied(err)}
	case isUnavailable(err):
		if look := newDiagnosis(&p.settings, p.settings.commandTimeout); look.run(ctx) {
			return look.unreachable()
		}
	}
	return &exitError{code: exitFailed, err: err}
}

// benchRefusal makes wrong usage of a prefix that is in use.
func benchRefusal(err error) error {
	if errors.Is(err, bench.ErrData) {
		return usageIn("bench", "%s; a bench needs a prefix of its own, as --prefix %s; what an earlier one could not remove has to be removed first", err, benchPrefix)
	}
	return err
}
