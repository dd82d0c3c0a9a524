package main

import (
	"context"
	"errors"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"
)

func (p *program) registerCommand() *cli.Command {
	return &cli.Command{
		Name:      "register",
		Usage:     "hold a registration until stopped, then leave",
		UsageText: "hbctl register --binary BINARY [FLAGS]",
		Description: `Registers an instance and keeps it registered, whatever happens to etcd, until SIGTERM or Ctrl-C; then it leaves, and
whoever watches is told at once. What happens to the registration is logged on stderr.
It ends with 1 when another process holds the name or took it over, or when an operator evicted it; with 3 when it
could not register in time, and with 4 when etcd could not be reached in that time. Under systemd use Type=notify: it is
ready once registered.

Examples:
   hbctl register --binary web
   hbctl register --binary cinder-volume --host node1@lvm --zone az1 --ttl 5s
   hbctl register --binary web -l tier=gold,rack=a --advertise http://10.0.0.1:8080`,
		Flags:  instanceFlags(),
		Action: p.action(p.register),
	}
}

func (p *program) register(ctx context.Context, c *cli.Context) error {
	what, err := p.registering(c)
	if err != nil {
		return err
	}
	m := p.serviceManager()
	defer m.close()
	k := p.newKeeper(what)
	err = k.register(ctx)
	if err == nil {
		m.say(daemon.SdNotifyReady)
		err = k.hold(ctx, m)
	}
	m.say(daemon.SdNotifyStopping)
	if ctx.Err() != nil {
		err = endedBySignal(ctx)
	}
	// That etcd could not be told of the end matters more than which signal ended it.
	if leaving := k.leave(""); leaving != nil && (err == nil || errors.As(err, new(stopped))) {
		return leaving
	}
	return err
}

// hold waits until the registration ends or ctx is done.
func (k *keeper) hold(ctx context.Context, m *manager) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.registration.Done():
			return k.ended(context.Background())
		case <-m.due():
			m.alive()
		}
	}
}
