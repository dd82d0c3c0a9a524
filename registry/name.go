package registry

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameBytes is the longest binary or host name, in bytes of UTF-8.
const MaxNameBytes = 253

// Name says which instance of which service is meant. It is comparable, so it can be the key of a map.
type Name struct {
	Binary string // what runs, as "cinder-volume"
	Host   string // where it runs, as "node1@lvm"
}

// ParseName reads "BINARY/HOST". It returns ErrInvalid when the text is not of that form or a part is no valid name.
func ParseName(target string) (Name, error) {
	binary, host, found := strings.Cut(target, "/")
	if !found {
		return Name{}, fmt.Errorf("%w: target %s: want BINARY/HOST, as in cinder-volume/node1", ErrInvalid, quote(target))
	}
	name := Name{Binary: binary, Host: host}
	return name, name.Validate()
}

// String gives BINARY/HOST.
func (n Name) String() string { return n.Binary + "/" + n.Host }

// Compare orders names by the bytes of BINARY/HOST, which is also the order of their keys in etcd.
func (n Name) Compare(other Name) int {
	if n.Binary == other.Binary {
		return strings.Compare(n.Host, other.Host)
	}
	short := min(len(n.Binary), len(other.Binary))
	if c := strings.Compare(n.Binary[:short], other.Binary[:short]); c != 0 {
		return c
	}
	return strings.Compare(n.String()[short:], other.String()[short:]) // the slash decides
}

// Validate returns ErrInvalid, naming the part and the remedy, unless both parts are 1 to 253 bytes of printable
// UTF-8 without white space and "/", and neither "." nor "..". Names are compared as bytes: case and Unicode normal
// form matter.
func (n Name) Validate() error {
	if err := validatePart("binary", n.Binary); err != nil {
		return err
	}
	return validatePart("host", n.Host)
}

func validatePart(part, s string) error {
	refuse := func(why string) error {
		return fmt.Errorf("%w: %s %s: %s", ErrInvalid, part, quote(s), why)
	}
	switch {
	case s == "":
		return fmt.Errorf("%w: %s is empty; give it a name", ErrInvalid, part)
	case len(s) > MaxNameBytes:
		return refuse(fmt.Sprintf("%d bytes long; at most %d are allowed", len(s), MaxNameBytes))
	case !utf8.ValidString(s):
		return refuse("not valid UTF-8; use printable UTF-8")
	case s == "." || s == "..":
		return refuse("this name is reserved; choose another")
	}
	for i, r := range s {
		switch {
		case r == '/':
			return refuse(fmt.Sprintf("has a %q at byte %d, which separates binary from host; use another character", r, i))
		case unicode.IsSpace(r):
			return refuse(fmt.Sprintf("has white space at byte %d; remove it", i))
		case !unicode.IsPrint(r):
			return refuse(fmt.Sprintf("has the unprintable character %U at byte %d; remove it", r, i))
		}
	}
	return nil
}

// plainPart says that a part is valid, if that can be seen at a glance.
func plainPart(s []byte) bool {
	if len(s) == 0 || len(s) > MaxNameBytes || s[0] == '.' {
		return false
	}
	for _, c := range s {
		if c <= ' ' || c > '~' || c == '/' {
			return false
		}
	}
	return true
}

// quote makes any bytes safe to show, and short: a name of a megabyte must not fill the screen it is refused on.
func quote(s string) string {
	const shown = 64
	if len(s) > shown {
		return fmt.Sprintf("%q...", s[:shown])
	}
	return fmt.Sprintf("%q", s)
}
