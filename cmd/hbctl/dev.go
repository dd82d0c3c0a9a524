package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/internal/devserver"
)

func (p *program) devCommand() *cli.Command {
	return &cli.Command{
		Name:      "dev",
		Usage:     "run an etcd for trying things, until it is stopped",
		UsageText: "hbctl dev [--listen ADDRESS] [--data-dir FOLDER]",
		Description: `Runs a single-member etcd inside this process. It has neither TLS nor users: whoever reaches its address may do
anything. Once it answers, it prints one line that tells a shell where it is.

Examples:
   hbctl dev                            on 127.0.0.1:2379, where hbctl looks by default
   hbctl dev --listen 127.0.0.1:0       on any free port; the line tells which
   hbctl dev --data-dir /var/tmp/hb     data is kept; without it, it goes when etcd stops`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", DefaultText: devserver.DefaultListen, Usage: "serve clients on `HOST:PORT`; port 0 takes a free one"},
			&cli.StringFlag{Name: "data-dir", Usage: "keep the data in `FOLDER` (default: a temporary one)"},
		},
		Action: p.localAction(p.dev),
	}
}

func (p *program) dev(ctx context.Context, c *cli.Context) error {
	for _, name := range []string{"listen", "data-dir"} {
		if c.IsSet(name) && c.String(name) == "" {
			return usageIn("dev", "--%s is empty; leave it out for the default", name)
		}
	}
	log, quiet := p.etcdLogger()
	server, err := devserver.Start(ctx, devserver.Config{Listen: c.String("listen"), DataDir: c.String("data-dir"), Logger: log})
	if err != nil {
		if ctx.Err() != nil {
			return endedBySignal(ctx)
		}
		if errors.Is(err, devserver.ErrInvalid) {
			return invalid(err)
		}
		return err
	}
	p.warnOpen(c.String("listen"))
	if _, err := fmt.Fprintf(p.stdout, "export HBCTL_ENDPOINTS=%s  # etcd is ready there; Ctrl-C stops it\n", server.Endpoint()); err != nil {
		return closing(err, server)
	}
	select {
	case <-ctx.Done():
		quiet()
		return closing(endedBySignal(ctx), server)
	case err := <-server.Err():
		return closing(err, server)
	}
}

// closing closes the server; why it is closed counts more than how that went.
func closing(why error, server *devserver.Server) error {
	if err := server.Close(); why == nil {
		return err
	}
	return why
}

// warnOpen says that others can reach the server, if they can.
func (p *program) warnOpen(listen string) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || strings.EqualFold(host, "localhost") {
		return
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		p.log.Warn().Str("listen", listen).Msg("this etcd has neither TLS nor users, and other machines can reach it")
	}
}
