package schedules_test

import "time"

// A trouble is when something did not work: a way to etcd, a reader, etcd itself.
type trouble struct {
	spans []span
	open  bool
}

type span struct{ from, to time.Time } // to is zero while it lasts

func (t *trouble) begin() {
	if !t.open {
		t.open = true
		t.spans = append(t.spans, span{from: time.Now()})
	}
}

func (t *trouble) over() {
	if t.open {
		t.open = false
		t.spans[len(t.spans)-1].to = time.Now()
	}
}

// within says that there was trouble at some moment between.
func (t *trouble) within(from, to time.Time) bool {
	return t.lasting(0, from, to)
}

// lasting says that there was trouble at some moment between, which lasted so long in all.
func (t *trouble) lasting(least time.Duration, from, to time.Time) bool {
	for _, s := range t.spans {
		end := s.to
		if end.IsZero() {
			end = time.Now()
		}
		if !s.from.After(to) && !end.Before(from) && end.Sub(s.from) >= least {
			return true
		}
	}
	return false
}
