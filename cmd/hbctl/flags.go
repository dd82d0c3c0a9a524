package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/registry"
)

// globalFlag is a flag that every command has. Its value comes from the command line, else from the environment, else
// from the config file, else it is the default.
type globalFlag struct {
	name    string
	usage   string
	env     []string // in this order; an empty variable counts as unset
	initial string
	toggle  bool // takes no value
}

var globalFlags = []globalFlag{
	{name: "endpoints", usage: "etcd is at `LIST`: host:port, http:// or https://, comma separated", env: envs("ENDPOINTS"), initial: "127.0.0.1:2379"},
	{name: "prefix", usage: "all keys begin with `PREFIX`", env: []string{"HBCTL_PREFIX"}, initial: registry.DefaultPrefix},
	{name: "cacert", usage: "check the servers' certificates with the CA certificates in `FILE`", env: envs("CACERT")},
	{name: "cert", usage: "show the servers the certificate in `FILE`", env: envs("CERT")},
	{name: "key", usage: "the key of that certificate is in `FILE`", env: envs("KEY")},
	{name: "insecure-skip-tls-verify", usage: "don't check the servers' certificates", env: envs("INSECURE_SKIP_TLS_VERIFY"), toggle: true},
	{name: "user", usage: "etcd user, as `NAME[:PASSWORD]`; HBCTL_PASSWORD or ETCDCTL_PASSWORD may hold the password", env: envs("USER")},
	{name: "password-file", usage: "the password of --user is in `FILE`", env: envs("PASSWORD_FILE")},
	{name: "dial-timeout", usage: "one attempt to connect may take `TIME`", env: envs("DIAL_TIMEOUT"), initial: "2s"},
	{name: "command-timeout", usage: "a command that ends by itself may take `TIME`; with several targets each of them", env: envs("COMMAND_TIMEOUT"), initial: "5s"},
	{name: "config", usage: "YAML `FILE` with values for these flags, as 'endpoints: [a:2379, b:2379]'", env: []string{"HBCTL_CONFIG"}},
	{name: "log-level", usage: "`LEVEL` is debug, info, warn or error", initial: "info"},
	{name: "log-format", usage: "`FORMAT` is console or json (default: console on a terminal, else json)"},
	{name: "no-color", usage: "no colour (default: colour on a terminal only)", env: []string{"NO_COLOR"}, toggle: true},
}

func globalFlagNamed(name string) globalFlag {
	for _, g := range globalFlags {
		if g.name == name {
			return g
		}
	}
	panic("no global flag " + name)
}

func envs(suffix string) []string { return []string{"HBCTL_" + suffix, "ETCDCTL_" + suffix} }

// flag makes the flag that the cli package knows. The environment is only described to it: it would take an empty
// variable for a value.
func (g globalFlag) flag() cli.Flag {
	usage := g.usage
	if len(g.env) > 0 {
		usage += " [$" + strings.Join(g.env, ", $") + "]"
	}
	if g.toggle {
		return &cli.BoolFlag{Name: g.name, Usage: usage}
	}
	return &cli.StringFlag{Name: g.name, Usage: usage, DefaultText: g.initial}
}

// setting is the text of a value and where it was given, for the words of a refusal.
type setting struct {
	text   string
	source string
	given  bool     // by anybody, rather than the default
	beaten []string // sources that say otherwise, and do not count
}

// refuse makes the usage error for a bad value.
func (s setting) refuse(format string, args ...any) error {
	return usagef("%s %s: %s", s.source, quoteShort(s.text), fmt.Sprintf(format, args...))
}

// lookup finds the value of a global flag. Flag beats environment beats file beats default.
func (g globalFlag) lookup(c *cli.Context, getenv func(string) string, file fileValues) setting {
	var found []setting
	if c.IsSet(g.name) {
		text := c.String(g.name)
		if g.toggle {
			text = fmt.Sprint(c.Bool(g.name))
		}
		found = append(found, setting{text: text, source: "--" + g.name, given: true})
	}
	for _, name := range g.env {
		if text := getenv(name); text != "" {
			found = append(found, setting{text: text, source: "$" + name, given: true})
		}
	}
	if v, ok := file.values[g.name]; ok {
		found = append(found, setting{text: v, source: fmt.Sprintf("%s: %s", file.path, g.name), given: true})
	}
	if len(found) == 0 {
		return setting{text: g.initial, source: "--" + g.name}
	}
	first := found[0]
	for _, other := range found[1:] {
		if other.text != first.text {
			first.beaten = append(first.beaten, other.source)
		}
	}
	return first
}
