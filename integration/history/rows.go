package history

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/hbctl/hbctl/watcher"
)

// lists judges that each list is what the auditor's writes up to its revision add up to, and that none is older than its
// question.
func (c *checker) lists() {
	slices.SortStableFunc(c.listed, func(x, y *Record) int { return cmp.Compare(x.Revision, y.Revision) })
	steps := c.truth.steps
	for _, rec := range c.listed {
		c.checked(AddsUp)
		c.rows(rec, rec.Revision, rec.Rows, "")
		if next := c.truth.next(rec.Revision); next < len(steps) && steps[next].at < rec.At {
			c.fail(AddsUp, evidence{record: rec, problem: fmt.Sprintf("a list is of revision %d, but %d was there before it was asked for", rec.Revision, steps[next].revision)})
		}
		c.quality.list(c, rec)
	}
}

// rows compares what was listed with what is true at the revision.
func (c *checker) rows(rec *Record, revision int64, rows []Row, subscriber string) {
	if len(c.truth.steps) == 0 {
		return
	}
	wrong := func(name, format string, args ...any) {
		c.fail(AddsUp, evidence{record: rec, name: name, subscriber: subscriber, problem: fmt.Sprintf(format, args...)})
	}
	listed := make(map[string]*Row, len(rows))
	for i := range rows {
		row := &rows[i]
		if listed[row.Name] != nil {
			wrong(row.Name, "%s is listed twice at revision %d", row.Name, revision)
		}
		listed[row.Name] = row
	}
	for name, tr := range c.truth.tracks {
		m, row := tr.at(revision), listed[name]
		delete(listed, name)
		switch {
		case m.listed && row == nil:
			wrong(name, "%s is not listed at revision %d, want %s", name, revision, rowText(&m.row))
		case !m.listed && row != nil:
			wrong(name, "%s is listed at revision %d, but is not there", name, revision)
		case m.listed && !sameRow(row, &m.row):
			wrong(name, "%s is listed at revision %d as %s, want %s", name, revision, rowText(row), rowText(&m.row))
		}
	}
	for name := range listed {
		wrong(name, "%s is listed at revision %d, but never was", name, revision)
	}
}

// account is what the first raw reader was told of a revision.
type account struct {
	sum uint64
	rec *Record
}

// agree compares what raw readers were told of the same revision. Why something went may be known to one and not to another.
func (c *checker) agree(rec *Record) {
	b := rec.Batch
	h := fnv.New64a()
	for i := range b.Events {
		e := &b.Events[i]
		if e.Kind == string(watcher.Warning) {
			continue
		}
		present := "?"
		if e.Present != nil {
			present = fmt.Sprint(*e.Present)
		}
		fmt.Fprintf(h, "%s %s %d %d %s\n", e.Kind, e.Name, e.Incarnation, e.Previous, present)
	}
	first, there := c.seen[b.Revision]
	if !there {
		c.seen[b.Revision] = account{h.Sum64(), rec}
		return
	}
	if first.rec.Subscriber == rec.Subscriber {
		return
	}
	c.checked(Agreement)
	if first.sum != h.Sum64() {
		c.fail(Agreement, evidence{record: rec, subscriber: rec.Subscriber, problem: fmt.Sprintf("%s was told of revision %d: %s; %s was told: %s",
			rec.Subscriber, b.Revision, eventsText(b.Events), first.rec.Subscriber, eventsText(first.rec.Batch.Events))})
	}
}
