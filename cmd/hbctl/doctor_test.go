package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestVersionProblem(t *testing.T) {
	t.Parallel()
	for version, bad := range map[string]bool{
		"3.4.30": true, "3.5.22": true, "3.5.23": false, "3.5.30": false, "3.6.4": true, "3.6.5": false, "3.7.0": true, "3.7.1": false,
		"3.7.3": false, "3.8.0": false, "4.0.0": false, "": true, "weird": true, "3.7.0-rc.1": true,
	} {
		problem, remedy := versionProblem(version)
		if (problem != "") != bad || bad != (remedy != "") {
			t.Errorf("%q: %q, %q; want a problem: %v", version, problem, remedy, bad)
		}
	}
}

// findings gives the level of each check.
func findings(t *testing.T, o outcome) map[string]check {
	t.Helper()
	var found struct{ Checks []check }
	if err := json.Unmarshal([]byte(o.stdout), &found); err != nil {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	byName := make(map[string]check)
	for _, c := range found.Checks {
		byName[c.Check] = c
		if c.Level != levelOK && c.Remedy == "" {
			t.Errorf("%s: %s, and nothing to do about it", c.Check, c.Found)
		}
	}
	return byName
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("web/n1", `,"zone":"az1"`)
	w.alive("web/n1")
	o := w.hbctl("doctor", "-o", "json")
	o.wants(t, exitOK)
	found := findings(t, o)
	for _, name := range []string{"leader", "alarms", "shortest TTL", "permissions", "data", "clocks"} {
		if found[name].Level != levelOK {
			t.Errorf("%s: %+v, want ok", name, found[name])
		}
	}
	w.hbctl("doctor", "--strict").wants(t, exitFailed) // one member only

	w.put("stray", "x")
	w.put("instances/web/junk", "{")
	w.put("alive/web/immortal", `{"schema":1}`)
	w.put("instances/web/future", `{"schema":1,"binary":"web","host":"future","updated_at":"2999-01-01T00:00:00Z"}`)
	w.put("instances/web/old", `{"schema":1,"binary":"web","host":"old","created_at":"2020-01-01T00:00:00Z","updated_at":"2020-01-01T00:00:00Z"}`)
	found = findings(t, w.hbctl("doctor", "-o", "json"))
	for name, about := range map[string]string{
		"foreign keys": "stray", "data": "web/junk", "keys without a lease": "web/immortal", "clocks": "web/future", "old records": "web/old",
	} {
		if c := found[name]; c.Level != levelWarn || !strings.Contains(c.Found, about) {
			t.Errorf("%s: %+v, want a warning about %s", name, c, about)
		}
	}
	text := w.hbctl("doctor")
	text.wants(t, exitOK)
	for line := range strings.Lines(text.stdout) {
		if !strings.HasPrefix(line, "ok    ") && !strings.HasPrefix(line, "warn  ") {
			t.Errorf("a line is %q", line)
		}
	}
}

func TestDoctorWithoutEtcd(t *testing.T) {
	t.Parallel()
	o := hbctl(t, "doctor", "--endpoints", "127.0.0.1:1")
	o.wants(t, exitUnreachable)
	lines := strings.SplitAfter(o.stdout, "\n")
	if len(lines) != 3 || lines[0] != "ok    setting endpoints: 127.0.0.1:1, from --endpoints\n" || !strings.HasPrefix(lines[1], "fail  endpoint 127.0.0.1:1: connection refused") {
		t.Errorf("told %q", o.stdout)
	}
}
