package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/internal/supervise"
)

// sweepGrace is how long what the command left behind in its process group may take to stop.
const sweepGrace = 3 * time.Second

// What --on-lost does to the command.
const (
	onLostKeep = "keep"
	onLostTerm = "term"
	onLostKill = "kill"
)

var lostActions = []string{onLostKeep, onLostTerm, onLostKill}

func (p *program) runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run a command and keep it registered while it runs",
		UsageText: "hbctl run --binary BINARY [FLAGS] -- COMMAND [ARGUMENTS]",
		ArgsUsage: "-- COMMAND [ARGUMENTS]",
		Description: `Registers an instance, then starts COMMAND in a process group of its own and keeps the instance registered while it runs.
Signals are passed on to it. When it ends with 0, or by a signal that was passed on, the instance has left; else it has
failed, with the reason. Nothing of its process group is left behind, also when hbctl itself is killed. For the terminal
COMMAND is a background job: it is stopped if it reads from there. Ctrl-Z stops it together with hbctl, and the
registration runs out unless both go on soon.

COMMAND may speak sd_notify (NOTIFY_SOCKET is set for it). With --watchdog it must say WATCHDOG=1 at least that often,
or it is down as unhealthy until it does. Under systemd hbctl is ready once the instance is registered, with
--notify only after COMMAND has said READY=1; what else it says is passed on. With WatchdogSec= in the unit and no --watchdog
COMMAND is told that time, and watched from its first WATCHDOG=1 on.

Ends with the exit code of COMMAND: 128 + N if signal N ended it, 127 if it is not found, 126 if it can't be
executed. 125 means that hbctl itself failed.

Examples:
   hbctl run --binary web -- ./web --port 8080
   hbctl run --binary worker --zone az1 --on-lost term -- ./worker     stop it when it may no longer act
   hbctl run --binary web --start-anyway -- ./web                      start it even if etcd is away
   hbctl run --binary web --notify --watchdog 10s -- ./web             it says when it is ready, and that it is alive

As a unit of systemd; 143 is a COMMAND that ends by SIGTERM when it is stopped:
   [Service]
   Type=notify
   ExecStart=/usr/bin/hbctl run --binary web --notify --watchdog 10s -- /usr/bin/web
   KillMode=mixed
   Restart=on-failure
   SuccessExitStatus=143

The packages bring hbctl-run@.service: hbctl-run@NAME keeps any command registered, and needs one file, /etc/hbctl/NAME.conf.`,
		Flags: append(instanceFlags(),
			&cli.StringFlag{Name: "on-lost", DefaultText: onLostKeep, Usage: "when the registration is fenced, replaced or evicted: `ACTION` is keep (COMMAND runs on), term (SIGTERM) or kill"},
			&cli.BoolFlag{Name: "start-anyway", Usage: "start COMMAND at once, and register it whenever etcd is there"},
			&cli.StringFlag{Name: "watchdog", DefaultText: "none", Usage: "COMMAND must say WATCHDOG=1 by sd_notify within any `TIME`, else it is unhealthy"},
			&cli.BoolFlag{Name: "notify", Usage: "COMMAND says READY=1 by sd_notify: until then systemd is not told that it is ready, nor the watchdog minded"},
		),
		Action: p.run,
	}
}

// childEnd is the end of the command: not an error of ours, but its code is the one to end with.
type childEnd struct{ code int }

func (e *childEnd) Error() string { return "" }

// runner is one run of a command.
type runner struct {
	p        *program
	args     []string
	onLost   string
	anyway   bool
	keeper   *keeper
	signals  chan os.Signal
	deaths   chan os.Signal      // nil: what others leave behind is not ours to bury
	guardian *supervise.Guardian // nil: none could be started
	child    *supervise.Process
	manager  *manager
	spoken   *spoken
	unfit    string // why we stopped the command: what became of its registration
	reguards int

	over       <-chan struct{} // closed when the registration has ended for good; nil: it is not there yet, or that was told
	explaining sync.WaitGroup  // asks etcd why it is over
	patient    context.Context //nolint:containedctx // of explaining, which outlives the call that starts it
	hush       context.CancelFunc
}

// run ends with a childEnd, or with an error of its own.
func (p *program) run(c *cli.Context) error {
	if err := p.settle(c); err != nil {
		return err
	}
	what, err := p.registering(c)
	if err != nil {
		return err
	}
	r := &runner{p: p, args: p.line.rest, anyway: c.Bool("start-anyway"), signals: make(chan os.Signal, 16)}
	if r.onLost, err = oneOf(c, "on-lost", lostActions...); err != nil {
		return err
	}
	if len(r.args) == 0 || r.args[0] == "" {
		return usageIn("run", "no command to run; it comes after --, as in %s", c.Command.UsageText)
	}
	if _, err := supervise.Find(r.args[0]); err != nil {
		return notStarted(err) // before anything is registered
	}
	if r.anyway {
		what.RegisterTimeout = 0
	}
	watchdog, err := flagTime(c, "watchdog", 0)
	if err != nil {
		return err
	}
	if watchdog != 0 && watchdog < minWatchdog {
		return usageIn("run", "--watchdog %v: want at least %v, or 0 for none", watchdog, minWatchdog)
	}
	r.manager = p.serviceManager()
	defer r.manager.close()
	if r.spoken, err = p.newSpoken(r.manager, watchdog, c.Bool("notify")); err != nil {
		return err
	}
	defer r.spoken.close()
	signal.Notify(r.signals, passedSignals()...)
	defer signal.Stop(r.signals)
	r.patient, r.hush = context.WithCancel(context.WithoutCancel(c.Context))
	defer r.hush()
	if supervise.Inherits() {
		r.deaths = make(chan os.Signal, 1)
		signal.Notify(r.deaths, syscall.SIGCHLD)
		defer signal.Stop(r.deaths)
	}
	r.guardian = p.startGuardian("command") // it gets ready while the instance is registered
	if r.guardian != nil {
		defer r.guardian.Release()
	}
	r.keeper = p.newKeeper(what)
	return r.run(c.Context)
}

// minWatchdog is as short as a time can be that a busy machine keeps.
const minWatchdog = 100 * time.Millisecond

// passedSignals are those that the command gets from us. What the parent had ignored stays ignored, for the command too.
func passedSignals() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTSTP} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	return signals
}

func notStarted(err error) error {
	if start := new(supervise.StartError); errors.As(err, &start) {
		return &exitError{code: start.Code, err: fmt.Errorf("%w", err)}
	}
	return err
}

// run registers and starts the command, in the order that was asked for.
func (r *runner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	registered := make(chan error, 1)
	go func() { registered <- r.keeper.register(ctx) }()
	if !r.anyway {
		if err := r.awaitRegistered(registered, cancel); err != nil {
			ctx, release := r.untilHurried()
			defer release()
			r.say(r.keeper.leaveWithin(ctx, ""))
			return err
		}
		registered = nil
	}
	err := r.start()
	if err == nil {
		err = r.follow(&registered)
	}
	cancel(errChildEnded)
	if registered != nil {
		r.say(<-registered)
	}
	return r.end(err)
}

// errChildEnded ends a registration that has not come about when the command ends.
var errChildEnded = errors.New("the command has ended")

// awaitRegistered waits for the registration. A signal that would have ended the command ends the wait.
func (r *runner) awaitRegistered(registered <-chan error, cancel context.CancelCauseFunc) error {
	var end error
	for {
		select {
		case err := <-registered:
			if err == nil {
				err = end // it came about at the last moment, but the command is not wanted any more
			}
			return err
		case s := <-r.signals:
			switch number, ok := s.(syscall.Signal); {
			case ok && number == syscall.SIGTSTP:
				r.pause()
			case ok && stops(number):
				end = stopped{signal: number}
				cancel(end)
			}
		case <-r.manager.due():
			r.manager.alive()
		}
	}
}

// stops says whether a signal means the end, by what it does to a program that does not catch it.
func stops(s syscall.Signal) bool {
	return s != syscall.SIGUSR1 && s != syscall.SIGUSR2 && s != syscall.SIGTSTP
}

func (r *runner) start() error {
	var err error
	r.guardian = r.p.readied(r.guardian, "command")
	r.child, err = supervise.Start(supervise.Command{
		Args: r.args, Env: r.spoken.environment(), Stdin: r.p.stdin, Stdout: r.p.stdout, Stderr: r.p.stderr, Guardian: r.guardian,
	})
	if err != nil {
		return notStarted(err)
	}
	r.p.log.Debug().Int("pid", r.child.PID()).Msg("started")
	return nil
}

// lost does to the command what is wanted when its registration can't be relied on.
func (r *runner) lost(why string) {
	switch r.onLost {
	case onLostTerm:
		r.unfit = why
		r.child.Stop(syscall.SIGTERM)
	case onLostKill:
		r.unfit = why
		r.child.Stop(syscall.SIGKILL)
	}
}

// end tells etcd how the command ended, and sees to it that nothing of it stays.
func (r *runner) end(err error) error {
	reason := ""
	if child := new(childEnd); !errors.As(err, &child) {
		reason = inWords(err)
	} else if result := r.child.Result(); !result.Asked {
		reason = result.String()
		if r.unfit != "" {
			reason += ", after the registration was " + r.unfit
		}
	}
	if reason != "" {
		r.p.log.Warn().Str("why", reason).Msg("the command failed")
	}
	r.manager.say(daemon.SdNotifyStopping)
	ctx, release := r.untilHurried()
	defer release()
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		if r.child != nil {
			r.child.Sweep(ctx, sweepGrace)
		}
	}()
	r.explained(ctx) // first: it needs the connection that leaving closes
	r.say(r.keeper.leaveWithin(ctx, reason))
	<-swept
	return err
}

// untilHurried gives a context that a further signal to stop ends: then what is left is ended at once.
func (r *runner) untilHurried() (_ context.Context, release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s := <-r.signals:
				if number, ok := s.(syscall.Signal); ok && stops(number) {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(); <-done }
}

// say logs an error that changes nothing about how the program ends.
func (r *runner) say(err error) {
	if err != nil && !errors.As(err, new(stopped)) && !errors.Is(err, errChildEnded) {
		r.p.log.Warn().Msg(inWords(err))
	}
}
