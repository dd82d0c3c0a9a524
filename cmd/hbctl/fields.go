package main

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v2"

	"github.com/hbctl/hbctl/registry"
)

// field is one field of a row, under the name that it has in JSON. Formats other than JSON go through it, so that they
// have the same fields in the same order.
type field struct {
	name  string
	value any // nil: not known; else string, bool, int64, time.Time, map[string]string or []string
}

// fieldsOf takes a row apart.
func fieldsOf(s *registry.Service) []field {
	v := reflect.ValueOf(s).Elem()
	fields := make([]field, 0, v.NumField())
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		fields = append(fields, field{name: name, value: plainValue(v.Field(i))})
	}
	return fields
}

func plainValue(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plainValue(v.Elem())
	case reflect.Map, reflect.Slice:
		if v.IsNil() {
			return nil
		}
	case reflect.String:
		return v.String() // also of the named types
	}
	return v.Interface()
}

// yamlOf gives a row with its fields in order.
func yamlOf(s *registry.Service) yaml.MapSlice {
	var m yaml.MapSlice
	for _, f := range fieldsOf(s) {
		v := f.value
		if t, ok := v.(time.Time); ok {
			v = t.UTC().Format(time.RFC3339Nano)
		}
		m = append(m, yaml.MapItem{Key: f.name, Value: v})
	}
	return m
}

// csvOf gives the values of a row; what is not known is empty.
func csvOf(s *registry.Service) []string {
	var values []string
	for _, f := range fieldsOf(s) {
		values = append(values, csvValue(f.value))
	}
	return values
}

func csvValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case map[string]string:
		return joinLabels(v)
	case []string:
		return strings.Join(v, " ")
	}
	return textOf(v)
}

func sortedKeys(labels map[string]string) []string { return slices.Sorted(maps.Keys(labels)) }

// joinLabels gives labels as -l takes them.
func joinLabels(labels map[string]string) string {
	var pairs []string
	for _, key := range sortedKeys(labels) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ",")
}
