package registry

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"
)

// TestQuickWrite writes records with and without the JSON library: both must say the same, to the byte.
func TestQuickWrite(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)
	plain := func(change func(*Record)) *Record {
		r := &Record{
			Schema: Schema, Binary: "cinder-volume", Host: "node1@lvm", Zone: "az 1", CreatedAt: at, UpdatedAt: at.Add(time.Second),
			Labels: map[string]string{"rack": "r7", "a.b/c": "", "Z": "1"}, Endpoints: []string{"http://10.0.0.1:8776/?a=1&b=<2>", "x://y"},
			ReportCount: 7, TTLSeconds: 30,
		}
		change(r)
		return r
	}
	for name, c := range map[string]struct {
		quick  bool
		change func(*Record)
	}{
		"plain":          {true, func(*Record) {}},
		"nothing":        {true, func(r *Record) { *r = Record{} }},
		"empty":          {true, func(r *Record) { r.Labels, r.Endpoints = map[string]string{}, []string{} }},
		"health":         {true, func(r *Record) { r.Health = "fine" }},
		"negative":       {true, func(r *Record) { r.ReportCount, r.TTLSeconds = -1, -2 }},
		"whole second":   {true, func(r *Record) { r.CreatedAt = at.Truncate(time.Second) }},
		"nanoseconds":    {true, func(r *Record) { r.CreatedAt = at.Add(1) }},
		"quotes":         {false, func(r *Record) { r.Zone = `a"b` }},
		"backslash":      {false, func(r *Record) { r.Host = `a\b` }},
		"other letters":  {false, func(r *Record) { r.Endpoints[1] = "http://zürich/" }},
		"delete":         {false, func(r *Record) { r.Labels["rack"] = "\x7f" }},
		"control":        {false, func(r *Record) { r.Labels["a\n"] = "b" }},
		"another zone":   {false, func(r *Record) { r.CreatedAt = at.In(time.FixedZone("x", 3600)) }},
		"an end":         {false, func(r *Record) { r.Ended = &Ended{Cause: CauseLeft, At: at} }},
		"a newer field":  {false, func(r *Record) { r.Unknown = jsontext.Value(`{"new":1}`) }},
		"all of a label": {true, func(r *Record) { r.Labels = map[string]string{"k": strings.Repeat("v", 63)} }},
	} {
		r := plain(c.change)
		want, err := encode(r)
		if err != nil {
			t.Fatal(name, err)
		}
		got, ok := quickWrite(r, sortedLabels(r.Labels))
		if ok != c.quick {
			t.Errorf("%s: quick %v, want %v", name, ok, c.quick)
		}
		if ok && string(got) != string(want) {
			t.Errorf("%s:\n%s, want\n%s", name, got, want)
		}
	}
}

// oddTexts and oddTimes are what can be in a value, and what can't.
func oddTexts() *rapid.Generator[string] {
	plain := rapid.StringMatching(`[ !#-\[\]-~]{0,12}`)
	return rapid.OneOf(plain, plain, plain, rapid.String(), rapid.SampledFrom([]string{
		"", "<>&'", "a\"b", `a\b`, "\x00", "\x1f", " ", "~", "\x7f", "\x80", "\xff\xfe", "ü", "\u2028", "\ufffd", "\U0001f600", strings.Repeat("x", 300),
		strings.Repeat("y", MaxValueBytes),
	}))
}

func oddTimes() *rapid.Generator[time.Time] {
	zones := []*time.Location{time.UTC, time.UTC, time.UTC, time.Local, time.FixedZone("UTC", 0), time.FixedZone("", 5400)}
	return rapid.Custom(func(t *rapid.T) time.Time {
		at := time.Unix(rapid.Int64Range(-63_000_000_000, 260_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		at = at.Truncate(rapid.SampledFrom([]time.Duration{1, time.Microsecond, time.Millisecond, 10 * time.Millisecond, time.Second}).Draw(t, "unit"))
		return rapid.SampledFrom([]time.Time{{}, at, at, at}).Draw(t, "at").In(rapid.SampledFrom(zones).Draw(t, "zone"))
	})
}

// TestQuickWriteIsTheLibrary writes any record, however odd, with and without the JSON library.
func TestQuickWriteIsTheLibrary(t *testing.T) {
	texts, times := oddTexts(), oddTimes()
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		r := &Record{
			Schema: rapid.Int().Draw(t, "schema"), Binary: texts.Draw(t, "binary"), Host: texts.Draw(t, "host"), Zone: texts.Draw(t, "zone"),
			Labels:    rapid.MapOfN(texts, texts, 0, 4).Draw(t, "labels"),
			Endpoints: rapid.SliceOfN(texts, 0, 3).Draw(t, "endpoints"),
			CreatedAt: times.Draw(t, "created"), UpdatedAt: times.Draw(t, "updated"),
			ReportCount: rapid.Int64().Draw(t, "reports"), TTLSeconds: rapid.Int64().Draw(t, "ttl"), Health: texts.Draw(t, "health"),
			Unknown: rapid.SampledFrom([]jsontext.Value{nil, nil, nil, {}, jsontext.Value("{}"), jsontext.Value(`{"z":[1]}`)}).Draw(t, "unknown"),
		}
		if rapid.IntRange(0, 9).Draw(t, "nil") == 0 {
			r.Labels, r.Endpoints = nil, nil
		}
		want, wantErr := encode(r)
		got, err := EncodeRecord(r)
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() || !bytes.Equal(got, want) {
			t.Fatalf("%+v:\n%s (%v), want\n%s (%v)", r, got, err, want, wantErr)
		}
		if _, ok := quickWrite(r, sortedLabels(r.Labels)); ok {
			quick++
		}
	})
	if quick == 0 {
		t.Error("the library wrote all of them")
	}
}

// TestQuickWriteHolderIsTheLibrary does the same with any holder.
func TestQuickWriteHolderIsTheLibrary(t *testing.T) {
	texts, times := oddTexts(), oddTimes()
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		h := &Holder{
			Schema: rapid.Int().Draw(t, "schema"), Registration: texts.Draw(t, "registration"), PID: rapid.IntRange(-1, 4).Draw(t, "pid"),
			ProcessStart: texts.Draw(t, "start"), MachineID: texts.Draw(t, "machine"), BootID: texts.Draw(t, "boot"),
			PIDNamespace: texts.Draw(t, "namespace"), Since: times.Draw(t, "since"),
			Unknown: rapid.SampledFrom([]jsontext.Value{nil, nil, nil, {}, jsontext.Value("{}"), jsontext.Value(`{"z":[1]}`)}).Draw(t, "unknown"),
		}
		want, wantErr := encode(h)
		got, err := EncodeHolder(h)
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() || !bytes.Equal(got, want) {
			t.Fatalf("%+v:\n%s (%v), want\n%s (%v)", h, got, err, want, wantErr)
		}
		if _, ok := quickWriteHolder(h); ok {
			quick++
		}
	})
	if quick == 0 {
		t.Error("the library wrote all of them")
	}
}
