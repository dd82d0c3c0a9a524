package main

import (
	"strings"
	"testing"
)

// wrongUse is what ends with 2 before anything is asked of etcd.
type wrongUse struct {
	name string
	args []string
	env  map[string]string
	says string
}

// addWrongUses adds them all. Their endpoint leads nowhere, so one that got through would end with 4.
func addWrongUses(t *testing.T, s *badSection, uses []wrongUse) {
	t.Helper()
	for _, use := range uses {
		c := badCase{name: use.name, args: use.args, env: use.env, code: exitUsage, says: []string{"hbctl: ", use.says}}
		if use.args == nil || use.name == "only flags" {
			// Whoever types the bare name is shown what there is, on stderr as well.
			c.lines, c.told = anyLines, lastLine
		}
		s.add(t, c)
	}
}

func registerWith(args ...string) []string {
	return append([]string{"register", "--binary", "b", "--host", "h"}, args...)
}

func badRegistrations(t *testing.T, s *badSection) {
	addWrongUses(t, s, []wrongUse{
		{"TTL 0 without unit", registerWith("--ttl", "0"), nil, `TTL 0s is too short`},
		{"TTL 0s", registerWith("--ttl", "0s"), nil, `--ttl: TTL 0s is too short`},
		{"TTL negative without unit", registerWith("--ttl", "-5"), nil, `--ttl "-5": the unit is missing; want a time as 10s`},
		{"TTL negative", registerWith("--ttl", "-5s"), nil, `--ttl: TTL -5s is too short`},
		{"TTL below etcd's minimum", registerWith("--ttl", "1s"), nil, "etcd grants no less than 2s"},
		{"TTL of a fraction without unit", registerWith("--ttl", "1.5"), nil, `--ttl "1.5": the unit is missing`},
		{"TTL of a fraction", registerWith("--ttl", "1.5s"), nil, "etcd counts whole seconds; use 2s"},
		{"TTL in milliseconds", registerWith("--ttl", "500ms"), nil, "etcd counts whole seconds"},
		{"TTL without unit", registerWith("--ttl", "10"), nil, `--ttl "10": the unit is missing; write 10s`},
		{"TTL with an unknown unit", registerWith("--ttl", "10M"), nil, `--ttl "10M": want a time with its unit`},
		{"TTL too large", registerWith("--ttl", "9000000001s"), nil, "TTL"},
		{"TTL far too large", registerWith("--ttl", "9223372036854775808s"), nil, `--ttl "9223372036854775808s": the number is too large`},
		{"TTL above an hour", registerWith("--ttl", "61m"), nil, "TTL 1h1m0s is too long"},
		{"TTL empty", registerWith("--ttl", ""), nil, "--ttl is empty"},
		{"interval of the renewals, which is a quarter of the TTL", registerWith("--interval", "9s"), nil, `unknown flag "--interval"`},
		{"report interval negative", registerWith("--report-interval", "-1s"), nil, "--report-interval -1s"},
		{"report interval without unit", registerWith("--report-interval", "60"), nil, "write 60s"},
		{"register timeout 0", registerWith("--register-timeout", "0s"), nil, "--register-timeout 0s: want more than 0"},
		{"no name", []string{"register"}, nil, "--binary is missing"},
		{"empty name", []string{"register", "--binary", ""}, nil, "--binary is empty"},
		{"empty host", []string{"register", "--binary", "b", "--host", ""}, nil, "--host is empty"},
		{"name with a slash", []string{"register", "--binary", "a/b"}, nil, `binary "a/b": has a '/'`},
		{"name of dots", []string{"register", "--binary", ".."}, nil, "reserved"},
		{"name with NUL", registerWith("--host", "a\x00b"), nil, `unprintable character U+0000`},
		{"name with ESC", registerWith("--host", "a\x1b[2Jb"), nil, `unprintable character U+001B`},
		{"name with a line break", registerWith("--host", "a\nb"), nil, `white space`},
		{"name written from right to left", registerWith("--host", "a\u202eb"), nil, `unprintable character U+202E`},
		{"name that is no UTF-8", registerWith("--host", "a\xffb"), nil, `host "a\xffb": not valid UTF-8`},
		{"name of a megabyte", registerWith("--host", strings.Repeat("x", 1<<20)), nil, "at most 253"},
		{"name with a blank before it", registerWith("--host", " h"), nil, "white space"},
		{"zone with a blank after it", registerWith("--zone", "z "), nil, "without blanks around"},
		{"zone empty", registerWith("--zone", ""), nil, "--zone is empty"},
		{"label without a value", registerWith("-l", "a"), nil, `-l "a": want KEY=VALUE`},
		{"label empty", registerWith("-l", ""), nil, "want KEY=VALUE"},
		{"label twice", registerWith("-l", "a=b", "-l", "a=c"), nil, `-l "a": the label is there twice`},
		{"label with a bad key", registerWith("-l", "a b=c"), nil, `label key "a b"`},
		{"label with a bad value", registerWith("-l", "a=b c"), nil, `label a="b c"`},
		{"advertised nonsense", registerWith("--advertise", "10.0.0.1"), nil, "want a URL"},
		{"conflict policy", registerWith("--on-conflict", "fight"), nil, `--on-conflict "fight": want one of wait, fail, takeover`},
	})
}

func badCommandLines(t *testing.T, s *badSection) {
	addWrongUses(t, s, []wrongUse{
		{"unknown flag", []string{"list", "--sate", "up"}, nil, `unknown flag "--sate"; did you mean --state?; see 'hbctl help list'`},
		{"unknown global flag", []string{"--endpoint", "a:1", "list"}, nil, `did you mean --endpoints?`},
		{"unknown short flag", []string{"list", "-z"}, nil, `unknown flag "-z"`},
		{"flag of another command", []string{"list", "--ttl", "3s"}, nil, "list has no flag --ttl; it belongs to register, run"},
		{"flag without its value", []string{"list", "--host"}, nil, "flag --host needs a value"},
		{"flag before --", []string{"register", "--binary", "--", "x"}, nil, "flag --binary needs a value"},
		{"switch with a strange value", []string{"list", "--age=maybe"}, nil, `--age "maybe": want true or false`},
		{"unknown command", []string{"lsit"}, nil, `unknown command "lsit"; did you mean "list"?`},
		{"unlike any command", []string{"zzzzzz"}, nil, `unknown command "zzzzzz"; 'hbctl help' lists the commands`},
		{"no command", nil, nil, "no command given"},
		{"only flags", []string{"--prefix", "/a/"}, nil, "no command given"},
		{"argument too many", []string{"list", "extra"}, nil, `unexpected argument "extra": list takes none; select with flags, as --binary or --host`},
		{"argument after --", []string{"list", "--", "extra"}, nil, `unexpected argument "extra"`},
		{"argument of version", []string{"version", "extra"}, nil, `unexpected argument "extra"`},
		{"help for nonsense", []string{"help", "lsit"}, nil, `did you mean "list"?`},
		{"help for two", []string{"help", "list", "watch"}, nil, "one command at a time"},
	})
}

func badSettings(t *testing.T, s *badSection) {
	addWrongUses(t, s, []wrongUse{
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
	})
}
