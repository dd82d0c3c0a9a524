package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/registry"
)

// settings is what the global flags amount to, checked.
type settings struct {
	endpoints      []endpoint
	keys           registry.Keys
	tls            *tlsFiles // nil: no TLS
	user           string
	password       string
	dialTimeout    time.Duration
	commandTimeout time.Duration
	logLevel       zerolog.Level
	logFormat      string
	noColor        bool

	given        map[string]setting // the global flags, by name
	passwordFrom string             // the variable that the password came from, if it did
}

// settle works out the settings from the command line, the environment and the config file.
func (p *program) settle(c *cli.Context) error {
	given, err := p.givenSettings(c)
	if err != nil {
		return err
	}
	s, err := newSettings(given, p.getenv)
	if err != nil {
		return err
	}
	p.use(*s)
	for _, text := range s.remarks() {
		p.log.Warn().Msg(text)
	}
	return nil
}

// settleLog works out the settings of the log only.
func (p *program) settleLog(c *cli.Context) error {
	given, err := p.givenSettings(c)
	if err != nil {
		return err
	}
	var s settings
	if err := s.setLog(given); err != nil {
		return err
	}
	p.use(s)
	return nil
}

func (p *program) use(s settings) {
	p.settings, p.plain = s, s.logFormat != formatJSON
	p.log = p.newLog()
}

// givenSettings collects the values of the global flags, from wherever they come.
func (p *program) givenSettings(c *cli.Context) (map[string]setting, error) {
	config := globalFlagNamed("config").lookup(c, p.getenv, fileValues{})
	file, err := readConfig(config.text)
	if err != nil {
		return nil, err
	}
	given := make(map[string]setting)
	for _, g := range globalFlags {
		given[g.name] = g.lookup(c, p.getenv, file)
	}
	return given, nil
}

// newSettings checks all values as a whole.
func newSettings(given map[string]setting, getenv func(string) string) (*settings, error) {
	s := &settings{given: given}
	for _, step := range []func(map[string]setting) error{s.setTimes, s.setLog, s.setPrefix, s.setEndpoints} {
		if err := step(given); err != nil {
			return nil, err
		}
	}
	if err := s.setUser(given, getenv); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *settings) setTimes(given map[string]setting) (err error) {
	if s.dialTimeout, err = positive(given["dial-timeout"]); err != nil {
		return err
	}
	s.commandTimeout, err = positive(given["command-timeout"])
	return err
}

func (s *settings) setLog(given map[string]setting) (err error) {
	level := given["log-level"]
	if s.logLevel, err = zerolog.ParseLevel(level.text); err != nil || !slices.Contains(logLevels, level.text) {
		return level.refuse("want debug, info, warn or error")
	}
	format := given["log-format"]
	if s.logFormat = format.text; format.given && !slices.Contains(logFormats, format.text) {
		return format.refuse("want console or json")
	}
	s.noColor, err = truth(given["no-color"])
	return err
}

func (s *settings) setPrefix(given map[string]setting) error {
	prefix := given["prefix"]
	if prefix.text == "" {
		// The library takes "" for its default; a user who writes it means something else, most likely an unset variable.
		return prefix.refuse("an empty prefix would cover the whole key space; use one of its own, as %s", registry.DefaultPrefix)
	}
	var err error
	if s.keys, err = registry.NewKeys(prefix.text); err != nil {
		return invalid(err)
	}
	return nil
}

func (s *settings) setEndpoints(given map[string]setting) error {
	var err error
	if s.endpoints, err = parseEndpoints(given["endpoints"]); err != nil {
		return err
	}
	skip, err := truth(given["insecure-skip-tls-verify"])
	if err != nil {
		return err
	}
	files := &tlsFiles{cacert: given["cacert"].text, cert: given["cert"].text, key: given["key"].text, skipVerify: skip}
	if s.endpoints, err = applyTLS(s.endpoints, files.given()); err != nil || !s.endpoints[0].tls {
		return err
	}
	s.tls = files
	return files.load()
}

func (s *settings) setUser(given map[string]setting, getenv func(string) string) error {
	user, file := given["user"], given["password-file"]
	if !user.given {
		if file.given {
			return file.refuse("a password without a user; give --user NAME")
		}
		return nil
	}
	name, password, found := strings.Cut(user.text, ":")
	switch {
	case name == "":
		return usagef("%s: the user's name is empty; want NAME or NAME:PASSWORD", user.source)
	case found && file.given:
		return usagef("%s and %s both give a password; keep one of them", user.source, file.source)
	case file.given:
		text, err := readSmall(file.text, maxConfigBytes)
		if err != nil {
			return usagef("password file %s: %s", file.text, err)
		}
		password = strings.TrimRight(text, "\r\n")
	case !found:
		for _, env := range envs("PASSWORD") {
			if password = getenv(env); password != "" {
				s.passwordFrom = env
				break
			}
		}
	}
	if password == "" {
		return usagef("user %s has no password; give --user %s:PASSWORD, --password-file FILE or HBCTL_PASSWORD", quoteShort(name), printable(name))
	}
	s.user, s.password = name, password
	return nil
}

// remarks gives what is worth a warning, though it works.
func (s *settings) remarks() []string {
	if s.tls == nil {
		return nil
	}
	var remarks []string
	if s.tls.skipVerify {
		remarks = append(remarks, "the servers' certificates are not checked: anybody in between can read and change everything")
	}
	if s.tls.openKey {
		remarks = append(remarks, fmt.Sprintf("key file %s can be read by everybody; make it private: chmod 600 %s", s.tls.key, s.tls.key))
	}
	return remarks
}
