package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever a user gets wrong ends with 2 before anything is asked of etcd, and is told in one line that says what, why and
// what to do. Nothing of it goes to stdout. The endpoint leads nowhere, so a case that got through would end with 4.
func TestBadInput(t *testing.T) {
	t.Parallel()
	register := func(args ...string) []string {
		return append([]string{"register", "--binary", "b", "--host", "h"}, args...)
	}
	for _, test := range []struct {
		name string
		args []string
		env  map[string]string
		says string
	}{
		{"TTL 0 without unit", register("--ttl", "0"), nil, `TTL 0s is too short`},
		{"TTL 0s", register("--ttl", "0s"), nil, `--ttl: TTL 0s is too short`},
		{"TTL negative without unit", register("--ttl", "-5"), nil, `--ttl "-5": the unit is missing; write -5s`},
		{"TTL negative", register("--ttl", "-5s"), nil, `--ttl: TTL -5s is too short`},
		{"TTL below etcd's minimum", register("--ttl", "1s"), nil, "etcd grants no less than 2s"},
		{"TTL of a fraction without unit", register("--ttl", "1.5"), nil, `--ttl "1.5": the unit is missing`},
		{"TTL of a fraction", register("--ttl", "1.5s"), nil, "etcd counts whole seconds; use 2s"},
		{"TTL in milliseconds", register("--ttl", "500ms"), nil, "etcd counts whole seconds"},
		{"TTL without unit", register("--ttl", "10"), nil, `--ttl "10": the unit is missing; write 10s`},
		{"TTL with an unknown unit", register("--ttl", "10M"), nil, `--ttl "10M": want a time with its unit`},
		{"TTL too large", register("--ttl", "9000000001s"), nil, "TTL"},
		{"TTL far too large", register("--ttl", "9223372036854775808s"), nil, `--ttl "9223372036854775808s"`},
		{"TTL above an hour", register("--ttl", "61m"), nil, "TTL 1h1m0s is too long"},
		{"TTL empty", register("--ttl", ""), nil, "--ttl is empty"},
		{"report interval negative", register("--report-interval", "-1s"), nil, "--report-interval -1s"},
		{"report interval without unit", register("--report-interval", "60"), nil, "write 60s"},
		{"register timeout 0", register("--register-timeout", "0s"), nil, "--register-timeout 0s: want more than 0"},
		{"no name", []string{"register"}, nil, "--binary is missing"},
		{"empty name", []string{"register", "--binary", ""}, nil, "--binary is empty"},
		{"empty host", []string{"register", "--binary", "b", "--host", ""}, nil, "--host is empty"},
		{"name with a slash", []string{"register", "--binary", "a/b"}, nil, `binary "a/b": has a '/'`},
		{"name of dots", []string{"register", "--binary", ".."}, nil, "reserved"},
		{"name with NUL", register("--host", "a\x00b"), nil, `unprintable character U+0000`},
		{"name with ESC", register("--host", "a\x1b[2Jb"), nil, `unprintable character U+001B`},
		{"name with a line break", register("--host", "a\nb"), nil, `white space`},
		{"name written from right to left", register("--host", "a\u202eb"), nil, `unprintable character U+202E`},
		{"name that is no UTF-8", register("--host", "a\xffb"), nil, `host "a\xffb": not valid UTF-8`},
		{"name of a megabyte", register("--host", strings.Repeat("x", 1<<20)), nil, "at most 253"},
		{"name with a blank before it", register("--host", " h"), nil, "white space"},
		{"zone with a blank after it", register("--zone", "z "), nil, "without blanks around"},
		{"zone empty", register("--zone", ""), nil, "--zone is empty"},
		{"label without a value", register("-l", "a"), nil, `-l "a": want KEY=VALUE`},
		{"label empty", register("-l", ""), nil, "want KEY=VALUE"},
		{"label twice", register("-l", "a=b", "-l", "a=c"), nil, `-l "a": the label is there twice`},
		{"label with a bad key", register("-l", "a b=c"), nil, `label key "a b"`},
		{"label with a bad value", register("-l", "a=b c"), nil, `label a="b c"`},
		{"advertised nonsense", register("--advertise", "10.0.0.1"), nil, "want a URL"},
		{"conflict policy", register("--on-conflict", "fight"), nil, `--on-conflict "fight": want one of wait, fail, takeover`},

		{"unknown flag", []string{"list", "--sate", "up"}, nil, `unknown flag "--sate"; did you mean --state?; see 'hbctl help list'`},
		{"unknown global flag", []string{"--endpoint", "a:1", "list"}, nil, `did you mean --endpoints?`},
		{"unknown short flag", []string{"list", "-z"}, nil, `unknown flag "-z"`},
		{"flag of another command", []string{"list", "--ttl", "3s"}, nil, "list has no flag --ttl; it belongs to register, run"},
		{"flag without its value", []string{"list", "--host"}, nil, "flag --host needs a value"},
		{"flag before --", []string{"register", "--binary", "--", "x"}, nil, "flag --binary needs a value"},
		{"switch with a strange value", []string{"list", "--age=maybe"}, nil, `"maybe" for --age`},
		{"unknown command", []string{"lsit"}, nil, `unknown command "lsit"; did you mean "list"?`},
		{"unlike any command", []string{"zzzzzz"}, nil, `unknown command "zzzzzz"; 'hbctl help' lists the commands`},
		{"no command", nil, nil, "no command given"},
		{"only flags", []string{"--prefix", "/a/"}, nil, "no command given"},
		{"argument too many", []string{"list", "extra"}, nil, `unexpected argument "extra": list takes none`},
		{"argument after --", []string{"list", "--", "extra"}, nil, `unexpected argument "extra"`},
		{"argument of version", []string{"version", "extra"}, nil, `unexpected argument "extra"`},
		{"help for nonsense", []string{"help", "lsit"}, nil, `did you mean "list"?`},
		{"help for two", []string{"help", "list", "watch"}, nil, "one command at a time"},

		{"endpoints empty", []string{"list", "--endpoints", ""}, nil, `--endpoints "": no endpoint in it`},
		{"endpoints of commas", []string{"list", "--endpoints", ",,"}, nil, `--endpoints ",,": no endpoint in it`},
		{"endpoint without port", []string{"list", "--endpoints", "a:1,node2"}, nil, `endpoint "node2": the port is missing; etcd's is 2379, so write node2:2379`},
		{"endpoint without host", []string{"list", "--endpoints", ":2379"}, nil, "the host is missing; write 127.0.0.1:2379"},
		{"endpoint with a bad port", []string{"list", "--endpoints", "a:70000"}, nil, "the port is no number from 1 to 65535"},
		{"endpoint with a path", []string{"list", "--endpoints", "http://a:1/v3"}, nil, "want host:port, and nothing after it"},
		{"endpoint with a strange scheme", []string{"list", "--endpoints", "ftp://a:1"}, nil, `endpoint "ftp://a:1": want host:port`},
		{"endpoints with and without TLS", []string{"list", "--endpoints", "http://a:1,https://b:2"}, nil, "http://a:1 and https://b:2: one speaks TLS"},
		{"endpoint in plain with TLS files", []string{"list", "--endpoints", "http://a:1", "--insecure-skip-tls-verify"}, nil, "is plain http, but TLS"},
		{"endpoints of the environment", []string{"list"}, map[string]string{"ETCDCTL_ENDPOINTS": "x"}, `$ETCDCTL_ENDPOINTS: endpoint "x"`},
		{"timeout 0", []string{"list", "--command-timeout", "0s"}, nil, `--command-timeout "0s": want more than 0, as 5s`},
		{"timeout negative", []string{"list", "--dial-timeout", "-1s"}, nil, `--dial-timeout "-1s": want more than 0, as 2s`},
		{"timeout without unit", []string{"list"}, map[string]string{"HBCTL_DIAL_TIMEOUT": "5"}, `$HBCTL_DIAL_TIMEOUT "5": the unit is missing; write 5s`},
		{"switch of the environment", []string{"list"}, map[string]string{"HBCTL_INSECURE_SKIP_TLS_VERIFY": "perhaps"}, "want true or false"},
		{"prefix empty", []string{"list", "--prefix", ""}, nil, `--prefix "": an empty prefix would cover the whole key space`},
		{"prefix of everything", []string{"list", "--prefix", "/"}, nil, `prefix "/" would cover the whole key space`},
		{"prefix with a blank", []string{"list", "--prefix", "/a b/"}, nil, "white space"},
		{"prefix that is no UTF-8", []string{"list", "--prefix", "/a\xff"}, nil, "UTF-8"},
		{"log level", []string{"list", "--log-level", "loud"}, nil, "want debug, info, warn or error"},
		{"log format", []string{"list", "--log-format", "xml"}, nil, "want console or json"},
		{"log format empty", []string{"list", "--log-format", ""}, nil, "want console or json"},
		{"output", []string{"list", "-o", "xml"}, nil, `--output "xml": want one of table, wide, json, jsonl, yaml, csv, name`},
		{"output empty", []string{"list", "-o", ""}, nil, "want one of table"},
		{"output of watch", []string{"watch", "-o", "yaml"}, nil, `want one of text, json`},
		{"output of version", []string{"version", "-o", "yaml"}, nil, `want one of text, json`},
		{"selector empty", []string{"list", "--host", ""}, nil, "--host is empty; leave it out to select all"},
		{"status", []string{"list", "--status", "on"}, nil, `--status "on": want one of enabled, disabled`},
		{"state", []string{"list", "--state", "UP"}, nil, `--state "UP": want one of up, down`},
		{"label selector", []string{"list", "-l", "zone in a"}, nil, `-l "zone in a": `},
		{"label selector empty", []string{"list", "-l", ""}, nil, "-l is empty"},
		{"user without password", []string{"list", "--user", "root"}, nil, `user "root" has no password`},
		{"user without name", []string{"list", "--user", ":pw"}, nil, "the user's name is empty"},
		{"password without user", []string{"list", "--password-file", "f"}, nil, "a password without a user"},
		{"two passwords", []string{"list", "--user", "root:pw", "--password-file", "f"}, nil, "both give a password"},
		{"password file missing", []string{"list", "--user", "root", "--password-file", "/no/such"}, nil, "password file /no/such: no such file"},
		{"revision of nonsense", []string{"watch", "--since", "x"}, nil, `--since "x": want a revision`},
		{"revision empty", []string{"watch", "--since", ""}, nil, `--since "": want a revision`},
		{"revision negative", []string{"watch", "--since", "-1"}, nil, `--since "-1": want a revision`},
		{"revision too large", []string{"watch", "--since", "9223372036854775808"}, nil, "want a revision"},
		{"listen empty", []string{"dev", "--listen", ""}, nil, "--listen is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"HBCTL_ENDPOINTS": "127.0.0.1:1", "HBCTL_COMMAND_TIMEOUT": "1s"}
			if len(test.env) > 0 {
				env = test.env
			}
			o := invocation{env: env}.run(t, test.args...)
			o.wants(t, exitUsage, "hbctl: ", test.says)
			if o.stdout != "" {
				t.Errorf("stdout is for data, but has %q", o.stdout)
			}
			lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
			if len(lines) != 1 && !strings.HasPrefix(o.stderr, "hbctl registers services") {
				t.Errorf("%d lines on stderr: %s", len(lines), o.stderr)
			}
			if last := lines[len(lines)-1]; !clean(last) {
				t.Errorf("stderr has raw control characters: %q", last)
			}
		})
	}
}

// What is wrong with run is told with a code that no command would be confused with.
func TestBadInputOfRun(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		args []string
		says string
	}{
		{"no command", []string{"run", "--binary", "b"}, "no command to run; it comes after --"},
		{"no command after --", []string{"run", "--binary", "b", "--"}, "no command to run"},
		{"empty command", []string{"run", "--binary", "b", "--", ""}, "no command to run"},
		{"command without --", []string{"run", "--binary", "b", "sleep", "1"}, `unexpected argument "sleep"; the command to run comes after --`},
		{"TTL", []string{"run", "--binary", "b", "--ttl", "10", "--", "true"}, "write 10s"},
		{"unknown flag", []string{"run", "--binari", "b", "--", "true"}, "did you mean --binary?"},
		{"on lost", []string{"run", "--binary", "b", "--on-lost", "cry", "--", "true"}, "want one of keep, term, kill"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			hbctl(t, test.args...).wants(t, exitRun, test.says)
		})
	}
	t.Run("command that is not there", func(t *testing.T) {
		t.Parallel()
		hbctl(t, "run", "--binary", "b", "--", "no-such-command").wants(t, 127, "no-such-command: command not found")
	})
	t.Run("command that can't be executed", func(t *testing.T) {
		t.Parallel()
		hbctl(t, "run", "--binary", "b", "--", t.TempDir()).wants(t, 126, "is a directory")
	})
}

func TestConfigFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for _, c := range "bcdefghij" {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+",", 9), ",") + "]\n"
	}
	for _, test := range []struct{ name, path, says string }{
		{"missing", dir + "/missing", "missing: no such file"},
		{"directory", dir, "it is a directory"},
		{"too large", write("large", strings.Repeat("# filler\n", 10000)), "more than the 64 KiB"},
		{"endless", "/dev/zero", "more than the 64 KiB"},
		{"unknown key", write("unknown", "prefix: /a/\nendpoint: a:1\n"), `line 2: unknown key "endpoint"; did you mean endpoints?`},
		{"key twice", write("twice", "prefix: /a/\nuser: a\nprefix: /b/\n"), `line 3: key "prefix" is there twice`},
		{"list for a value", write("list", "prefix: [a]\n"), "line 1: a list where one value is wanted"},
		{"map for a value", write("map", "\nprefix: {a: b}\n"), "line 2: a map where one value is wanted"},
		{"map for a list", write("maplist", "endpoints: {a: b}\n"), "line 1: a map where one value is wanted"},
		{"no map", write("scalar", "just words\n"), "line 1: want lines of 'name: value'"},
		{"no YAML", write("junk", "prefix: \"a\n"), "line"},
		{"two documents", write("two", "prefix: /a/\n---\nprefix: /b/\n"), "more than one YAML document"},
		{"bomb", write("bomb", bomb), "config file"},
		{"bad value", write("value", "dial-timeout: 10\n"), `dial-timeout "10": the unit is missing; write 10s`},
		{"NUL", write("nul", "prefix: a\x00b\n"), "control characters are not allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := hbctl(t, "list", "--config", test.path)
			o.wants(t, exitUsage, test.says)
			if strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("more than one line: %s", o.stderr)
			}
			invocation{env: map[string]string{"HBCTL_CONFIG": test.path}}.run(t, "list").wants(t, exitUsage, test.says)
		})
	}
}
