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
)

// strictness is how strict the judge is, on a machine that does everything at once.
var strictness = history.Options{Slack: slow * 500 * time.Millisecond, Mended: slow * time.Second, Memory: 256 << 20}

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
	for i, q := range a.quality {
		fmt.Fprintf(&b, "round %d:\n%s", i+1, q)
	}
	return b.String()
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
