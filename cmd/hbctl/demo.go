package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/devserver"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

const (
	demoTTL = 3 * time.Second
	// demoPatience is how long a step may take that is to be seen at once; etcd's expiry adds its own time.
	demoPatience = 10 * time.Second
	demoGrace    = 2 * time.Second
)

func (p *program) demoCommand() *cli.Command {
	return &cli.Command{
		Name:      "demo",
		Usage:     "see it all at work, without any etcd, in less than 20 seconds",
		UsageText: "hbctl demo",
		Description: `Starts an etcd on a free port in a temporary folder and three services as processes of their own, lists them, kills
one and shows how soon that is known, stops one cleanly, starts the killed one again, and cleans up.
It ends with 1, naming the step, if something does not happen as it should.

Example:
   hbctl demo`,
		Action: p.localAction(p.demo),
	}
}

// demo is the state of one demonstration.
type demo struct {
	p        *program
	out      *bufio.Writer
	step     int
	endpoint string
	client   *clientv3.Client
	services []*demoService
	lines    chan watchLine // what a watcher tells
}

func (p *program) demo(ctx context.Context, _ *cli.Context) error {
	d := &demo{
		p: p, out: bufio.NewWriter(p.stdout), lines: make(chan watchLine, 64),
		services: []*demoService{
			{name: registry.Name{Binary: "cinder-scheduler", Host: "node1"}, zone: "az1"},
			{name: registry.Name{Binary: "cinder-volume", Host: "node1"}, zone: "az1"},
			{name: registry.Name{Binary: "cinder-volume", Host: "node2"}, zone: "az2"},
		},
	}
	err := d.run(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// run starts what all steps need, and takes it down again however they end.
func (d *demo) run(ctx context.Context) error {
	d.say("Starting an etcd of our own, on a free port, with its data in a temporary folder.")
	log, quiet := d.p.etcdLogger()
	server, err := devserver.Start(ctx, devserver.Config{Listen: "127.0.0.1:0", Logger: log})
	if err != nil {
		return d.failed("starting etcd", err)
	}
	defer func() {
		quiet()
		_ = server.Close()
	}()
	d.endpoint = server.Endpoint()
	d.note("It is at %s.", d.endpoint)
	if err := d.connect(); err != nil {
		return d.failed("connecting to etcd", err)
	}
	defer d.client.Close()
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		d.watch(watching)
	}()
	defer func() {
		stop()
		<-watched
	}()
	defer d.stopServices()
	if err := d.awaitSynced(ctx); err != nil {
		return err
	}
	return d.story(ctx)
}

// story is what is told.
func (d *demo) story(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.startAll, d.list, d.kill, d.stopOne, d.startAgain, d.list} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.stopServices()
	d.say("That was all: services, etcd and its folder are cleaned up now.")
	d.note("To go on: 'hbctl dev' gives you an etcd, 'hbctl run --binary web -- CMD' keeps a service registered in it.")
	return d.out.Flush()
}

func (d *demo) startAll(ctx context.Context) error {
	d.say("Starting three services, each a process of its own. Each holds a key in etcd, bound to a lease of %v that it keeps renewing.", demoTTL)
	for _, s := range d.services {
		if err := d.start(s); err != nil {
			return d.failed("starting "+s.name.String(), err)
		}
	}
	for waiting := len(d.services); waiting > 0; waiting-- {
		if _, err := d.await(ctx, nil, watcher.Up); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) list(ctx context.Context) error {
	d.say("This is what 'hbctl list' shows:")
	snap, err := registry.List(ctx, d.client, registry.ListOptions{LastBeat: true})
	if err != nil {
		return d.failed("listing", err)
	}
	if err := writeTable(d.out, snap.Services, columns(false, false, time.Now()), d.p.color(d.p.stdout)); err != nil {
		return err
	}
	return d.out.Flush()
}

func (d *demo) kill(ctx context.Context) error {
	s := d.services[2]
	d.say("Killing %s (pid %d) with SIGKILL. It can't say goodbye, but it stops renewing, so etcd lets its lease run out.", s.name, s.child.PID())
	killed := time.Now()
	s.child.Stop(syscall.SIGKILL)
	down, err := d.await(ctx, s, watcher.Down)
	if err != nil {
		return err
	}
	if down.event.Cause == nil || *down.event.Cause != registry.CauseExpired {
		return d.failed("killing "+s.name.String(), fmt.Errorf("it is down for %s and not expired", orUnknown(down.event.Cause)))
	}
	d.note("down after %.1fs (TTL %v)", down.batch.ObservedAt.Sub(killed).Seconds(), demoTTL)
	return nil
}

func (d *demo) stopOne(ctx context.Context) error {
	s := d.services[0]
	d.say("Stopping %s (pid %d) with SIGTERM. It leaves before it ends, so this is known at once, and is not taken for a crash.", s.name, s.child.PID())
	s.child.Pass(syscall.SIGTERM)
	down, err := d.await(ctx, s, watcher.Down)
	if err != nil {
		return err
	}
	if down.event.Cause == nil || *down.event.Cause != registry.CauseLeft {
		return d.failed("stopping "+s.name.String(), fmt.Errorf("it is down for %s and has not left", orUnknown(down.event.Cause)))
	}
	return nil
}

func (d *demo) startAgain(ctx context.Context) error {
	s := d.services[2]
	d.say("Starting %s again. It comes back with a new incarnation, a number that only grows.", s.name)
	if err := d.start(s); err != nil {
		return d.failed("starting "+s.name.String()+" again", err)
	}
	_, err := d.await(ctx, s, watcher.Up)
	return err
}

func (d *demo) connect() error {
	config := d.p.clientConfig()
	config.Endpoints, config.TLS, config.Username, config.Password = []string{d.endpoint}, nil, "", ""
	var err error
	d.client, err = clientv3.New(config)
	return err
}

// watch passes on what a watcher tells, which is all that the demo knows of its services.
func (d *demo) watch(ctx context.Context) {
	w, err := watcher.New(d.client, watcher.Config{})
	if err != nil {
		return
	}
	view := &watchView{}
	for batch, err := range w.Watch(ctx, watcher.Now()) {
		if err != nil {
			return
		}
		for _, l := range view.lines(&batch) {
			select {
			case d.lines <- l:
			case <-ctx.Done():
				return
			}
		}
	}
}

// awaitSynced waits until the watcher has seen what is there, so that all that comes is told as an event.
func (d *demo) awaitSynced(ctx context.Context) error {
	_, err := d.next(ctx, "the watcher", lineSynced, func(l *watchLine) bool { return l.kind == lineSynced })
	return err
}

// await waits for an event, of any service if none is given, and shows it.
func (d *demo) await(ctx context.Context, s *demoService, kind watcher.Kind) (*watchLine, error) {
	what := "the services"
	if s != nil {
		what = s.name.String()
	}
	l, err := d.next(ctx, what, string(kind), func(l *watchLine) bool {
		return l.event != nil && l.kind == string(kind) && (s == nil || l.event.Name == s.name)
	})
	if err != nil {
		return nil, err
	}
	d.out.WriteString("   ")
	return l, errors.Join(writeTextLine(d.out, l, d.p.color(d.p.stdout)), d.out.Flush())
}

// next waits for a line of the watcher. All that is told meanwhile is no part of the story.
func (d *demo) next(ctx context.Context, what, kind string, match func(*watchLine) bool) (*watchLine, error) {
	late := time.After(demoPatience)
	for {
		select {
		case l := <-d.lines:
			if match(&l) {
				return &l, nil
			}
		case <-late:
			return nil, d.failed("waiting for "+what, fmt.Errorf("no %q within %v%s", kind, demoPatience, d.complaints()))
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// say begins a step.
func (d *demo) say(format string, args ...any) {
	d.step++
	fmt.Fprintf(d.out, "\n%d. %s\n", d.step, fmt.Sprintf(format, args...))
	_ = d.out.Flush() // bufio keeps the error for the next write
}

func (d *demo) note(format string, args ...any) {
	fmt.Fprintf(d.out, "   %s\n", fmt.Sprintf(format, args...))
	_ = d.out.Flush()
}

// failed names the step that did not happen.
func (d *demo) failed(what string, err error) error {
	return &exitError{code: exitFailed, err: fmt.Errorf("step %d of the demo, %s: %w", d.step, what, err)}
}
