package history

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	recorded = flag.String("history", "", "a recorded history to mutate: a file of records, or a directory of such files (*.jsonl)")
	times    = flag.Int("mutations", 3, "how often each kind of mutation is made of each history")
	slack    = flag.Duration("slack", 0, "slack for a recorded history; 0: the default")
)

// The judge catches every mutation of every good history.
func TestMutations(t *testing.T) {
	if *recorded != "" {
		o := Options{Slack: *slack, Mended: 2 * time.Second}
		records := readAll(t, *recorded)
		if len(records) == 0 { // or a wrong folder would pass
			t.Fatalf("-history=%s: no records in it; name a file of records or a folder of *.jsonl", *recorded)
		}
		report := Check(records, o)
		t.Logf("%s", report)
		if report.Verdict == Fail {
			t.Fatalf("the history itself is not good: %v", report.Failed())
		}
		table := make(map[string]*Tally)
		sum(table, NewMutator(records, o).Try(1, *times))
		show(t, table, false) // not every history has a place for every kind
		return
	}
	table := make(map[string]*Tally)
	for seed := range uint64(12) {
		records := goodHistory(1000+seed, 90*time.Second)
		if report := Check(records, Options{}); report.Verdict == Fail {
			t.Fatalf("the history of seed %d is not good:\n%s", 1000+seed, report)
		}
		sum(table, NewMutator(records, Options{}).Try(seed, *times))
	}
	show(t, table, true)
}

func sum(table map[string]*Tally, tallies []Tally) {
	for _, x := range tallies {
		y := table[x.Kind]
		if y == nil {
			y = &Tally{Kind: x.Kind, By: make(map[Invariant]int)}
			table[x.Kind] = y
		}
		y.Made, y.Caught, y.Missed = y.Made+x.Made, y.Caught+x.Caught, append(y.Missed, x.Missed...)
		for i, n := range x.By {
			y.By[i] += n
		}
	}
}

func show(t *testing.T, table map[string]*Tally, all bool) {
	t.Helper()
	made := 0
	for _, kind := range Mutations() {
		x := table[kind]
		t.Logf("%-30s made %4d, caught %4d, by %v", x.Kind, x.Made, x.Caught, slices.Sorted(maps.Keys(x.By)))
		made += x.Made
		if x.Caught < x.Made {
			t.Errorf("%s: %d were not caught: %s", kind, x.Made-x.Caught, strings.Join(x.Missed[:min(8, len(x.Missed))], "; "))
		}
		if all && x.Made == 0 {
			t.Errorf("%s: no history had a place for it", kind)
		}
	}
	t.Logf("%d kinds, %d mutations", len(table), made)
}

func readAll(t *testing.T, name string) []Record {
	t.Helper()
	files := []string{name}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		files, _ = filepath.Glob(filepath.Join(name, "*.jsonl"))
	}
	var all []Record
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		records, err := Read(f)
		f.Close()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, records...)
	}
	return all
}
