package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadInput tries whatever a user, or what is around him, can get wrong: all of docs/bad-input.md, which it writes.
func TestBadInput(t *testing.T) {
	t.Parallel()
	page := &badPage{}
	t.Cleanup(func() { page.compare(t) })
	for _, section := range []struct {
		title string
		fill  func(*testing.T, *badSection)
	}{
		{"What to register", badRegistrations},
		{"Command lines", badCommandLines},
		{"Settings", badSettings},
		{"Config files", badConfigs},
		{"run", badRuns},
		{"Endpoints", badEndpoints},
		{"Clusters", badClusters},
		{"TLS files", badTLSFiles},
		{"TLS", badTLS},
		{"Users", badUsers},
		{"Registrations", badRegistering},
		{"Many sources", badSources},
		{"The machine", badMachines},
	} {
		s := page.section(section.title)
		t.Run(section.title, func(t *testing.T) {
			t.Parallel()
			section.fill(t, s)
			s.complete = true
		})
	}
}

// What is wrong with run is told with a code that no command would be confused with.
func badRuns(t *testing.T, s *badSection) {
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
		s.add(t, badCase{name: test.name, args: test.args, code: exitRun, says: []string{test.says}})
	}
	s.add(t, badCase{
		name: "command that is not there", args: []string{"run", "--binary", "b", "--", "no-such-command"}, code: 127,
		says: []string{"no-such-command: command not found"},
	})
	s.add(t, badCase{
		name: "command that can't be executed", args: []string{"run", "--binary", "b", "--", t.TempDir()}, code: 126,
		says: []string{"is a directory"},
	})
}

func badConfigs(t *testing.T, s *badSection) {
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
		s.add(t, badCase{name: "config file: " + test.name, args: []string{"list", "--config", test.path}, code: exitUsage, says: []string{test.says}})
	}
	s.add(t, badCase{
		name: "config file: unreadable", shown: "hbctl list --config DIR/secret", code: exitUsage,
		run: func(t *testing.T) (o outcome) {
			secret := filepath.Join(openDir(t), "secret")
			if err := os.WriteFile(secret, nil, 0); err != nil {
				t.Fatal(err)
			}
			asNobody(t, func() { o = hbctl(t, "list", "--config", secret) })
			o.wants(t, exitUsage, "config file "+secret+": permission denied")
			return o
		},
	})
	s.add(t, badCase{
		name: "config file of the environment", args: []string{"list"}, env: map[string]string{"HBCTL_CONFIG": dir + "/missing"}, code: exitUsage,
		says: []string{"missing: no such file"},
	})
}
