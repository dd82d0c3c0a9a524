package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// errNoCommand is for a line without a command.
var errNoCommand = usagef("no command given; 'hbctl help' lists the commands")

// nearest gives the candidate that was probably meant, or "".
func nearest(typed string, candidates []string) string {
	best, distance := "", 1+len(typed)/3
	for _, c := range candidates {
		if len(c) == 1 {
			continue // everything short is near to it
		}
		d := smetrics.WagnerFischer(typed, c, 1, 1, 1)
		if len(typed) >= 3 && strings.HasPrefix(c, typed) {
			d = min(d, 1)
		}
		if d <= distance && (best == "" || d < distance) {
			best, distance = c, d
		}
	}
	return best
}

func (g *grammar) unknownCommand(typed string) error {
	var names []string
	for _, c := range g.commands {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	if s := nearest(typed, names); s != "" {
		return usagef("unknown command %s; did you mean %q?", quoteShort(typed), s)
	}
	return usagef("unknown command %s; 'hbctl help' lists the commands", quoteShort(typed))
}

// likelyCommand finds the command, also on the rest of the line.
func (s *scan) likelyCommand(following []string) string {
	for _, word := range slices.Concat(s.words, following) {
		if c := s.command(word); c != nil {
			return c.Name
		}
	}
	return ""
}

func (s *scan) unknownFlag(arg, typed string, following []string) error {
	command := s.likelyCommand(following)
	names := slices.Collect(maps.Keys(s.global))
	names = slices.AppendSeq(names, maps.Keys(s.local[command]))
	if command == "" {
		for _, flags := range s.local {
			names = slices.AppendSeq(names, maps.Keys(flags))
		}
	}
	slices.Sort(names)
	flag, _, _ := strings.Cut(arg, "=")
	if n := nearest(typed, names); n != "" {
		return usageIn(command, "unknown flag %s; did you mean %s?", quoteShort(flag), dashes(n))
	}
	return usageIn(command, "unknown flag %s", quoteShort(flag))
}

// foreignFlag refuses a flag that other commands have.
func (s *scan) foreignFlag(command, typed string) error {
	var have []string
	for _, c := range s.commands {
		if _, ok := s.local[c.Name][typed]; ok {
			have = append(have, c.Name)
		}
	}
	return usageIn(command, "%s has no flag %s; it belongs to %s", command, dashes(typed), strings.Join(have, ", "))
}
