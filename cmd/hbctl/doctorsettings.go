package main

import (
	"fmt"
	"strings"
)

// settings tells what is not left at its default, and where it was said: the flag, the variable or the config file that counts, and
// those that say otherwise and do not.
func (e *examination) settings() {
	s := &e.p.settings
	for _, g := range globalFlags {
		given := s.given[g.name]
		if !given.given {
			continue
		}
		value := given.text
		if name, _, hasPassword := strings.Cut(value, ":"); g.name == "user" && hasPassword {
			value = name + ", with a password"
		}
		if value == "" {
			value = "empty"
		}
		found := fmt.Sprintf("%s, from %s", value, given.source)
		if len(given.beaten) > 0 {
			found += ", which goes before " + strings.Join(given.beaten, " and ")
		}
		e.ok("setting "+g.name, "%s", found)
	}
	if s.passwordFrom != "" {
		e.ok("setting password", "not shown, from $%s", s.passwordFrom)
	}
}
