package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	k8sduration "k8s.io/apimachinery/pkg/util/duration"
)

// printable makes any text safe for a terminal: control characters, marks that turn the direction of writing and bytes
// that are no UTF-8 are shown escaped. Values in etcd can hold anything.
func printable(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if (r == utf8.RuneError && size == 1) || !unicode.IsPrint(r) {
			quoted := strconv.Quote(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

func clean(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// stamp shows a time as every command does: RFC 3339 in UTC, "-" for what is not known.
func stamp(t *time.Time) string {
	if t == nil {
		return unknown
	}
	return t.UTC().Format(time.RFC3339)
}

// age shows how long ago a time is. A time that is still to come proves a wrong clock somewhere, so it is shown as "?".
func age(t *time.Time, now time.Time) string {
	switch {
	case t == nil:
		return unknown
	case t.After(now):
		return "?"
	}
	return k8sduration.HumanDuration(now.Sub(*t))
}

// quoteShort makes any text safe to show, and short: a name of a megabyte must not fill the screen it is refused on.
func quoteShort(s string) string {
	const shown = 64
	if len(s) > shown {
		return fmt.Sprintf("%q...", s[:shown])
	}
	return fmt.Sprintf("%q", s)
}
