package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Quality is how good the detection was, in the metrics of Chen, Toueg and Aguilera ("On the quality of service of failure
// detectors"): raw, and with a confirmation window. What is told of an operator's doings is no mistake of a detector, but what
// etcd deletes falsely is.
type Quality struct {
	Raw, Confirmed Metrics
	Suspected      Spread // how long what was cleared was suspect
	ListRows       int    // rows of lists that could be judged
	ListRight      int    // and said what was true of the process
}

// Metrics are those of one class of readers.
type Metrics struct {
	Readers    int
	Detection  Spread        // T_D: from the crash until it was told
	Recurrence Spread        // T_MR: from one mistake to the next of the same reader
	Mistakes   Spread        // T_M: from a false down until it was taken back
	Observed   time.Duration // lives that were watched, summed up
	Accuracy   float64       // P_A: the part of that in which what was told was right
}

// Spread is how measured times are spread.
type Spread struct {
	N                int
	Median, P99, Max time.Duration
}

func (s Spread) String() string {
	if s.N == 0 {
		return "none"
	}
	ms := time.Millisecond
	return fmt.Sprintf("%v p50, %v p99, %v max (%d)", s.Median.Round(ms), s.P99.Round(ms), s.Max.Round(ms), s.N)
}

// String is a line for each class of readers, and one for lists.
func (q Quality) String() string {
	var b strings.Builder
	for _, x := range []struct {
		class string
		m     Metrics
	}{{"raw", q.Raw}, {"confirmed", q.Confirmed}} {
		if x.m.Readers > 0 {
			fmt.Fprintf(&b, "%s (%d readers): T_D %v; T_MR %v; T_M %v; P_A %.5f\n", x.class, x.m.Readers, x.m.Detection, x.m.Recurrence, x.m.Mistakes, x.m.Accuracy)
		}
	}
	if q.Suspected.N > 0 {
		fmt.Fprintf(&b, "suspect until cleared: %v\n", q.Suspected)
	}
	if q.ListRows > 0 {
		fmt.Fprintf(&b, "lists: P_A %.5f (%d rows)\n", float64(q.ListRight)/float64(q.ListRows), q.ListRows)
	}
	return b.String()
}

// quality is what is measured on the way.
type quality struct {
	raw, confirmed metrics
	suspected      []int64
	rows, right    int
}

type metrics struct {
	readers                         map[string]bool
	detection, recurrence, mistakes []int64
	counted                         map[reading]bool
	open                            map[reading]int64 // mistakes
	latest                          map[string]int64  // the last mistake of a reader
}

// reading is what one reader was told of one name or life.
type reading struct {
	subscriber, name string
	incarnation      int64
}

func (m *metrics) prepare(r *reader) {
	if m.readers == nil {
		m.readers, m.counted = make(map[string]bool), make(map[reading]bool)
		m.open, m.latest = make(map[reading]int64), make(map[string]int64)
	}
	m.readers[r.subscriber] = true
}

// told measures what a raw reader was told of an end.
func (q *quality) told(r *reader, rec *Record, l *life) {
	if r.confirm == 0 {
		q.raw.take(r, rec, l)
	}
}

// confirms measures what a reader with a window was told.
func (q *quality) confirms(r *reader, rec *Record, l *life) { q.confirmed.take(r, rec, l) }

func (m *metrics) take(r *reader, rec *Record, l *life) {
	m.prepare(r)
	once := reading{r.subscriber, l.name(), l.incarnation}
	if l.how != gone || m.counted[once] {
		return
	}
	m.counted[once] = true
	switch {
	case l.why == died && l.owner.killed != nil:
		if r.since < l.owner.dead {
			m.detection = append(m.detection, rec.At-l.owner.dead)
		}
	case l.why == etcdDid, l.why == unknown:
		if last, there := m.latest[r.subscriber]; there && rec.At > last {
			m.recurrence = append(m.recurrence, rec.At-last)
		}
		m.latest[r.subscriber] = rec.At
		m.open[reading{subscriber: r.subscriber, name: l.name()}] = rec.At
	}
}

// ups ends a mistake.
func (q *quality) ups(r *reader, rec *Record, name string) {
	key := reading{subscriber: r.subscriber, name: name}
	for _, m := range []*metrics{&q.raw, &q.confirmed} {
		if since, there := m.open[key]; there {
			m.mistakes = append(m.mistakes, rec.At-since)
			delete(m.open, key)
		}
	}
}

// clears measures how long what lived was suspect.
func (q *quality) clears(r *reader, rec *Record, previous *life) {
	q.confirmed.prepare(r)
	if previous.how == gone && previous.endAt <= rec.At {
		q.suspected = append(q.suspected, rec.At-previous.endAt)
	}
}

// list measures whether rows say what is true of the processes.
func (q *quality) list(c *checker, rec *Record) {
	for i := range rec.Rows {
		row := &rec.Rows[i]
		tr := c.truth.tracks[row.Name]
		if tr == nil || row.Forced {
			continue
		}
		var l *life
		for _, x := range slices.Backward(tr.lives) {
			if x.begin <= rec.At {
				l = x
				break
			}
		}
		if l == nil || l.owner == nil {
			continue
		}
		q.rows++
		dead := l.owner.dead <= rec.At
		mistaken := !dead && l.how == gone && l.why.mistaken()
		if row.State == "up" && !dead || row.State != "up" && !mistaken {
			q.right++
		}
	}
}

// sum gives the report.
func (q *quality) sum(c *checker) Quality {
	watched := int64(0)
	for _, l := range c.truth.lives {
		if l.owner != nil {
			watched += max(0, min(l.endsAt(), l.owner.dead, c.scene.end)-l.begin)
		}
	}
	return Quality{
		Raw: q.raw.sum(watched), Confirmed: q.confirmed.sum(watched), Suspected: spread(q.suspected),
		ListRows: q.rows, ListRight: q.right,
	}
}

func (m *metrics) sum(watched int64) Metrics {
	out := Metrics{Readers: len(m.readers), Detection: spread(m.detection), Recurrence: spread(m.recurrence), Mistakes: spread(m.mistakes)}
	wrong := int64(0)
	for _, x := range m.mistakes {
		wrong += x
	}
	right := watched * int64(out.Readers)
	out.Observed = time.Duration(right + wrong)
	if right > 0 {
		out.Accuracy = float64(right) / float64(right+wrong)
	}
	return out
}

func spread(times []int64) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	slices.Sort(times)
	at := func(p float64) time.Duration { return time.Duration(times[int(p*float64(len(times)-1)+0.5)]) }
	return Spread{N: len(times), Median: at(0.5), P99: at(0.99), Max: at(1)}
}
