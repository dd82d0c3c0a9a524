package registry_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/registry"
)

func mustKeys(t *testing.T, prefix string) registry.Keys {
	t.Helper()
	keys, err := registry.NewKeys(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestPrefix(t *testing.T) {
	for prefix, want := range map[string]struct{ prefix, end string }{
		"":       {"/hb/", "/hb0"},
		"/hb":    {"/hb/", "/hb0"},
		"/hb/":   {"/hb/", "/hb0"},
		"/svc/a": {"/svc/a/", "/svc/a0"}, // and not /svc/ab
		"hb":     {"hb/", "hb0"},
		"/ÿ":     {"/ÿ/", "/ÿ0"},
		"/hb//":  {"/hb//", "/hb/0"},
	} {
		keys, err := registry.NewKeys(prefix)
		if err != nil || keys.Prefix() != want.prefix || keys.End() != want.end {
			t.Errorf("%q: from %q to %q, %v; want %+v", prefix, keys.Prefix(), keys.End(), err, want)
		}
	}
	for why, prefix := range map[string]string{
		"everything":              "/",
		"everything in two":       "//",
		"ends with the last byte": "/hb\xff",
		"all of the last byte":    "\xff\xff",
		"not UTF-8":               "/h\xc3b/",
		"NUL":                     "\x00",
		"escape":                  "/\x1b[2J/",
		"a blank":                 "/my service/",
		"a blank behind":          "/hb ",
		"right-to-left override":  "/h\u202eb",
		"too long":                "/" + strings.Repeat("p", registry.MaxNameBytes),
	} {
		if _, err := registry.NewKeys(prefix); !errors.Is(err, registry.ErrInvalid) || len(err.Error()) > 400 {
			t.Errorf("%s: %v, want a short ErrInvalid", why, err)
		}
	}
}

func TestParseKey(t *testing.T) {
	keys := mustKeys(t, "/svc/a")
	for key, want := range map[string]registry.Family{
		"/svc/a/instances/vol/node1": registry.FamilyRecord,
		"/svc/a/alive/vol/node1":     registry.FamilyAlive,
		"/svc/a/admin/vol/node1":     registry.FamilyAdmin,
	} {
		family, name, err := keys.Parse([]byte(key))
		if err != nil || family != want || name != (registry.Name{Binary: "vol", Host: "node1"}) {
			t.Errorf("%s: %s of %s, %v", key, family, name, err)
		}
	}
	for why, key := range map[string]string{
		"nothing":                    "",
		"of another prefix":          "/svc/ab/alive/vol/node1",
		"of another prefix, shorter": "/svc/",
		"the prefix itself":          "/svc/a/",
		"only a family":              "/svc/a/alive",
		"no name":                    "/svc/a/alive/",
		"no host":                    "/svc/a/alive/vol",
		"empty host":                 "/svc/a/alive/vol/",
		"empty binary":               "/svc/a/alive//node1",
		"too deep":                   "/svc/a/alive/vol/node1/x",
		"unknown family":             "/svc/a/leases/vol/node1",
		"family in capitals":         "/svc/a/Alive/vol/node1",
		"more after the family":      "/svc/a/alivex/vol/node1",
		"NUL behind":                 "/svc/a/alive/vol/node1\x00",
		"not UTF-8":                  "/svc/a/alive/vol/\xff",
		"escape":                     "/svc/a/\x1b[2J/vol/node1",
		"the folder above":           "/svc/a/alive/../node1",
	} {
		if _, _, err := keys.Parse([]byte(key)); !errors.Is(err, registry.ErrInvalid) || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x1b\x00") {
			t.Errorf("%s: %v, want ErrInvalid in printable words", why, err)
		}
	}
}

// Whatever is taken for a key of ours is one.
func TestParseKeyOfAnything(t *testing.T) {
	keys := mustKeys(t, "")
	rapid.Check(t, func(t *rapid.T) {
		head := rapid.SampledFrom([]string{"", "/hb/", "/hb/alive/", "/hb/instances/vol/", "/hb/admin/vol/node1"}).Draw(t, "head")
		key := head + string(rapid.SliceOf(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("/a")))).Draw(t, "tail"))
		family, name, err := keys.Parse([]byte(key))
		if err == nil && (keys.Key(family, name) != key || name.Validate() != nil) {
			t.Fatalf("%q was taken for %q", key, keys.Key(family, name))
		}
	})
}
