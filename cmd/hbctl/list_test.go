package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", name, got, want)
	}
}

// world is a prefix of a test's own.
type world struct {
	t      *testing.T
	client *clientv3.Client
	prefix string
	flags  []string
	lease  clientv3.LeaseID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	endpoint, client := etcd(t)
	prefix := "/" + regexp.MustCompile(`\W+`).ReplaceAllString(t.Name(), "-") + "/"
	return &world{t: t, client: client, prefix: prefix, flags: []string{"--endpoints", endpoint, "--prefix", prefix}}
}

func (w *world) put(key, value string, opts ...clientv3.OpOption) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if _, err := w.client.Put(ctx, w.prefix+key, value, opts...); err != nil {
		w.t.Fatal(err)
	}
}

// alive puts an alive key under a lease that outlives the test.
func (w *world) alive(name string) {
	w.t.Helper()
	if w.lease == 0 {
		ctx, cancel := context.WithTimeout(w.t.Context(), patience)
		defer cancel()
		grant, err := w.client.Grant(ctx, 3600)
		if err != nil {
			w.t.Fatal(err)
		}
		w.lease = grant.ID
	}
	w.put("alive/"+name, `{"schema":1,"registration":"r","pid":7,"since":"2026-11-23T10:00:00Z"}`, clientv3.WithLease(w.lease))
}

func (w *world) hbctl(args ...string) outcome {
	w.t.Helper()
	return hbctl(w.t, append(args, w.flags...)...)
}

const recordBase = `"schema":1,"binary":%q,"host":%q,"created_at":"2026-11-23T09:00:00Z","updated_at":"2026-11-23T10:00:00Z"`

func (w *world) record(name, more string) {
	w.t.Helper()
	binary, host, _ := strings.Cut(name, "/")
	w.put("instances/"+name, "{"+fmt.Sprintf(recordBase, binary, host)+more+"}")
}

// down fills the world with rows that are down, so that nothing in them depends on when the test runs.
func down(t *testing.T) *world {
	w := newWorld(t)
	w.record("cinder-volume/node2", `,"zone":"az1","report_count":7,"ttl_seconds":10,"labels":{"tier":"gold","rack":"b"},"endpoints":["http://10.0.0.2:8776","http://10.0.0.2:8777"],
		"ended":{"cause":"failed","reason":"exit status 3","at":"2026-11-23T10:11:40Z","incarnation":42}`)
	w.record("cinder-volume/node1@lvm#pool", `,"zone":"nova","report_count":0,"ttl_seconds":5`)
	w.record("cinder-scheduler/node1", `,"zone":"nova","ended":{"cause":"left","at":"2026-11-23T10:15:02Z","incarnation":41}`)
	w.put("admin/cinder-volume/node2", `{"schema":1,"disabled":{"reason":"disk, \"sda\"","by":"ann@host","at":"2026-11-23T10:11:39Z"}}`)
	w.record("api/東京", `,"zone":"アジア"`)
	w.put("admin/api/東京", `{"schema":1,"forced_down":{"reason":"maintenance","by":"ann","at":"2026-11-23T10:20:00Z"}}`)
	w.put("admin/nobody/nowhere", `{"schema":1,"disabled":{"reason":"an admin record alone is no row"}}`)
	return w
}

func TestListFormats(t *testing.T) {
	t.Parallel()
	w := down(t)
	for _, format := range []string{"table", "wide", "yaml", "json", "jsonl", "csv", "name"} {
		o := w.hbctl("list", "-o", format)
		o.wants(t, exitOK)
		if o.stderr != "" {
			t.Errorf("%s: stderr has %s", format, o.stderr)
		}
		got := regexp.MustCompile(`(cluster"?: ?"?)[0-9a-f]+`).ReplaceAllString(o.stdout, "${1}0")
		got = regexp.MustCompile(`(revision"?: ?)\d+`).ReplaceAllString(got, "${1}1")
		golden(t, "list."+format, got)
	}
}

// The JSON has exactly these fields, in this order: programs depend on it.
var serviceFields = strings.Fields(`binary host zone status disabled_reason disabled_by disabled_at state present forced_down
	forced_reason forced_by forced_at cause cause_reason since updated_at created_at report_count ttl_seconds incarnation lease
	expiring labels endpoints`)

func TestListFields(t *testing.T) {
	t.Parallel()
	w := down(t)
	w.record("web/up", `,"zone":"z","ttl_seconds":3`)
	w.alive("web/up")

	var keys []string
	decoder := json.NewDecoder(strings.NewReader(w.hbctl("list", "-o", "jsonl", "--host", "up").stdout))
	for depth := 0; ; {
		token, err := decoder.Token()
		if err != nil {
			break
		}
		switch token := token.(type) {
		case json.Delim:
			depth += map[json.Delim]int{'{': 1, '[': 1, '}': -1, ']': -1}[token]
		case string:
			if depth == 1 {
				keys = append(keys, token)
				var value json.RawMessage
				if err := decoder.Decode(&value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if !slices.Equal(keys, serviceFields) {
		t.Errorf("fields are %v\nwant %v", keys, serviceFields)
	}
	rows, err := csv.NewReader(strings.NewReader(w.hbctl("list", "-o", "csv").stdout)).ReadAll()
	if err != nil || !slices.Equal(rows[0], serviceFields) {
		t.Errorf("CSV has %v %v", rows[0], err)
	}

	var list struct {
		Cluster  string             `json:"cluster"`
		Revision int64              `json:"revision"`
		Services []registry.Service `json:"services"`
		Warnings []any              `json:"warnings"`
	}
	if err := json.Unmarshal([]byte(w.hbctl("list", "-o", "json").stdout), &list); err != nil {
		t.Fatal(err)
	}
	up := list.Services[len(list.Services)-1]
	if list.Cluster == "" || list.Revision == 0 || len(list.Services) != 5 || list.Warnings == nil {
		t.Errorf("got %+v", list)
	}
	if up.State != registry.Up || up.Expiring == nil || *up.Expiring || up.UpdatedAt == nil || time.Since(*up.UpdatedAt) > time.Hour ||
		up.Lease == nil || *up.Lease != registry.FormatLease(int64(w.lease)) || up.Incarnation == nil {
		t.Errorf("got %+v", up)
	}
}

func TestListSelection(t *testing.T) {
	t.Parallel()
	w := down(t)
	w.record("web/up", `,"zone":"z","labels":{"tier":"silver","rack":"a"}`)
	w.alive("web/up")
	for _, test := range []struct{ flags, want string }{
		{"--binary cinder-volume", "cinder-volume/node1@lvm#pool cinder-volume/node2"},
		{"--host node1", "cinder-scheduler/node1"},
		{"--zone az1", "cinder-volume/node2"},
		{"--status disabled", "cinder-volume/node2"},
		{"--state up", "web/up"},
		{"--state down --status enabled", "api/東京 cinder-scheduler/node1 cinder-volume/node1@lvm#pool"},
		{"-l tier=gold", "cinder-volume/node2"},
		{"-l tier -l rack!=b", "web/up"},
		{"-l rack,tier=gold", "cinder-volume/node2"},
		{"-l !tier", "api/東京 cinder-scheduler/node1 cinder-volume/node1@lvm#pool"},
		{"--host nobody", ""},
	} {
		o := w.hbctl(append(strings.Fields("list -o name "+test.flags), "-l", "x notin (a, b)")...)
		o.wants(t, exitOK)
		if got := strings.Join(strings.Fields(o.stdout), " "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.flags, got, test.want)
		}
	}
	w.hbctl("list", "--exit-code").wants(t, exitNot)
	w.hbctl("list", "--exit-code", "--state", "up").wants(t, exitOK)
	w.hbctl("list", "--exit-code", "--host", "nobody").wants(t, exitOK)
	if o := w.hbctl("list", "--host", "nobody"); o.stdout != "BINARY  HOST  ZONE  STATUS  STATE  UPDATED_AT\n" {
		t.Errorf("an empty list is %q", o.stdout)
	}
}

// Whatever is in etcd, a list shows what can be known, says what can't, and sends nothing to the terminal that it obeys.
func TestListOfBadData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	for name, value := range map[string]string{
		"corrupt": `{"schema":1,`, "empty": "", "array": `[1]`, "number": `7`, "null": `null`, "future": `{"schema":99,"zone":"z"}`,
		"twice": `{"schema":1,"zone":"a","zone":"b"}`, "deep": `{"schema":1,"x":` + deep + `}`, "NaN": `{"schema":1,"report_count":NaN}`,
		"huge": `{"schema":1,"report_count":1e999}`, "large": `{"schema":1,"zone":"` + strings.Repeat("z", 20<<10) + `"}`,
		"bytes": "{\"schema\":1,\"zone\":\"\xff\x1b[2J\"}", "shape": `{"schema":1,"zone":{"a":1}}`,
	} {
		w.put("instances/bad/"+name, value)
		w.put("instances/beating/"+name, value)
		w.alive("beating/" + name)
	}
	w.record("old/fields", `,"zone":"z","from_the_future":{"a":[1]}`)
	w.record("escape/zone", `,"zone":"\u001b[2J\u202e"`)
	w.put("instances/other/name", `{"schema":1,"binary":"x","host":"y","zone":"z"}`)
	w.put("alive/immortal/key", `{"schema":1,"registration":"r"}`)
	w.record("immortal/key", "")
	w.put("admin/immortal/key", `junk`)
	w.put("strange/key", "foreign")
	w.put("instances/too/deep/a/key", "foreign")
	w.put("instances/\xff\x1b/key", "foreign")

	o := w.hbctl("list", "-o", "wide")
	o.wants(t, exitOK, "the value is empty", "schema 99 is not known here", "no key family", "bound to no lease")
	for _, out := range []string{o.stdout, o.stderr} {
		if !clean(strings.ReplaceAll(out, "\n", "")) {
			t.Errorf("raw control characters in %q", out)
		}
	}
	for _, want := range []string{
		`(?m)^bad +corrupt +- +enabled +down +- `, `(?m)^beating +corrupt +- +enabled +up +2`, `(?m)^beating +future +- +enabled +up`,
		`(?m)^old +fields +z +enabled +down`, `(?m)^immortal +key +- +- +down .* unleased `, `(?m)^other +name +z +enabled +down`,
		`(?m)^escape +zone +\\x1b\[2J\\u202e +enabled`,
	} {
		if !regexp.MustCompile(want).MatchString(o.stdout) {
			t.Errorf("no %s in:\n%s", want, o.stdout)
		}
	}
	for _, format := range []string{"json", "jsonl", "yaml", "csv", "name", "table"} {
		w.hbctl("list", "-o", format).wants(t, exitOK)
	}
	var list struct{ Warnings []registry.Warning }
	o = w.hbctl("list", "-o", "json")
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil {
		t.Fatal(err)
	}
	if o.stderr != "" || len(list.Warnings) != 13+13+2+1+3 {
		t.Errorf("%d warnings and %q on stderr", len(list.Warnings), o.stderr)
	}
	if !strings.Contains(o.stdout, `instances/\\xff\\x1b/key`) {
		t.Errorf("the key that is no UTF-8 is not named: %s", o.stdout)
	}
}

func TestAges(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		at   time.Time
		want string
	}{
		{now, "0s"},
		{now.Add(-3 * time.Second), "3s"},
		{now.Add(-90 * time.Minute), "90m"},
		{now.Add(-80 * time.Hour), "3d8h"},
		{now.Add(time.Second), "?"},
		{now.AddDate(100, 0, 0), "?"},
	} {
		if got := age(&test.at, now); got != test.want {
			t.Errorf("%v: got %s, want %s", test.at, got, test.want)
		}
	}
	if got := age(nil, now); got != "-" {
		t.Errorf("got %s", got)
	}
	w := newWorld(t)
	w.record("future/clock", `,"ended":{"cause":"left","at":"2099-01-01T00:00:00Z"}`)
	w.put("instances/ancient/clock", `{"schema":1,"binary":"ancient","host":"clock","updated_at":"0001-01-01T00:00:00Z","created_at":"-5"}`)
	w.put("instances/zero/clock", `{"schema":1,"binary":"zero","host":"clock","updated_at":"0001-01-01T00:00:00Z"}`)
	o := w.hbctl("list", "--age")
	o.wants(t, exitOK)
	for _, want := range []string{`future +clock .* \?\n`, `ancient +clock .* -\n`, `zero +clock .* -\n`} {
		if !regexp.MustCompile(want).MatchString(o.stdout) {
			t.Errorf("no %s in:\n%s", want, o.stdout)
		}
	}
}

// A prefix means what is under it, with the slash that may be missing.
func TestListPrefix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("a/b", "")
	endpoint, _ := etcd(t)
	prefix := strings.TrimSuffix(w.prefix, "/")
	if o := hbctl(t, "list", "-o", "name", "--endpoints", endpoint, "--prefix", prefix); o.stdout != "a/b\n" {
		t.Errorf("got %q", o.stdout)
	}
	if o := hbctl(t, "list", "-o", "name", "--endpoints", endpoint, "--prefix", prefix[:len(prefix)-1]); o.stdout != "" {
		t.Errorf("a shorter prefix gives %q", o.stdout)
	}
}
