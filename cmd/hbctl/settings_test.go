package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// settled gives the settings that a line, an environment and a config file amount to.
func settled(t *testing.T, env map[string]string, args ...string) (*settings, error) {
	t.Helper()
	var out strings.Builder
	p := newProgram(system{
		stdout: &out, stderr: &out, stdin: strings.NewReader(""), getenv: func(name string) string { return env[name] },
	})
	app := p.app()
	for _, c := range app.Commands {
		c.Action = func(c *cli.Context) error { return p.settle(c) }
	}
	l, err := newGrammar(app).parse(append([]string{"list"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	err = app.RunContext(t.Context(), l.argv())
	return &p.settings, err
}

func addresses(s *settings) string { return strings.Join(urls(s.endpoints), " ") }

func TestPrecedence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "hbctl.yaml")
	if err := os.WriteFile(path, []byte("endpoints: file:1\nprefix: /file\ndial-timeout: 7s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"HBCTL_ENDPOINTS": "hb:1", "ETCDCTL_ENDPOINTS": "etcd:1", "HBCTL_CONFIG": path}
	for _, test := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"default", nil, nil, "http://127.0.0.1:2379"},
		{"file", map[string]string{"HBCTL_CONFIG": path}, nil, "http://file:1"},
		{"etcdctl's environment", map[string]string{"ETCDCTL_ENDPOINTS": "etcd:1", "HBCTL_CONFIG": path}, nil, "http://etcd:1"},
		{"own environment", all, nil, "http://hb:1"},
		{"empty variable counts as unset", map[string]string{"HBCTL_ENDPOINTS": "", "ETCDCTL_ENDPOINTS": "etcd:1"}, nil, "http://etcd:1"},
		{"flag", all, []string{"--endpoints", "flag:1"}, "http://flag:1"},
		{"duplicates are taken once", nil, []string{"--endpoints", "a:1, b:1,a:1,,"}, "http://a:1 http://b:1"},
		{"the same with and without scheme", nil, []string{"--endpoints", "a:1,http://a:1/"}, "http://a:1"},
		{"TLS by scheme", nil, []string{"--endpoints", "https://a:1"}, "https://a:1"},
		{"TLS by flag", nil, []string{"--endpoints", "a:1", "--insecure-skip-tls-verify"}, "https://a:1"},
		{"IPv6", nil, []string{"--endpoints", "[::1]:2379"}, "http://[::1]:2379"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := settled(t, test.env, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := addresses(s); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	t.Run("each flag by itself", func(t *testing.T) {
		t.Parallel()
		s, err := settled(t, all)
		if err != nil {
			t.Fatal(err)
		}
		if s.keys.Prefix() != "/file/" || s.dialTimeout != 7*time.Second || s.commandTimeout != 5*time.Second {
			t.Errorf("got prefix %s, dial timeout %v, command timeout %v", s.keys.Prefix(), s.dialTimeout, s.commandTimeout)
		}
	})
}

// These names and defaults are an interface: each is looked up in this order.
func TestGlobalFlags(t *testing.T) {
	t.Parallel()
	both := func(name string) string { return "HBCTL_" + name + " ETCDCTL_" + name }
	want := []struct{ flag, env, initial string }{
		{"endpoints", both("ENDPOINTS"), "127.0.0.1:2379"},
		{"prefix", "HBCTL_PREFIX", "/hb/"},
		{"cacert", both("CACERT"), ""},
		{"cert", both("CERT"), ""},
		{"key", both("KEY"), ""},
		{"insecure-skip-tls-verify", both("INSECURE_SKIP_TLS_VERIFY"), ""},
		{"user", both("USER"), ""},
		{"password-file", both("PASSWORD_FILE"), ""},
		{"dial-timeout", both("DIAL_TIMEOUT"), "2s"},
		{"command-timeout", both("COMMAND_TIMEOUT"), "5s"},
		{"config", "HBCTL_CONFIG", ""},
		{"log-level", "", "info"},
		{"log-format", "", ""},
		{"no-color", "NO_COLOR", ""},
	}
	if len(want) != len(globalFlags) {
		t.Errorf("there are %d global flags, want %d", len(globalFlags), len(want))
	}
	for _, row := range want {
		t.Run(row.flag, func(t *testing.T) {
			t.Parallel()
			env := make(map[string]string)
			value := func(args ...string) string {
				t.Helper()
				var found string
				p := newProgram(system{stdout: io.Discard, stderr: io.Discard})
				app := p.app()
				for _, c := range app.Commands {
					c.Action = func(c *cli.Context) error {
						found = globalFlagNamed(row.flag).lookup(c, func(name string) string { return env[name] }, fileValues{}).text
						return nil
					}
				}
				l, err := newGrammar(app).parse(append([]string{"list"}, args...))
				if err != nil {
					t.Fatal(err)
				}
				if err := app.RunContext(t.Context(), l.argv()); err != nil {
					t.Fatal(err)
				}
				return found
			}
			if got := value(); got != row.initial {
				t.Errorf("the default is %q, want %q", got, row.initial)
			}
			for _, name := range slices.Backward(strings.Fields(row.env)) { // the stronger one last
				env[name] = "by " + name
				if got := value(); got != env[name] {
					t.Errorf("with %s it is %q", name, got)
				}
			}
			if got := value("--" + row.flag + "=true"); got != "true" {
				t.Errorf("the flag gives %q", got)
			}
		})
	}
}

func TestConfigFileForms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"list":           "endpoints: [a:1, b:2]",
		"text":           "endpoints: a:1,b:2",
		"Windows":        "\ufeffendpoints:\r\n- a:1\r\n- b:2\r\n",
		"one document":   "---\nendpoints: [a:1, b:2]\n",
		"all the others": "endpoints: [a:1, b:2]\nlog-level: debug\nlog-format: json\nno-color: true\nprefix:\ncommand-timeout: 1s\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := settled(t, map[string]string{"HBCTL_CONFIG": path})
			if err != nil {
				t.Fatal(err)
			}
			if got := addresses(s); got != "http://a:1 http://b:2" {
				t.Errorf("got %s", got)
			}
		})
	}
	t.Run("empty", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(dir, "empty")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := settled(t, nil, "--config", path); err != nil || addresses(s) != "http://127.0.0.1:2379" {
			t.Errorf("got %v %v", s, err)
		}
	})
	t.Run("files are found from the folder of the config", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(dir, "user")
		if err := os.WriteFile(path, []byte("user: root\npassword-file: secret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("pa:ss\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := settled(t, nil, "--config", path); err != nil || s.password != "pa:ss" {
			t.Errorf("got %q %v", s.password, err)
		}
	})
	t.Run("a key for every flag", func(t *testing.T) {
		t.Parallel()
		for _, key := range configKeys() {
			if _, err := settled(t, nil, "--config", writeTemp(t, key+":\n")); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
}

func writeTemp(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
	}{
		"in the flag":            {nil, []string{"--user", "root:pa:ss"}},
		"in the environment":     {map[string]string{"HBCTL_USER": "root:pa:ss"}, nil},
		"in a variable":          {map[string]string{"ETCDCTL_USER": "root", "ETCDCTL_PASSWORD": "pa:ss"}, nil},
		"in our variable":        {map[string]string{"HBCTL_PASSWORD": "pa:ss", "ETCDCTL_PASSWORD": "other"}, []string{"--user", "root"}},
		"in a file":              {nil, []string{"--user", "root", "--password-file", writeTemp(t, "pa:ss\n")}},
		"in a file from Windows": {nil, []string{"--user", "root", "--password-file", writeTemp(t, "pa:ss\r\n")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := settled(t, test.env, test.args...)
			if err != nil || s.user != "root" || s.password != "pa:ss" {
				t.Errorf("got %q %q %v", s.user, s.password, err)
			}
		})
	}
}

func TestNoColor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		want bool
	}{
		"nothing":                {nil, nil, false},
		"flag":                   {nil, []string{"--no-color"}, true},
		"any value":              {map[string]string{"NO_COLOR": "0"}, nil, true},
		"empty variable":         {map[string]string{"NO_COLOR": ""}, nil, false},
		"flag beats environment": {map[string]string{"NO_COLOR": "1"}, []string{"--no-color=false"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if s, err := settled(t, test.env, test.args...); err != nil || s.noColor != test.want {
				t.Errorf("got %v %v", s.noColor, err)
			}
		})
	}
}

// Every flag is explained, with the value that it takes.
func TestFlagsAreExplained(t *testing.T) {
	t.Parallel()
	app := newProgram(system{}).app()
	check := func(where string, flags []cli.Flag) {
		for _, f := range flags {
			d, ok := f.(cli.DocGenerationFlag)
			if !ok || d.GetUsage() == "" {
				t.Errorf("%s: --%s is not explained", where, f.Names()[0])
			} else if d.TakesValue() && strings.Count(d.GetUsage(), "`") != 2 {
				t.Errorf("%s: --%s does not say what its value is", where, f.Names()[0])
			}
		}
	}
	check("hbctl", app.Flags)
	for _, c := range visible(app) {
		check(c.Name, c.Flags)
		if c.Usage == "" || c.UsageText == "" {
			t.Errorf("%s is not explained", c.Name)
		}
		if c.Name != "help" && !strings.Contains(c.Description, "hbctl "+c.Name) {
			t.Errorf("%s has no example", c.Name)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	app := newProgram(system{}).app()
	for _, c := range app.Commands {
		for _, args := range [][]string{{"help", c.Name}, {c.Name, "--help"}, {"-h", c.Name}} {
			if c.Name == "help" && !slices.Equal(args, []string{"help", "help"}) {
				continue // it explains hbctl
			}
			o := hbctl(t, args...)
			o.wants(t, exitOK)
			if !strings.Contains(o.stdout, c.UsageText) || o.stderr != "" {
				t.Errorf("%q: %s%s", args, o.stdout, o.stderr)
			}
		}
	}
	o := hbctl(t, "help")
	for _, c := range visible(app) {
		if !slices.Contains(strings.FieldsFunc(o.stdout, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' }), c.Name) {
			t.Errorf("help does not know %s", c.Name)
		}
	}
	// A broken environment must not keep anybody from reading the help.
	invocation{env: map[string]string{"HBCTL_CONFIG": "/no/such"}}.run(t, "help", "list").wants(t, exitOK)
	invocation{env: map[string]string{"HBCTL_CONFIG": "/no/such"}}.run(t, "version").wants(t, exitOK)
}
