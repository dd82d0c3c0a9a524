//go:build linux

package chaos

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/internal/hbtest"
)

// strictness is how strict the judge is, on a machine that does everything at once.
var strictness = history.Options{Slack: hbtest.Slow * 500 * time.Millisecond, Mended: hbtest.Slow * time.Second, Memory: 256 << 20}

// A tally sums rounds up.
type tally struct {
	rounds   int
	failed   int
	counts   history.Counts
	checked  map[history.Invariant]int
	quality  []history.Quality
	verdicts map[history.Verdict]int
}

func newTally() *tally {
	return &tally{checked: make(map[history.Invariant]int), verdicts: make(map[history.Verdict]int)}
}

func (a *tally) add(r *history.Report) {
	a.rounds++
	a.verdicts[r.Verdict]++
	a.counts.Add(r.Counts)
	a.quality = append(a.quality, r.Quality)
	for _, result := range r.Results {
		a.checked[result.Invariant] += result.Checked
		if result.Verdict == history.Fail {
			a.failed++
		}
	}
}

// missing gives what none of the rounds contained, or put to the test. A run without it proves nothing about it.
func (a *tally) missing() []string {
	k := a.counts
	var out []string
	for what, n := range map[string]int{
		"expiries": k.Expiries, "fences": k.Fences, "false deletes": k.FalseDeletes, "compactions": k.Compactions,
		"resumes": k.Resumes, "stales": k.Stales, "restarts of etcd": k.EtcdRestarts, "restarts": k.Restarts,
	} {
		if n == 0 {
			out = append(out, what)
		}
	}
	for _, i := range history.Invariants() {
		if a.checked[i] == 0 {
			out = append(out, "tests of "+string(i))
		}
	}
	slices.Sort(out)
	return out
}

// verdict judges all rounds together.
func (a *tally) verdict() history.Verdict {
	switch {
	case a.failed > 0:
		return history.Fail
	case len(a.missing()) > 0:
		return history.Unknown
	}
	return history.Pass
}

func (a *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds, verdict: %s\n", a.rounds, a.verdict())
	if missing := a.missing(); len(missing) > 0 {
		fmt.Fprintf(&b, "there were no %s\n", strings.Join(missing, ", no "))
	}
	fmt.Fprintf(&b, "contained: %s\n", a.counts)
	a.class(&b, "raw", func(q *history.Quality) *history.Metrics { return &q.Raw })
	a.class(&b, "confirmed", func(q *history.Quality) *history.Metrics { return &q.Confirmed })
	right, rows := 0, 0
	var suspected extent
	for _, q := range a.quality {
		right, rows = right+q.ListRight, rows+q.ListRows
		suspected.add(q.Suspected)
	}
	fmt.Fprintf(&b, "suspect until cleared: %s\n", suspected)
	fmt.Fprintf(&b, "lists: P_A %.5f (%d rows)\n", float64(right)/float64(max(rows, 1)), rows)
	return b.String()
}

// class sums up the quality of service of one class of readers.
func (a *tally) class(b *strings.Builder, class string, of func(*history.Quality) *history.Metrics) {
	var detection, recurrence, mistakes extent
	var right, observed float64
	for i := range a.quality {
		m := of(&a.quality[i])
		detection.add(m.Detection)
		recurrence.add(m.Recurrence)
		mistakes.add(m.Mistakes)
		right, observed = right+m.Accuracy*m.Observed.Seconds(), observed+m.Observed.Seconds()
	}
	fmt.Fprintf(b, "%s: T_D %s; T_MR %s; T_M %s; P_A %.5f\n", class, detection, recurrence, mistakes, right/max(observed, 1))
}

// extent is how a measure was spread in several rounds: the medians of rounds lie between low and high.
type extent struct {
	n              int
	low, high, max time.Duration
}

func (e *extent) add(s history.Spread) {
	if s.N == 0 {
		return
	}
	if e.n == 0 || s.Median < e.low {
		e.low = s.Median
	}
	e.n, e.high, e.max = e.n+s.N, max(e.high, s.Median), max(e.max, s.Max)
}

func (e extent) String() string {
	if e.n == 0 {
		return "none"
	}
	return fmt.Sprintf("%v to %v p50 of rounds, %v max (%d)", e.low.Round(ms), e.high.Round(ms), e.max.Round(ms), e.n)
}

// judge judges one round.
func judge(t *testing.T, records []history.Record, sum *tally) {
	t.Helper()
	report := history.Check(records, strictness)
	sum.add(report)
	t.Logf("%s", report)
	if report.Verdict == history.Fail {
		t.Errorf("broken: %v", report.Failed())
	}
}

// TestJudge judges histories that were kept, once more.
func TestJudge(t *testing.T) {
	if *judgeOnly == "" {
		t.Skip("there is no -chaos.judge DIR")
	}
	files, err := filepath.Glob(filepath.Join(*judgeOnly, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no histories in %s: %v", *judgeOnly, err)
	}
	var all []history.Record
	for _, name := range files {
		records, err := readFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, records...)
	}
	judge(t, inTime(all), newTally())
}

// inTime sorts records by time.
func inTime(all []history.Record) []history.Record {
	slices.SortStableFunc(all, func(x, y history.Record) int { return int(x.At - y.At) })
	return all
}
