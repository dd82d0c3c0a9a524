package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/registry"
)

// filled fills every field of a row with something, or nothing.
func filled(t *rapid.T) *registry.Service {
	text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,8}`), rapid.String(), rapid.Just("\xff\x00\u2028<&>\u007f\U0001f600"))
	s := new(registry.Service)
	v := reflect.ValueOf(s).Elem()
	var fill func(v reflect.Value, name string)
	fill = func(v reflect.Value, name string) {
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
			at := time.Unix(rapid.Int64Range(0, 253402300799).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name+" fraction"))
			v.Set(reflect.ValueOf(at.UTC().Truncate(rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second}).Draw(t, name+" precision"))))
		case v.Kind() == reflect.Pointer:
			if rapid.Bool().Draw(t, name+" is there") {
				v.Set(reflect.New(v.Type().Elem()))
				fill(v.Elem(), name)
			}
		case v.Kind() == reflect.String:
			v.SetString(text.Draw(t, name))
		case v.Kind() == reflect.Bool:
			v.SetBool(rapid.Bool().Draw(t, name))
		case v.Kind() == reflect.Int64:
			v.SetInt(rapid.Int64().Draw(t, name))
		case v.Kind() == reflect.Map:
			keys := rapid.StringMatching(`[a-z./"]{1,4}`) // of invalid ones several may be the same in JSON
			v.Set(reflect.ValueOf(rapid.OneOf(rapid.Just(map[string]string(nil)), rapid.MapOfN(keys, text, 0, 4)).Draw(t, name)))
		case v.Kind() == reflect.Slice:
			v.Set(reflect.ValueOf(rapid.OneOf(rapid.Just([]string(nil)), rapid.SliceOfN(text, 0, 3)).Draw(t, name)))
		default:
			t.Fatalf("%s is a %s", name, v.Type())
		}
	}
	for i := range v.NumField() {
		fill(v.Field(i), v.Type().Field(i).Name)
	}
	return s
}

// A row is written as the JSON of its fields is, byte for byte: a field that is forgotten shows here.
func TestAppendService(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := filled(t)
		want, err := json.Marshal(s, jsonOptions)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendService(nil, s); string(got) != string(want) {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}
