package registry

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// texts for values: what the quick reader takes, and what it must leave to the other.
func textOf(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringMatching(`[a-z0-9.:/@_-]{0,12}`), rapid.StringOfN(rapid.RuneFrom([]rune("a\"\\\n\x00\x7fé東 ")), 0, 5, -1),
	).Draw(t, label)
}

func timeOf(t *rapid.T, label string) time.Time {
	at := time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, label), rapid.Int64Range(0, 999_999_999).Draw(t, label+" fraction"))
	at = rapid.SampledFrom([]time.Time{at, at.Truncate(time.Millisecond), at.Truncate(time.Second)}).Draw(t, label+" precision")
	return at.In(rapid.SampledFrom([]*time.Location{time.UTC, time.FixedZone("", 3600)}).Draw(t, label+" place"))
}

// plainly gives what makes texts and times, for half of the values only such as the quick reader takes: of others it takes one in
// hundreds.
func plainly(t *rapid.T) (text func(*rapid.T, string) string, at func(*rapid.T, string) time.Time) {
	if !rapid.Bool().Draw(t, "plain") {
		return textOf, timeOf
	}
	return func(t *rapid.T, label string) string {
			return rapid.StringMatching(`[a-z0-9.:/@_-]{0,12}`).Draw(t, label)
		},
		func(t *rapid.T, label string) time.Time { return timeOf(t, label).UTC() }
}

// bent changes a few bytes of a value.
func bent(t *rapid.T, value []byte) []byte {
	piece := rapid.SampledFrom(append(strings.Split(`{|}|[|]|,|:|"|\|-|+|0|00|1|9|e|.|Z|T|null|true| |"zone":"x",|"schema":2,|é`, "|"), "\xff", "\x00", "\n", ""))
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		from := rapid.IntRange(0, len(value)).Draw(t, "from")
		to := min(len(value), from+rapid.IntRange(0, 3).Draw(t, "length"))
		value = []byte(string(value[:from]) + piece.Draw(t, "piece") + string(value[to:]))
	}
	return value
}

// Whatever the quick reader reads, the other reads too, and finds the same in it.
func TestQuickReadsWhatSlowReads(t *testing.T) {
	quickly := 0
	rapid.Check(t, func(t *rapid.T) {
		text, at := plainly(t)
		r := &Record{
			Schema: Schema, Binary: text(t, "binary"), Host: text(t, "host"), Zone: text(t, "zone"), Health: text(t, "health"),
			CreatedAt: at(t, "created"), UpdatedAt: at(t, "updated"), ReportCount: rapid.Int64().Draw(t, "count"), TTLSeconds: 10,
			Labels:    rapid.MapOfN(rapid.StringMatching(`[a-z]{1,3}`), rapid.StringMatching(`[a-z]{0,3}`), 0, 3).Draw(t, "labels"),
			Endpoints: rapid.SliceOfN(rapid.StringMatching(`[a-z:/]{0,6}`), 0, 2).Draw(t, "endpoints"),
		}
		value, err := EncodeRecord(r)
		if err != nil {
			t.Skip(err)
		}
		value = bent(t, value)
		last := &lastTexts{binary: r.Binary, host: r.Host, zone: "az1"}
		if rapid.Bool().Draw(t, "like the one before") {
			last.labels, last.endpoints = r.Labels, r.Endpoints
		}
		if quick := quickRecord(value, last); quick != nil {
			quickly++
			if slow, err := slowRecord(value); err != nil || !reflect.DeepEqual(quick, slow) {
				t.Fatalf("%q is\n%+v, or\n%+v %v", value, quick, slow, err)
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		text, at := plainly(t)
		h := &Holder{
			Schema: Schema, Registration: text(t, "registration"), PID: rapid.Int().Draw(t, "pid"), ProcessStart: text(t, "start"),
			MachineID: text(t, "machine"), BootID: text(t, "boot"), PIDNamespace: text(t, "namespace"), Since: at(t, "since"),
		}
		value, err := EncodeHolder(h)
		if err != nil {
			t.Skip(err)
		}
		value = bent(t, value)
		if quick := quickHolder(value, false); quick != nil {
			quickly++
			slow, err := slowHolder(value)
			if err != nil || !reflect.DeepEqual(quick, slow) {
				t.Fatalf("%q is\n%+v, or\n%+v %v", value, quick, slow, err)
			}
			if row := quickHolder(value, true); row == nil || row.Since != slow.Since || row.Schema != slow.Schema {
				t.Fatalf("%q is\n%+v for a row", value, row)
			}
		}
	})
	if quickly == 0 {
		t.Error("nothing was read quickly")
	}
}

// What a registry writes is read quickly, or the quick reader is in vain.
func TestQuickReadsOurs(t *testing.T) {
	t.Parallel()
	at := time.Date(2024, 2, 29, 23, 59, 59, 123_000_000, time.UTC)
	for _, in := range []Instance{
		{Name: Name{"cinder-volume", "node1@lvm#pool"}},
		{Name: Name{"cinder-volume", "node1"}, Labels: map[string]string{"rack": "a", "tier": "gold"}, Endpoints: []string{"http://10.0.0.1:1", "http://[::1]:2"}},
	} {
		s := state{in: planOf(in.withDefaults())}
		value, err := EncodeRecord(s.compose(at, 10*time.Second))
		if err != nil || quickRecord(value, new(lastTexts)) == nil {
			t.Errorf("%s %v", value, err)
		}
	}
	self := ThisProcess()
	r := &Registry{cfg: Config{Process: &self}}
	holder := r.holder(&Registration{id: uuid.MustParse("6f1f3a52-9c0f-4f0c-8d3c-0f3f1f6f7a11")}, at)
	value, err := EncodeHolder(&holder)
	if err != nil || quickHolder(value, true) == nil {
		t.Errorf("%s %v", value, err)
	}
}

// What two records say alike is kept once, and what they don't is told apart, in whatever order it is said.
func TestDecoderSharesWhatIsTheSame(t *testing.T) {
	name := Name{Binary: "vol", Host: "n1"}
	value := func(rest string) []byte { return []byte(`{"schema":1,"binary":"vol","host":"n1",` + rest + `}`) }
	var d Decoder
	first, err := d.Record(name, value(`"labels":{"a":"1","b":"2"},"endpoints":["x","y"]`))
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.Record(name, value(`"zone":"z","labels":{"a":"1","b":"2"},"endpoints":["x","y"]`))
	if err != nil || reflect.ValueOf(first.Labels).UnsafePointer() != reflect.ValueOf(second.Labels).UnsafePointer() || &first.Endpoints[0] != &second.Endpoints[0] {
		t.Errorf("%+v and %+v share nothing: %v", first, second, err)
	}
	for _, other := range []string{
		`"labels":{"a":"1"}`, `"labels":{"a":"1","b":"3"}`, `"labels":{"a":"1","c":"2"}`, `"labels":{"a":"1","b":"2","c":""}`, `"labels":{}`,
		`"labels":{"b":"2","a":"1"}`, `"labels":{"a":"1","a":"1"}`, `"labels":{"a":"1","b":"2","b":"2"}`, `"labels":{"a":"1","b":"2",}`,
		`"endpoints":["x"]`, `"endpoints":["x","z"]`, `"endpoints":["x","y","z"]`, `"endpoints":["y","x"]`, `"endpoints":[]`, `"endpoints":["x","y",]`,
		`"labels":null`, `"endpoints":null`, `"zone":"z"`,
		`"ttl_seconds":5,"zone":"z"`, `"zone":"z","zone":"z"`, `"report_count":1,"zone":"z","report_count":1`, `"zone" :"z"`, `"zones":"z"`, `"zon":"z"`,
	} {
		d.last.labels, d.last.endpoints = first.Labels, first.Endpoints
		got, err := d.Record(name, value(other))
		want, wrong := slowRecord(value(other))
		if (err == nil) != (wrong == nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v, want %+v, %v", other, got, err, want, wrong)
		}
	}
}
