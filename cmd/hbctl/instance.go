package main

import (
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

// defaultRegisterTimeout is how long a registration is waited for.
const defaultRegisterTimeout = 30 * time.Second

// What --on-conflict may be.
const (
	policyWait     = "wait"
	policyFail     = "fail"
	policyTakeover = "takeover"
)

var policies = []string{policyWait, policyFail, policyTakeover}

// instanceFlags say what to register; register and run share them.
func instanceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "binary", Usage: "what runs is called `BINARY`, as cinder-volume (required)"},
		&cli.StringFlag{Name: "host", Usage: "it runs on `HOST`", DefaultText: "this machine's name"},
		&cli.StringFlag{Name: "zone", Usage: "in the availability zone `ZONE`", DefaultText: registry.DefaultZone},
		&cli.StringFlag{Name: "ttl", Usage: "it counts as down `TIME` after its last sign of life: whole seconds from 2s to 1h", DefaultText: registry.DefaultTTL.String()},
		&cli.StringSliceFlag{Name: "label", Aliases: []string{"l"}, Usage: "give it the label `KEY=VALUE`; may be repeated"},
		&cli.StringSliceFlag{Name: "advertise", Usage: "it can be reached at `URL`; may be repeated"},
		&cli.StringFlag{Name: "report-interval", Usage: "rewrite its record every `TIME`; 0 means only on change", DefaultText: registry.DefaultReportInterval.String()},
		&cli.StringFlag{Name: "on-conflict", Usage: "when another process holds the name: `POLICY` is wait (for the lease of a dead one to run out; a live one is an error), fail or takeover", DefaultText: policyWait},
		&cli.StringFlag{Name: "register-timeout", Usage: "give up if it is not registered within `TIME`", DefaultText: defaultRegisterTimeout.String()},
	}
}

// registering is what register and run want to keep registered.
type registering struct {
	registry.Instance
	reportInterval time.Duration // as registry.Config has it
}

// registering reads the instance flags and checks them as a whole.
func (p *program) registering(c *cli.Context) (*registering, error) {
	for _, name := range []string{"binary", "host", "zone", "ttl", "report-interval", "on-conflict", "register-timeout"} {
		if c.IsSet(name) && c.String(name) == "" {
			return nil, usageIn(c.Command.Name, "--%s is empty; give it a value, or leave it out", name)
		}
	}
	if !c.IsSet("binary") {
		return nil, usageIn(c.Command.Name, "--binary is missing; say what runs, as --binary cinder-volume")
	}
	in := &registering{}
	var err error
	if in.Name, err = instanceName(c); err != nil {
		return nil, err
	}
	in.Zone, in.Endpoints = c.String("zone"), c.StringSlice("advertise")
	if in.Labels, err = parseLabels(c.StringSlice("label")); err != nil {
		return nil, err
	}
	if err := in.setTimes(c); err != nil {
		return nil, err
	}
	if in.OnConflict, err = conflictPolicy(c); err != nil {
		return nil, err
	}
	if err := in.Validate(); err != nil {
		return nil, invalid(err)
	}
	if in.TTL > lease.WarnTTL {
		p.log.Warn().Stringer("ttl", in.TTL).Msg("a death is told that late, and after a change of etcd's leader later still; the default is " + registry.DefaultTTL.String())
	}
	return in, nil
}

func instanceName(c *cli.Context) (registry.Name, error) {
	name := registry.Name{Binary: c.String("binary"), Host: c.String("host")}
	if !c.IsSet("host") {
		host, err := os.Hostname()
		if err != nil {
			return name, usageIn(c.Command.Name, "this machine's name is not known (%v); give --host", err)
		}
		name.Host = host
	}
	if err := name.Validate(); err != nil {
		return name, invalid(err)
	}
	return name, nil
}

func (in *registering) setTimes(c *cli.Context) error {
	var err error
	if in.TTL, err = flagTime(c, "ttl", registry.DefaultTTL); err != nil {
		return err
	}
	if err := lease.ValidateTTL(in.TTL); err != nil {
		return usageIn(c.Command.Name, "--ttl: %s", strings.TrimPrefix(err.Error(), lease.ErrInvalid.Error()+": "))
	}
	if in.reportInterval, err = flagTime(c, "report-interval", registry.DefaultReportInterval); err != nil {
		return err
	}
	switch {
	case in.reportInterval == 0:
		in.reportInterval = -1
	case in.reportInterval < time.Second:
		return usageIn(c.Command.Name, "--report-interval %v: want at least 1s, or 0 for reports only on change", in.reportInterval)
	}
	if in.RegisterTimeout, err = flagTime(c, "register-timeout", defaultRegisterTimeout); err != nil {
		return err
	}
	if in.RegisterTimeout <= 0 {
		return usageIn(c.Command.Name, "--register-timeout %v: want more than 0, as %v", in.RegisterTimeout, defaultRegisterTimeout)
	}
	return nil
}

// flagTime reads the time in a flag of a command.
func flagTime(c *cli.Context, name string, initial time.Duration) (time.Duration, error) {
	if !c.IsSet(name) {
		return initial, nil
	}
	return duration(setting{text: c.String(name), source: "--" + name})
}

func conflictPolicy(c *cli.Context) (registry.Policy, error) {
	name, err := oneOf(c, "on-conflict", policies...)
	switch name {
	case policyFail:
		return registry.Fail, err
	case policyTakeover:
		return registry.Takeover, err
	}
	return registry.Wait, err
}

// parseLabels reads key=value, also several with commas in between: no label has one.
func parseLabels(texts []string) (map[string]string, error) {
	labels := make(map[string]string)
	for pair := range strings.SplitSeq(strings.Join(texts, ","), ",") {
		if pair == "" && len(texts) == 0 {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return nil, usagef("-l %s: want KEY=VALUE", quoteShort(pair))
		}
		if _, twice := labels[key]; twice {
			return nil, usagef("-l %s: the label is there twice", quoteShort(key))
		}
		labels[key] = value
	}
	return labels, nil
}
