package registry_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hbctl/hbctl/registry"
)

// junk is what no value of ours may look like, with a word of the error that says why.
var junk = map[string]struct{ value, why string }{
	"nothing":                   {"", "empty"},
	"a word":                    {"junk", "no JSON object"},
	"an array":                  {`[{"schema":1}]`, "no JSON object"},
	"a number":                  {"42", "no JSON object"},
	"a string":                  {`"{\"schema\":1}"`, "no JSON object"},
	"null":                      {"null", "no JSON object"},
	"true":                      {"true", "no JSON object"},
	"white space":               {" \n ", "no JSON object"},
	"half an object":            {`{"schema":1`, "not valid"},
	"more behind it":            {`{"schema":1} {"schema":1}`, "not valid"},
	"no schema":                 {`{}`, "no \"schema\""},
	"no schema, but a name":     {`{"binary":"a","host":"b"}`, "no \"schema\""},
	"schema in capitals":        {`{"Schema":1}`, "no \"schema\""},
	"schema 0":                  {`{"schema":0}`, "no \"schema\""},
	"a newer schema":            {`{"schema":2,"zone":["az1","az2"]}`, "schema 2 is not known"},
	"a newer schema at the end": {`{"zone":["az1","az2"],"x":1,"schema":2}`, "schema 2 is not known"},
	"a negative schema":         {`{"schema":-1}`, "schema -1 is not known"},
	"schema as text":            {`{"schema":"1"}`, "not valid"},
	"schema null":               {`{"schema":null}`, "no \"schema\""},
	"schema as a fraction":      {`{"schema":1.5}`, "not valid"},
	"schema beyond all":         {`{"schema":99999999999999999999}`, "not valid"},
	"a field twice":             {`{"schema":1,"zone":"a","zone":"b"}`, "not valid"},
	"the schema twice":          {`{"schema":1,"schema":1}`, "not valid"},
	"an unknown field twice":    {`{"schema":1,"x":{"y":1,"y":2}}`, "not valid"},
	"nested without end":        {`{"schema":1,"x":` + strings.Repeat("[", 10_000), "not valid"},
	"objects without end":       {`{"schema":1,"x":` + strings.Repeat(`{"":`, 4000), "not valid"},
	"NaN":                       {`{"schema":1,"x":NaN}`, "not valid"},
	"infinity":                  {`{"schema":1,"x":-Infinity}`, "not valid"},
	"not UTF-8":                 {"{\"schema\":1,\"x\":\"\xff\"}", "not valid"},
	"half a surrogate":          {`{"schema":1,"x":"\ud800"}`, "not valid"},
	"NUL":                       {"{\"schema\":1,\"x\":\"\x00\"}", "not valid"},
	"a byte order mark":         {"\ufeff{\"schema\":1}", "no JSON object"},
	"too long by one":           {`{"schema":1,"x":"` + strings.Repeat("x", registry.MaxValueBytes-18) + `"}`, "bytes"},
	"17 KiB":                    {`{"schema":1,"x":"` + strings.Repeat("x", 17<<10) + `"}`, "bytes"},
	"nested deeply in 20 KiB":   {`{"schema":1,"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "bytes"},
	"more than a megabyte":      {strings.Repeat("x", 1_400_000), "bytes"},
}

func TestDecodeRefusesJunk(t *testing.T) {
	for name, tt := range junk {
		for kind, decode := range map[string]func([]byte) error{
			"record": func(b []byte) error { _, err := registry.DecodeRecord(b); return err },
			"holder": func(b []byte) error { _, err := registry.DecodeHolder(b); return err },
			"admin":  func(b []byte) error { _, err := registry.DecodeAdmin(b); return err },
		} {
			err := decode([]byte(tt.value))
			if err == nil || !strings.Contains(err.Error(), tt.why) {
				t.Errorf("%s as %s: %v, want it to say %q", name, kind, err, tt.why)
				continue
			}
			if text := err.Error(); len(text) > 300 || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\n") {
				t.Errorf("%s as %s: the error is not fit for a screen: %.500q", name, kind, text)
			}
		}
	}
}

func TestDecodeRefusesWrongFields(t *testing.T) {
	for _, value := range []string{
		`{"schema":1,"report_count":1e400}`,
		`{"schema":1,"report_count":9223372036854775808}`,
		`{"schema":1,"report_count":1.5}`,
		`{"schema":1,"report_count":"1"}`,
		`{"schema":1,"zone":5}`,
		`{"schema":1,"labels":["rack"]}`,
		`{"schema":1,"labels":{"rack":1}}`,
		`{"schema":1,"endpoints":"http://10.0.0.1"}`,
		`{"schema":1,"updated_at":"yesterday"}`,
		`{"schema":1,"updated_at":1700000000}`,
		`{"schema":1,"updated_at":"-0001-01-01T00:00:00Z"}`,
		`{"schema":1,"ended":"left"}`,
		`{"schema":1,"ended":{"incarnation":-1.5}}`,
	} {
		if r, err := registry.DecodeRecord([]byte(value)); err == nil {
			t.Errorf("%s was read as %+v", value, r)
		}
	}
}

func TestDecodeAcceptsWhatItMust(t *testing.T) {
	for name, value := range map[string]string{
		"the least":             `{"schema":1}`,
		"white space around":    " \n{\"schema\":1}\n",
		"unknown fields":        `{"schema":1,"x":{"y":[1,2,{"z":null}]}}`,
		"a huge unknown number": `{"schema":1,"x":1e400}`,
		"deep unknown nesting":  `{"schema":1,"x":` + strings.Repeat("[", 8000) + strings.Repeat("]", 8000) + `}`,
		"as long as can be":     `{"schema":1,"x":"` + strings.Repeat("x", registry.MaxValueBytes-19) + `"}`,
		"year 1":                `{"schema":1,"updated_at":"0001-01-01T00:00:00Z"}`,
		"an unknown cause":      `{"schema":1,"ended":{"cause":"abducted","incarnation":7}}`,
	} {
		r, err := registry.DecodeRecord([]byte(value))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := registry.EncodeRecord(r); err != nil && !errors.Is(err, registry.ErrTooLarge) {
			t.Errorf("%s can't be written again: %v", name, err)
		}
	}
}

// An older program must not strip what a newer one wrote, at any level.
func TestUnknownFieldsAreKept(t *testing.T) {
	check := func(value string, again []byte, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var want, got any
		if err := json.Unmarshal([]byte(value), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\nbecame\n%s", value, again)
		}
	}
	const record = `{"schema":1,"binary":"vol","host":"node1","zone":"az1","labels":{"rack":"r1"},"endpoints":["http://10.0.0.1:80"],` +
		`"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","report_count":7,"ttl_seconds":10,` +
		`"ended":{"cause":"left","at":"2026-01-02T03:04:05Z","incarnation":9,"signal":"TERM","more":{"a":[1,null]}},` +
		`"cpus":8,"null":null,"nested":{"a":{"b":["c",{"d":1.5}]}}}`
	r, err := registry.DecodeRecord([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	again, err := registry.EncodeRecord(r)
	check(record, again, err)

	const holder = `{"schema":1,"registration":"r","pid":7,"process_start":"1","machine_id":"m","boot_id":"b","pid_namespace":"n",` +
		`"since":"2026-01-02T03:04:05Z","container":{"id":"c"}}`
	h, err := registry.DecodeHolder([]byte(holder))
	if err != nil {
		t.Fatal(err)
	}
	again, err = registry.EncodeHolder(h)
	check(holder, again, err)

	const admin = `{"schema":1,"disabled":{"reason":"disk","by":"op","at":"2026-01-02T03:04:05Z","ticket":7},` +
		`"forced_down":{"reason":"fire","floor":{"level":2}},"evicted":{"incarnation":9,"by":"op","until":null},"owner":["a","b"]}`
	a, err := registry.DecodeAdmin([]byte(admin))
	if err != nil {
		t.Fatal(err)
	}
	again, err = registry.EncodeAdmin(a)
	check(admin, again, err)
}

func TestEncodeRefusals(t *testing.T) {
	if _, err := registry.EncodeRecord(&registry.Record{Schema: 1, Zone: strings.Repeat("z", registry.MaxValueBytes)}); !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("too large: %v, want ErrTooLarge", err)
	}
	if _, err := registry.EncodeRecord(&registry.Record{Schema: 1, Zone: "a\xffb"}); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("not UTF-8: %v, want ErrInvalid", err)
	}
	if _, err := registry.EncodeAdmin(&registry.Admin{Schema: 1, Disabled: &registry.Word{At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}); !errors.Is(err, registry.ErrInvalid) {
		t.Errorf("year 10000: %v, want ErrInvalid", err)
	}
}

func TestSameProcess(t *testing.T) {
	a, b, unknown := &registry.Holder{Registration: "a"}, &registry.Holder{Registration: "b"}, &registry.Holder{}
	again := &registry.Holder{Registration: "a", PID: 7}
	for _, tt := range []struct {
		one, other *registry.Holder
		want       bool
	}{
		{a, again, true},
		{again, a, true},
		{a, b, false},
		{a, unknown, false},
		{unknown, unknown, false},
		{nil, a, false},
		{a, nil, false},
		{nil, nil, false},
	} {
		if got := tt.one.SameProcess(tt.other); got != tt.want {
			t.Errorf("%+v and %+v: %v, want %v", tt.one, tt.other, got, tt.want)
		}
	}
}

// What is read can be written, unless it grew too large, and is the same when it is read again.
func FuzzDecodeRecord(f *testing.F) {
	for _, tt := range junk {
		if len(tt.value) < 1024 {
			f.Add([]byte(tt.value))
		}
	}
	for _, seed := range []string{
		`{"schema":1}`,
		`{"schema":1,"binary":"vol","host":"node1","zone":"az1","labels":{"rack":"r1"},"endpoints":["http://10.0.0.1:80"],"report_count":7}`,
		`{"schema":1,"updated_at":"9999-12-31T23:59:59-23:59","ended":{"cause":"left","x":{"y":1e400}},"z":[{"":0}]}`,
		`{"schema":1,"created_at":"0001-01-01T00:00:00+23:59","ttl_seconds":-9223372036854775808}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := registry.DecodeRecord(value)
		if err != nil {
			return
		}
		b, err := registry.EncodeRecord(r)
		if errors.Is(err, registry.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatalf("%q was read and can't be written: %v", value, err)
		}
		again, err := registry.DecodeRecord(b)
		if err != nil {
			t.Fatalf("%q was written as %q and can't be read: %v", value, b, err)
		}
		if c, err := registry.EncodeRecord(again); err != nil || string(c) != string(b) {
			t.Fatalf("%q was written as %q, and then as %q, %v", value, b, c, err)
		}
	})
}
