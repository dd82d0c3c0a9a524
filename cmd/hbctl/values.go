package main

import (
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
		if strings.TrimLeft(s.text, "+-0123456789") == "" {
			return 0, s.refuse("the unit is missing; write %.32ss for seconds", s.text)
		}
		return 0, s.refuse("the unit is missing; want a time as 10s, 500ms or 2m")
	}
	return 0, s.refuse("want a time with its unit, as 10s, 500ms or 2m")
}

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
