package registry_test

import (
	"cmp"
	"errors"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/registry"
)

func TestParseName(t *testing.T) {
	long := strings.Repeat("n", registry.MaxNameBytes)
	for _, tt := range []struct{ binary, host string }{
		{"cinder-volume", "node1@lvm#pool"},
		{"a", "b"},
		{long, long},
		{"...", "..a"},
		{"Straße", "узел1"},
		{`a"b\c`, "%2e%2e%2f"},
		{"instances", "alive"},
	} {
		want := registry.Name{Binary: tt.binary, Host: tt.host}
		if got, err := registry.ParseName(tt.binary + "/" + tt.host); err != nil || got != want {
			t.Errorf("%q/%q: %q, %v", tt.binary, tt.host, got, err)
		}
	}
	for why, target := range map[string]string{
		"empty":                   "",
		"no host":                 "cinder-volume",
		"empty host":              "cinder-volume/",
		"empty binary":            "/node1",
		"only a slash":            "/",
		"a slash in it":           "a/b/c",
		"the folder above":        "a/..",
		"this folder":             "./b",
		"a blank before":          " a/b",
		"a blank behind":          "a/b ",
		"a blank within":          "a/b c",
		"no-break space":          "a/b\u00a0c",
		"NUL":                     "a/b\x00",
		"escape":                  "a/\x1b[2Jb",
		"newline":                 "a/b\n",
		"delete":                  "a/b\x7f",
		"right-to-left override":  "a/b\u202ec",
		"zero-width space":        "a/b\u200bc",
		"byte order mark":         "\ufeffa/b",
		"private use":             "a/\ue000",
		"not UTF-8":               "a/b\xff",
		"half a character":        "a/\xc3",
		"surrogate":               "a/\xed\xa0\x80",
		"too long by one":         "a/" + long + "n",
		"too long in bytes":       "a/" + strings.Repeat("ü", registry.MaxNameBytes/2+1),
		"too long by a megabyte":  "a/" + strings.Repeat("n", 1<<20),
		"unprintable and so long": strings.Repeat("\x1b", 1<<20) + "/b",
	} {
		_, err := registry.ParseName(target)
		if !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", why, err)
			continue
		}
		if text := err.Error(); len(text) > 400 || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: the error is not fit for a screen: %.500q", why, text)
		}
	}
}

// Case and Unicode's normal form are part of a name, as they are part of its keys.
func TestNamesAreBytes(t *testing.T) {
	keys := mustKeys(t, "")
	for _, pair := range [][2]string{{"vol/Node1", "vol/node1"}, {"vol/caf\u00e9", "vol/cafe\u0301"}} {
		a, errA := registry.ParseName(pair[0])
		b, errB := registry.ParseName(pair[1])
		if errA != nil || errB != nil || a == b || keys.Alive(a) == keys.Alive(b) {
			t.Errorf("%q and %q are one name: %v, %v", a, b, errA, errB)
		}
	}
}

// names generates valid names, with what looks special among the characters.
func names() *rapid.Generator[registry.Name] {
	part := rapid.StringOfN(rapid.OneOf(
		rapid.RuneFrom([]rune("abz-.@#%~!\"\\0\u00e9")), rapid.RuneFrom(nil, unicode.Letter, unicode.Digit, unicode.Punct),
	), 1, 40, registry.MaxNameBytes).Filter(func(s string) bool {
		return s != "." && s != ".." && !strings.Contains(s, "/")
	})
	return rapid.Custom(func(t *rapid.T) registry.Name {
		return registry.Name{Binary: part.Draw(t, "binary"), Host: part.Draw(t, "host")}
	})
}

func TestNameRoundTrip(t *testing.T) {
	keys := mustKeys(t, "/x/y")
	rapid.Check(t, func(t *rapid.T) {
		a, b := names().Draw(t, "a"), names().Draw(t, "b")
		if got, err := registry.ParseName(a.String()); err != nil || got != a {
			t.Fatalf("%q came back as %q, %v", a, got, err)
		}
		for _, f := range []registry.Family{registry.FamilyRecord, registry.FamilyAlive, registry.FamilyAdmin} {
			family, name, err := keys.Parse([]byte(keys.Key(f, a)))
			if err != nil || family != f || name != a {
				t.Fatalf("%s came back as %s of %q, %v", keys.Key(f, a), family, name, err)
			}
			if byName, byKey := a.Compare(b), cmp.Compare(keys.Key(f, a), keys.Key(f, b)); byName != byKey {
				t.Fatalf("%q and %q: %d by name, %d by key", a, b, byName, byKey)
			}
		}
		if (a == b) != (a.Compare(b) == 0) {
			t.Fatalf("%q and %q are equal: %v, but compare as %d", a, b, a == b, a.Compare(b))
		}
	})
}

// Whatever is taken for a name is one, and comes back as what it was.
func TestParseNameOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := string(rapid.SliceOf(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("/./a b")))).Draw(t, "target"))
		name, err := registry.ParseName(target)
		if err == nil && (name.String() != target || name.Validate() != nil) {
			t.Fatalf("%q was taken for %q", target, name)
		}
		if err != nil && !errors.Is(err, registry.ErrInvalid) {
			t.Fatalf("%q: %v, want ErrInvalid", target, err)
		}
	})
}
