package registry_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/registry"
)

// alive is an alive key: revision 20, on lease 7 unless it says otherwise.
type alive struct {
	value string
	lease int64
}

const (
	plainRecord = `{"schema":1,"binary":"vol","host":"node1","zone":"az1","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-02T00:00:00Z","report_count":3,"ttl_seconds":10}`
	endedRecord = `{"schema":1,"binary":"vol","host":"node1","zone":"az1","created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-02T00:00:00Z",` +
		`"ended":{"cause":"left","reason":"maintenance","at":"2026-01-03T00:00:00Z","incarnation":15}}`
	holderValue = `{"schema":1,"registration":"r","since":"2026-01-02T12:00:00Z"}`
)

// entry puts the keys together; an empty text is an absent key.
func entry(record string, a *alive, admin string) registry.Entry {
	e := registry.Entry{Name: registry.Name{Binary: "vol", Host: "node1"}}
	if record != "" {
		e.Put(registry.FamilyRecord, &mvccpb.KeyValue{Value: []byte(record), ModRevision: 21})
	}
	if a != nil {
		e.Put(registry.FamilyAlive, &mvccpb.KeyValue{Value: []byte(a.value), ModRevision: 20, Lease: a.lease})
	}
	if admin != "" {
		e.Put(registry.FamilyAdmin, &mvccpb.KeyValue{Value: []byte(admin), ModRevision: 22})
	}
	return e
}

func show[T any](p *T) string {
	if p == nil {
		return "-"
	}
	if s, ok := any(*p).(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprint(*p)
}

// summary gives what a row says of state and status, in one line.
func summary(s *registry.Service) string {
	return fmt.Sprintf("%s present=%v %s forced=%s cause=%s(%s) inc=%s zone=%s lease=%s",
		s.State, s.Present, show(s.Status), show(s.ForcedDown), show(s.Cause), show(s.CauseReason),
		show(s.Incarnation), show(s.Zone), show(s.Lease))
}

func TestState(t *testing.T) {
	const (
		disabled = `{"schema":1,"disabled":{"reason":"disk","by":"op","at":"2026-01-02T00:00:00Z"}}`
		forced   = `{"schema":1,"forced_down":{"reason":"fire","by":"op","at":"2026-01-04T00:00:00Z"}}`
		both     = `{"schema":1,"disabled":{},"forced_down":{}}`
		evicted  = `{"schema":1,"evicted":{"incarnation":20}}`
		unleased = "the alive key is bound to no lease, so it proves nothing"
	)
	leased, immortal := &alive{holderValue, 0xabc}, &alive{holderValue, 0}
	for _, tt := range []struct {
		name     string
		record   string
		alive    *alive
		admin    string
		want     string
		warnings string // the families that are warned about
	}{
		{"up", plainRecord, leased, "", "up present=true enabled forced=false cause=-(-) inc=20 zone=az1 lease=abc", ""},
		{"up and disabled", plainRecord, leased, disabled, "up present=true disabled forced=false cause=-(-) inc=20 zone=az1 lease=abc", ""},
		{"up under an old eviction", plainRecord, leased, evicted, "up present=true enabled forced=false cause=-(-) inc=20 zone=az1 lease=abc", ""},
		{"up with an end of an older incarnation", endedRecord, leased, "", "up present=true enabled forced=false cause=-(-) inc=20 zone=az1 lease=abc", ""},
		{"up without a record", "", leased, "", "up present=true enabled forced=false cause=-(-) inc=20 zone=- lease=abc", "alive"},
		{"up, its holder is junk", plainRecord, &alive{"junk", 0xabc}, "", "up present=true enabled forced=false cause=-(-) inc=20 zone=az1 lease=abc", "alive"},
		{"up, its record is junk", "[]", leased, "", "up present=true enabled forced=false cause=-(-) inc=20 zone=- lease=abc", "instances"},
		{"up, its record is of a newer schema", `{"schema":2}`, leased, "", "up present=true enabled forced=false cause=-(-) inc=20 zone=- lease=abc", "instances"},
		{"up, nothing can be read", "junk", &alive{"junk", 0xabc}, "junk", "up present=true - forced=- cause=-(-) inc=20 zone=- lease=abc", "instances alive admin"},
		{"admin is junk", plainRecord, leased, `{"schema":1,"disabled":7}`, "up present=true - forced=- cause=-(-) inc=20 zone=az1 lease=abc", "admin"},
		{"admin is of a newer schema", plainRecord, leased, `{"schema":2,"forced_down":{}}`, "up present=true - forced=- cause=-(-) inc=20 zone=az1 lease=abc", "admin"},
		{"admin says nothing", plainRecord, leased, `{"schema":1}`, "up present=true enabled forced=false cause=-(-) inc=20 zone=az1 lease=abc", ""},

		{"forced, and alive", plainRecord, leased, forced, "down present=true enabled forced=true cause=forced(fire) inc=20 zone=az1 lease=abc", ""},
		{"forced and disabled without a word", plainRecord, leased, both, "down present=true disabled forced=true cause=forced(-) inc=20 zone=az1 lease=abc", ""},
		{"forced, and left", endedRecord, nil, forced, "down present=false enabled forced=true cause=forced(fire) inc=15 zone=az1 lease=-", ""},
		{"forced, and lost", plainRecord, nil, forced, "down present=false enabled forced=true cause=forced(fire) inc=- zone=az1 lease=-", ""},
		{"forced, and immortal", plainRecord, immortal, forced, "down present=false enabled forced=true cause=forced(fire) inc=- zone=az1 lease=-", "alive"},

		{"immortal", plainRecord, immortal, "", "down present=false enabled forced=false cause=unleased(" + unleased + ") inc=- zone=az1 lease=-", "alive"},
		{"immortal without a record", "", immortal, "", "down present=false enabled forced=false cause=unleased(" + unleased + ") inc=- zone=- lease=-", "alive alive"},
		{"immortal over an announced end", endedRecord, immortal, "", "down present=false enabled forced=false cause=unleased(" + unleased + ") inc=- zone=az1 lease=-", "alive"},

		{"left", endedRecord, nil, "", "down present=false enabled forced=false cause=left(maintenance) inc=15 zone=az1 lease=-", ""},
		{"left and disabled", endedRecord, nil, disabled, "down present=false disabled forced=false cause=left(maintenance) inc=15 zone=az1 lease=-", ""},
		{"an end of a kind not known here", strings.Replace(endedRecord, "left", "abducted", 1), nil, "", "down present=false enabled forced=false cause=abducted(maintenance) inc=15 zone=az1 lease=-", ""},
		{"an end without an incarnation", `{"schema":1,"binary":"vol","host":"node1","ended":{"cause":"failed"}}`, nil, "", "down present=false enabled forced=false cause=failed(-) inc=- zone=- lease=-", ""},
		{"lost", plainRecord, nil, "", "down present=false enabled forced=false cause=lost(-) inc=- zone=az1 lease=-", ""},
		{"never registered", `{"schema":1,"binary":"vol","host":"node1"}`, nil, "", "down present=false enabled forced=false cause=-(-) inc=- zone=- lease=-", ""},
		{"down, its record is junk", "junk", nil, "", "down present=false enabled forced=false cause=-(-) inc=- zone=- lease=-", "instances"},
		{"the value names another host", strings.Replace(plainRecord, "node1", "node2", 1), leased, "", "up present=true enabled forced=false cause=-(-) inc=20 zone=az1 lease=abc", "instances"},
		{"the value names nobody", `{"schema":1,"zone":"az1"}`, leased, "", "up present=true enabled forced=false cause=-(-) inc=20 zone=az1 lease=abc", "instances"},
	} {
		e := entry(tt.record, tt.alive, tt.admin)
		s := e.Service()
		if got := summary(&s); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
		if s.Binary != "vol" || s.Host != "node1" {
			t.Errorf("%s: the row is %s/%s, want what the key says", tt.name, s.Binary, s.Host)
		}
		var warned []string
		for _, w := range e.Warnings(mustKeys(t, "")) {
			warned = append(warned, strings.Split(w.Key, "/")[2])
			if !strings.HasSuffix(w.Key, "/vol/node1") || w.Problem == "" {
				t.Errorf("%s: warning %+v", tt.name, w)
			}
		}
		if got := strings.Join(warned, " "); got != tt.warnings {
			t.Errorf("%s: warnings about %q, want %q", tt.name, got, tt.warnings)
		}
		if !e.Listed() || e.Empty() || s.State != e.State() || s.Present != e.Present() {
			t.Errorf("%s: listed %v, empty %v, %s, present %v", tt.name, e.Listed(), e.Empty(), e.State(), e.Present())
		}
		if _, err := json.Marshal(&s); err != nil {
			t.Errorf("%s: the row can't be written: %v", tt.name, err)
		}
	}
}

func TestWhatIsNoRow(t *testing.T) {
	if e := entry("", nil, ""); e.Listed() || !e.Empty() {
		t.Error("no key at all is a row")
	}
	e := entry("", nil, `{"schema":1,"forced_down":{}}`)
	if e.Listed() || e.Empty() {
		t.Errorf("an admin record alone: listed %v, empty %v", e.Listed(), e.Empty())
	}
	e = entry(plainRecord, &alive{holderValue, 7}, `{"schema":1}`)
	for _, f := range []registry.Family{registry.FamilyAlive, registry.FamilyRecord, registry.FamilyAdmin} {
		e.Delete(f)
	}
	if !e.Empty() || e.Name.Host != "node1" {
		t.Errorf("all keys deleted, and the entry is %+v", e)
	}
}

// Times are for people, so one that nobody can mean is shown as unknown, and none may keep a list from being written.
func TestTimesThatNobodyCanMean(t *testing.T) {
	for stamp, want := range map[string]string{
		"2026-01-02T03:04:05.678Z":  "2026-01-02T03:04:05.678Z",
		"2026-01-02T03:04:05+02:00": "2026-01-02T01:04:05Z",
		"2999-01-01T00:00:00Z":      "2999-01-01T00:00:00Z",
		"0001-01-01T00:00:00Z":      "",
		"0000-01-01T00:00:00Z":      "",
		"0001-01-01T00:00:00+23:59": "",
		"1969-12-31T23:59:59Z":      "",
		"1970-01-01T00:00:00Z":      "",
		"9999-12-31T23:59:59-23:59": "",
	} {
		record := fmt.Sprintf(`{"schema":1,"binary":"vol","host":"node1","created_at":%q,"updated_at":%q,"ended":{"cause":"left","at":%q,"incarnation":3}}`, stamp, stamp, stamp)
		admin := fmt.Sprintf(`{"schema":1,"disabled":{"at":%q}}`, stamp)
		forced := fmt.Sprintf(`{"schema":1,"forced_down":{"at":%q}}`, stamp)
		holder := fmt.Sprintf(`{"schema":1,"registration":"r","since":%q}`, stamp)
		for name, e := range map[string]registry.Entry{
			"down": entry(record, nil, admin), "up": entry(record, &alive{holder, 7}, admin), "forced": entry(record, nil, forced),
		} {
			s := e.Service()
			if s.Zone != nil || e.Record.Err != nil {
				t.Errorf("%s: the record was not read: %v", stamp, e.Record.Err)
			}
			b, err := json.Marshal(&s)
			if err != nil {
				t.Errorf("%s, %s: the row can't be written: %v", stamp, name, err)
				continue
			}
			var row map[string]any
			if err := json.Unmarshal(b, &row); err != nil {
				t.Fatal(err)
			}
			fields := []string{"created_at", "updated_at", "since", "disabled_at"}
			if name == "forced" {
				fields[3] = "forced_at"
			}
			for _, field := range fields {
				if got, _ := row[field].(string); got != want {
					t.Errorf("%s, %s: %s is %v, want %q", stamp, name, field, row[field], want)
				}
			}
		}
	}
}

// UPDATED_AT of what is down is the last that is recorded, and SINCE when it ended.
func TestTimesOfTheDown(t *testing.T) {
	for _, tt := range []struct{ record, updated, since string }{
		{plainRecord, "2026-01-02", "-"},
		{endedRecord, "2026-01-03", "2026-01-03"},
		{strings.Replace(endedRecord, "2026-01-03", "2026-01-01", 1), "2026-01-02", "2026-01-01"}, // by a clock that was set back
		{strings.Replace(endedRecord, `"updated_at":"2026-01-02T00:00:00Z",`, "", 1), "2026-01-03", "2026-01-03"},
	} {
		e := entry(tt.record, nil, "")
		s := e.Service()
		if !strings.HasPrefix(show(s.UpdatedAt), tt.updated) || !strings.HasPrefix(show(s.Since), tt.since) {
			t.Errorf("%s: updated %v, since %v", tt.record, s.UpdatedAt, s.Since)
		}
	}
}

// Known but empty, and not known, are told apart: scripts read [] and {} without a special case.
func TestUnknownIsNull(t *testing.T) {
	for record, want := range map[string]string{plainRecord: `"labels":{},"endpoints":[]`, "junk": `"labels":null,"endpoints":null`} {
		e := entry(record, nil, "")
		s := e.Service()
		if b, err := json.Marshal(&s); err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s: %s, %v; want %s", record, b, err, want)
		}
	}
}
