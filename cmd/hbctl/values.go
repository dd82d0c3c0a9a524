package main

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// duration reads a time with its unit. A bare number is refused: seconds to one are milliseconds to another.
func duration(s setting) (time.Duration, error) {
	d, err := time.ParseDuration(s.text)
	if err == nil {
		return d, nil
	}
	if _, numeric := strconv.ParseFloat(s.text, 64); numeric == nil {
		// Only what would be taken is suggested.
		if seconds, err := time.ParseDuration(s.text + "s"); err == nil && seconds > 0 && seconds%time.Second == 0 {
			return 0, s.refuse("the unit is missing; write %ss for seconds", s.text)
		}
		return 0, s.refuse("the unit is missing; want a time as 10s, 500ms or 2m")
	}
	if tooLong.MatchString(s.text) {
		return 0, s.refuse("the number is too large; want a time as 10s, 500ms or 2m")
	}
	return 0, s.refuse("want a time with its unit, as 10s, 500ms or 2m")
}

// tooLong is a time that is refused only because no number of Go's is so large.
var tooLong = regexp.MustCompile(`^[+-]?\d+(ns|us|µs|ms|s|m|h)$`)

func positive(s setting) (time.Duration, error) {
	d, err := duration(s)
	if err == nil && d <= 0 {
		err = s.refuse("want more than 0, as %s", initial(s.source))
	}
	return d, err
}

// initial gives the default of a flag as an example of what could be written.
func initial(source string) string {
	for _, g := range globalFlags {
		if strings.HasSuffix(source, g.name) && g.initial != "" {
			return g.initial
		}
	}
	return "5s"
}

func truth(s setting) (bool, error) {
	if s.source == "$NO_COLOR" {
		return true, nil // any value means yes, by convention
	}
	if s.text == "" {
		return false, nil
	}
	v, err := strconv.ParseBool(s.text)
	if err != nil {
		return false, s.refuse("want true or false")
	}
	return v, nil
}
