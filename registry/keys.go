package registry

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// DefaultPrefix is the prefix of all keys unless a Config says otherwise.
const DefaultPrefix = "/hb/"

// Family is one of the three kinds of keys. Each has exactly one kind of writer.
type Family string

// The key families.
const (
	FamilyRecord Family = "instances" // written by the service, bound to no lease
	FamilyAlive  Family = "alive"     // written by the service, bound to its lease
	FamilyAdmin  Family = "admin"     // written by operators, bound to no lease
)

// Keys makes and reads the keys under one prefix. The zero value is not usable; see NewKeys.
type Keys struct{ prefix string }

// NewKeys checks the prefix: printable UTF-8 without white space, more than "/". A missing trailing slash is added, so that
// "/hb" does not also mean "/hbx/". An empty prefix means DefaultPrefix. It returns ErrInvalid.
func NewKeys(prefix string) (Keys, error) {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	if strings.Trim(prefix, "/") == "" {
		return Keys{}, fmt.Errorf("%w: prefix %s would cover the whole key space; use one of its own, as %s", ErrInvalid, quote(prefix), DefaultPrefix)
	}
	if !utf8.ValidString(prefix) || len(prefix) > MaxNameBytes {
		return Keys{}, fmt.Errorf("%w: prefix %s: want at most %d bytes of valid UTF-8", ErrInvalid, quote(prefix), MaxNameBytes)
	}
	for i, r := range prefix {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return Keys{}, fmt.Errorf("%w: prefix %s has white space or an unprintable character at byte %d; remove it", ErrInvalid, quote(prefix), i)
		}
	}
	if !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return Keys{prefix: prefix}, nil
}

// Prefix gives the common prefix of all keys, with its trailing slash.
func (k Keys) Prefix() string { return k.prefix }

// End gives the end of the range that covers all keys, as etcd's range requests want it.
func (k Keys) End() string { return clientv3.GetPrefixRangeEnd(k.prefix) }

// Key gives the key of one family for the name.
func (k Keys) Key(f Family, n Name) string {
	return k.prefix + string(f) + "/" + n.Binary + "/" + n.Host
}

// Record gives the key of what the service says of itself.
func (k Keys) Record(n Name) string { return k.Key(FamilyRecord, n) }

// Alive gives the key whose presence means up.
func (k Keys) Alive(n Name) string { return k.Key(FamilyAlive, n) }

// Admin gives the key of what operators said.
func (k Keys) Admin(n Name) string { return k.Key(FamilyAdmin, n) }

// Parse tells what a key under the prefix means. It returns ErrInvalid for a key that is none of ours.
func (k Keys) Parse(key []byte) (Family, Name, error) {
	rest, ok := bytes.CutPrefix(key, []byte(k.prefix))
	if !ok {
		return "", Name{}, fmt.Errorf("%w: key %s is not under %s", ErrInvalid, quote(string(key)), k.prefix)
	}
	head, tail, _ := bytes.Cut(rest, []byte("/"))
	var family Family
	switch string(head) {
	case string(FamilyRecord):
		family = FamilyRecord
	case string(FamilyAlive):
		family = FamilyAlive
	case string(FamilyAdmin):
		family = FamilyAdmin
	default:
		return "", Name{}, fmt.Errorf("%w: foreign key %s: no key family %s; remove it or choose another prefix", ErrInvalid, quote(string(key)), quote(string(head)))
	}
	if binary, host, found := bytes.Cut(tail, []byte("/")); found && plainPart(binary) && plainPart(host) {
		both := string(tail) // in one piece
		return family, Name{Binary: both[:len(binary)], Host: both[len(binary)+1:]}, nil
	}
	name, err := ParseName(string(tail))
	if err != nil {
		return "", Name{}, fmt.Errorf("foreign key %s: %w", quote(string(key)), err)
	}
	return family, name, nil
}

// parseIn is Parse of a key that is known to be of the family. The binary is not copied if it is the likely one.
func (k Keys) parseIn(f Family, key []byte, likely string) (Name, error) {
	binary, host, found := bytes.Cut(key[len(k.prefix)+len(f)+1:], []byte("/"))
	if !found || !plainPart(binary) || !plainPart(host) {
		_, name, err := k.Parse(key)
		return name, err
	}
	if string(binary) != likely {
		likely = string(binary)
	}
	return Name{Binary: likely, Host: string(host)}, nil
}
