package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is what Check found.
type Report struct {
	Verdict Verdict
	Results []Result // in the order of Invariants
	Counts  Counts
	Quality Quality
}

// Result is the judgement of one invariant.
type Result struct {
	Invariant  Invariant
	Verdict    Verdict
	Checked    int        // how often it was put to the test
	Why        string     // of unknown: what is missing
	Figure     string     // what was measured, if anything
	Violations int        // how many were found
	First      *Violation // the earliest
}

// Violation is one broken promise.
type Violation struct {
	Record  Record
	Problem string
	Context []string // the records around it, a line each
}

// Of gives the result of one invariant.
func (r *Report) Of(i Invariant) *Result {
	for k := range r.Results {
		if r.Results[k].Invariant == i {
			return &r.Results[k]
		}
	}
	return nil
}

// Failed gives the invariants that were broken.
func (r *Report) Failed() []Invariant {
	var out []Invariant
	for _, result := range r.Results {
		if result.Verdict == Fail {
			out = append(out, result.Invariant)
		}
	}
	return out
}

// String is the report for people: a line for each invariant, what the history contained, and the first violation of each
// invariant that was broken.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "verdict: %s\n", r.Verdict)
	for _, result := range r.Results {
		fmt.Fprintf(&b, "  %-4s %-8s %s: %d checked", result.Invariant, result.Verdict, statements[result.Invariant], result.Checked)
		for _, more := range []string{result.Why, result.Figure} {
			if more != "" {
				fmt.Fprintf(&b, "; %s", more)
			}
		}
		if result.Violations > 0 {
			fmt.Fprintf(&b, "; %d violations", result.Violations)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "contained: %s\n", r.Counts)
	b.WriteString(r.Quality.String())
	for _, result := range r.Results {
		if v := result.First; v != nil {
			fmt.Fprintf(&b, "%s: %s\n", result.Invariant, v.Problem)
			for _, line := range v.Context {
				fmt.Fprintf(&b, "    %s\n", line)
			}
		}
	}
	return b.String()
}

// verdict gives the judgement of the whole.
func (r *Report) verdict(required []Invariant) Verdict {
	out := Pass
	for _, result := range r.Results {
		switch {
		case result.Verdict == Fail:
			return Fail
		case result.Verdict == Unknown && slices.Contains(required, result.Invariant):
			out = Unknown
		}
	}
	return out
}

// seconds writes nanoseconds for people.
func seconds(ns int64) string { return time.Duration(ns).Round(time.Millisecond).String() }
