//go:build linux

package compose

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hbctl/hbctl/integration/history"
)

// strictness is that of a machine which runs everything there is at once.
var strictness = history.Options{
	Slack: 1500 * time.Millisecond, Mended: 2 * time.Second, Back: 20 * time.Second,
	Required: []history.Invariant{
		history.Detected, history.OneDown, history.FencedFirst, history.InOrder, history.AddsUp, history.NoGhosts, history.RightCause,
		history.NoFalseDown, history.NoFlap, history.Agreement, history.NoLapse, history.BackAgain,
	},
}

// A judge judges what everybody said so far, after each fault, and writes the table.
type judge struct {
	s      *stage
	report *history.Report
	broken int  // violations so far
	failed bool // the test has
	table  strings.Builder
	out    *tabwriter.Writer
}

func newJudge(s *stage) *judge {
	j := &judge{s: s}
	j.out = tabwriter.NewWriter(&j.table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(j.out, "FAULT\tVERDICT\tMEASURED\n")
	return j
}

// judge judges the whole history up to now: all faults are mended. What was broken before is not this fault's.
func (j *judge) judge(fault string, measured []string) {
	records := append(j.s.journal.all(), history.Record{At: history.Now(), Kind: history.Settled, Source: "judge"})
	o := strictness
	o.Required = nil // the first faults have not put everything to the test
	j.report = history.Check(records, o)
	verdict, violations := history.Pass, 0
	for _, r := range j.report.Results {
		violations += r.Violations
	}
	if violations > j.broken {
		j.broken = violations
		j.s.t.Errorf("%s: broken: %v\n%s", fault, j.report.Failed(), j.report)
	}
	if j.s.t.Failed() && !j.failed {
		verdict, j.failed = history.Fail, true
	}
	for i, m := range measured {
		if i > 0 {
			fault, verdict = "", ""
		}
		fmt.Fprintf(j.out, "%s\t%s\t%s\n", fault, verdict, m)
	}
}

// show shows the table, and the judgement of the whole.
func (j *judge) show() {
	j.s.t.Helper()
	_ = j.out.Flush()
	if j.report == nil {
		return
	}
	j.report = history.Check(append(j.s.journal.all(), history.Record{At: history.Now(), Kind: history.Settled, Source: "judge"}), strictness)
	j.s.t.Logf("TTL %v\n%s\n%s", ttl, &j.table, j.report)
	if j.report.Verdict != history.Pass && !j.s.t.Failed() {
		j.s.t.Errorf("the verdict is %s", j.report.Verdict)
	}
}

// undisturbed gives what services and readers noticed of a fault of etcd: nothing that lives is told down.
func (s *stage) undisturbed(from int64) []string {
	s.t.Helper()
	var downs, fences, stales int
	answered, gap := from, int64(0)
	for _, r := range s.journal.all() {
		switch {
		case r.At < from:
		case eventOf(&r, "", "down") != nil:
			downs++
			s.t.Errorf("told down: %+v", *eventOf(&r, "", "down"))
		case r.Kind == history.Fenced:
			fences++
		case r.Kind == history.Handed && r.Batch.Kind == "stale":
			stales++
		case r.Kind == history.Listed:
			gap, answered = max(gap, r.Until-answered), max(answered, r.Until)
		}
	}
	return []string{
		fmt.Sprintf("%d told down, %d fenced", downs, fences),
		fmt.Sprintf("told stale %d times, no list for %s at most", stales, between(0, gap)),
	}
}

// between writes how long it is from one time to another.
func between(from, to int64) string {
	return time.Duration(to - from).Round(10 * time.Millisecond).String()
}
