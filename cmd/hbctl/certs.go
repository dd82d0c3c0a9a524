package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/internal/devcerts"
)

func (p *program) certsCommand() *cli.Command {
	return &cli.Command{
		Name:      "certs",
		Usage:     "make certificates for trying TLS, and an authority that signs them",
		UsageText: "hbctl certs [--dir FOLDER] --server NAME[,HOST]... --client NAME...",
		Description: `Writes NAME.crt and NAME.key for each, and prints what it wrote. The authority (ca.crt, ca.key) is made if it is not there;
else it signs what is made now, so more can be made later. Nothing is written over. A server's certificate is good for its NAME,
localhost, 127.0.0.1, ::1 and the HOSTs, and for clients too: a member of etcd is both. etcd takes a client's NAME for its user.
It is for trying: whoever has ca.key can make a certificate for anybody.

Examples:
   hbctl certs --server etcd0 --client me                     for an etcd on this machine
   hbctl certs --server etcd0,etcd0.example.org,10.0.0.1      with other names that it has
   hbctl certs --readable --server etcd0 --server etcd1 --server etcd2 --client hbctl
                                                              what docker-compose.tls.yml wants`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", DefaultText: defaultCertsDir, Usage: "write them to `FOLDER`, which is made for its owner alone"},
			&cli.StringSliceFlag{Name: "server", Usage: "make one for the server `NAME[,HOST...]`; may be given often"},
			&cli.StringSliceFlag{Name: "client", Usage: "make one for the client `NAME`; may be given often"},
			&cli.StringFlag{Name: "valid", DefaultText: "8760h", Usage: "they are good for this `TIME`"},
			&cli.BoolFlag{Name: "readable", Usage: "everybody who gets into FOLDER may read the keys: for containers, where another user runs"},
		},
		Action: p.localAction(p.certs),
	}
}

const defaultCertsDir = "certs"

func (p *program) certs(_ context.Context, c *cli.Context) error {
	config := devcerts.Config{Dir: defaultCertsDir, Clients: c.StringSlice("client"), Readable: c.Bool("readable")}
	if c.IsSet("dir") {
		if config.Dir = c.String("dir"); config.Dir == "" {
			return usageIn("certs", "--dir is empty; leave it out for the default")
		}
	}
	for _, text := range c.StringSlice("server") {
		name, hosts, more := strings.Cut(text, ",")
		s := devcerts.Server{Name: name}
		if more {
			s.Hosts = strings.Split(hosts, ",")
		}
		config.Servers = append(config.Servers, s)
	}
	if c.IsSet("valid") {
		var err error
		if config.Valid, err = positive(setting{text: c.String("valid"), source: "--valid"}); err != nil {
			return err
		}
	}
	files, err := devcerts.Make(config)
	for _, file := range files {
		if _, writing := fmt.Fprintln(p.stdout, file); writing != nil {
			return writing
		}
	}
	switch {
	case errors.Is(err, devcerts.ErrInvalid):
		return usageIn("certs", "%s", strings.TrimPrefix(err.Error(), devcerts.ErrInvalid.Error()+": "))
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w; nothing is written over: remove it, or take another --dir", err)
	}
	return err
}
