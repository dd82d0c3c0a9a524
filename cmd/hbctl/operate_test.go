package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// rowsOf reads the rows of -o json.
func rowsOf(t *testing.T, o outcome) []registry.Service {
	t.Helper()
	var list struct {
		Cluster  string
		Revision int64
		Services []registry.Service
	}
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil || list.Cluster == "" || list.Revision == 0 {
		t.Fatalf("%v in %s", err, o.stdout)
	}
	return list.Services
}

func TestOperatorsSayWhyAndWho(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("web/n1", `,"zone":"az1"`)
	w.record("web/n2", `,"zone":"az2"`)
	w.alive("web/n1")

	o := w.hbctl("disable", "web/n1", "--reason", "bad disk", "-o", "json")
	o.wants(t, exitOK)
	row := rowsOf(t, o)[0]
	if *row.Status != registry.Disabled || *row.DisabledReason != "bad disk" || !strings.Contains(*row.DisabledBy, "@") || time.Since(*row.DisabledAt) > time.Minute {
		t.Errorf("disabled as %+v", row)
	}
	if row.State != registry.Up {
		t.Errorf("a word of operators changed the state to %s", row.State)
	}
	o = w.hbctl("disable", "web/n1", "--reason", "worse")
	o.wants(t, exitOK)
	if !strings.Contains(o.stdout, "DISABLED_REASON\n") || !strings.HasSuffix(o.stdout, "worse\n") {
		t.Errorf("the table has no reason:\n%s", o.stdout)
	}
	o = w.hbctl("force-down", "--zone", "az1", "--reason", "smoke", "-o", "json")
	o.wants(t, exitOK)
	if rows := rowsOf(t, o); len(rows) != 1 || rows[0].State != registry.Down || !rows[0].Present || *rows[0].Cause != registry.CauseForced {
		t.Errorf("forced down: %+v", rows)
	}
	w.hbctl("forget", "web/n1").wants(t, exitFailed, "web/n1: its holder is there, as incarnation", "--evict")
	o = w.hbctl("force-up", "web/n1", "-o", "json")
	if rows := rowsOf(t, o); rows[0].State != registry.Up || *rows[0].Status != registry.Disabled {
		t.Errorf("lifted: %+v", rows[0])
	}
	w.hbctl("enable", "--status", "disabled").wants(t, exitOK)
	if o := w.hbctl("list", "--status", "disabled", "-o", "name"); o.stdout != "" {
		t.Errorf("still disabled: %s", o.stdout)
	}
	o = w.hbctl("forget", "web/n2", "-o", "name")
	o.wants(t, exitOK)
	if o.stdout != "web/n2\n" {
		t.Errorf("forgot %q", o.stdout)
	}
	w.hbctl("forget", "--evict", "--reason", "moved", "web/n1").wants(t, exitOK)
	if o := w.hbctl("list", "-o", "name"); o.stdout != "" {
		t.Errorf("left are %s", o.stdout)
	}
}

// Of several targets all are tried, each failure has its line, and the worst code wins.
func TestSeveralTargets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("web/n1", "")
	w.record("web/n3", "")
	w.put("admin/web/n3", "junk")
	o := w.hbctl("disable", "web/none", "web/n1", "web/n1", "web/n3", "--reason", "x", "-o", "name")
	o.wants(t, exitNot, "hbctl: web/none: there is no such instance; to say it beforehand, give --create\n", "admin/web/n3 holds can't be read")
	if o.stdout != "web/n1\n" || strings.Count(o.stderr, "\n") != 2 {
		t.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
	}
	w.hbctl("disable", "web/none", "--create", "--reason", "x", "-o", "name").wants(t, exitOK)
	o = w.hbctl("enable", "--zone", "nowhere")
	o.wants(t, exitOK)
	if strings.Count(o.stdout, "\n") != 1 {
		t.Errorf("a selection of nothing: %q", o.stdout)
	}
}

func TestOperationsRefuse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		line string
		said string
	}{
		{"enable", "nothing is selected; name BINARY/HOST"},
		{"forget", "nothing is selected"},
		{"show", "nothing is selected"},
		{"wait --for state=up", "nothing is selected"},
		{"enable web", "target \"web\": want BINARY/HOST"},
		{"enable web/n1/x", "has a '/'"},
		{"enable web/n1 --zone a", "targets and a selection are both given"},
		{"disable web/n1", "--reason is missing"},
		{"force-down web/n1 --reason=", "--reason is missing"},
		{"enable --zone=", "--zone is empty"},
		{"enable web/n1 -o xml", "want one of table"},
		{"disable --zone a --create --reason x", "--create needs the names"},
		{"forget web/n1 --reason x", "--reason is kept with an eviction only"},
		{"forced-down web/n1", "did you mean \"force-down\"?"},
		{"wait web/n1", "--for is missing"},
		{"wait web/n1 --for state=dead", "want one of state=up, state=down, status=enabled, status=disabled"},
		{"wait web/n1 --for state=up --timeout 0s", "want more than 0"},
		{"wait web/n1 --for state=up --timeout 5", "the unit is missing"},
		{"list --jq .[", "--jq \".[\":"},
		{"list --template {{", "--template \"{{\":"},
		{"list --jq . --template x", "both given"},
		{"list --jq . -o yaml", "leave -o out"},
		{"list --jq=", "--jq is empty"},
		{"list -w -o yaml", "can't go on with a watch"},
		{"list -w --jq .", "want an end"},
		{"list -w --exit-code", "both given"},
		{"completion", "name one shell"},
		{"completion ksh", "want one of bash, zsh, fish"},
		{"watch -- ", "no command to run"},
		{"watch -o text -- cat", "leave -o text out"},
		{"watch -- /no/such/handler", "command not found"},
		{"top extra", "unexpected argument"},
		{"doctor extra", "unexpected argument"},
	} {
		t.Run(test.line, func(t *testing.T) {
			t.Parallel()
			o := hbctl(t, strings.Fields(test.line)...)
			o.wants(t, exitUsage, test.said)
			if o.stdout != "" || strings.Count(o.stderr, "\n") != 1 {
				t.Errorf("want one line on stderr and nothing on stdout; got %q and %q", o.stderr, o.stdout)
			}
		})
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	w := down(t)
	o := w.hbctl("show", "cinder-volume/node2")
	o.wants(t, exitOK)
	golden(t, "show.text", o.stdout)
	o = w.hbctl("show", "cinder-volume/node2", "api/東京", "no/such", "-o", "name")
	o.wants(t, exitNot, "no/such: there is no such instance")
	if o.stdout != "cinder-volume/node2\napi/東京\n" {
		t.Errorf("got %q", o.stdout)
	}
	o = w.hbctl("show", "--zone", "nova", "-o", "json")
	if rows := rowsOf(t, o); len(rows) != 2 {
		t.Errorf("%d rows in nova", len(rows))
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	w := down(t)
	for _, test := range []struct{ flag, text, want string }{
		{"--jq", `.services[] | select(.zone=="az1") | .host`, "node2\n"},
		{"--jq", `[.services[].host] | length`, "4\n"},
		{"--template", `{{range .services}}{{.host}} {{end}}`, "東京 node1 node1@lvm#pool node2 "},
		{"--template", `{{range .services}}{{tablerow .binary .state}}{{end}}{{tablerender}}`, "api               down\ncinder-scheduler  down\ncinder-volume     down\ncinder-volume     down\n"},
	} {
		o := w.hbctl("list", test.flag, test.text)
		o.wants(t, exitOK)
		if o.stdout != test.want {
			t.Errorf("%s %s gives %q, want %q", test.flag, test.text, o.stdout, test.want)
		}
	}
	w.hbctl("list", "--jq", ".services | .host").wants(t, exitUsage, "--jq")
}
