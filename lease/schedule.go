package lease

import "time"

// schedule is a heap of leases by when they are due. Each renewal moves its lease twice, so with 100,000 leases the memory that
// a move touches is what it costs: a heap of four children a node is half as deep as one of two, and has their times in
// line instead of in the leases (D. B. Johnson, "Priority queues with update and finding minimum spanning trees", 1975).
type schedule []entry

// entry is a lease and its time.
type entry struct {
	due   time.Duration // since the Renewer began, by Go's clock
	lease *Lease
}

const children = 4

// set gives the lease its time, and its place in the schedule if it has none.
func (s *schedule) set(l *Lease, due time.Duration) {
	if l.heapIndex < 0 {
		l.heapIndex = len(*s)
		*s = append(*s, entry{lease: l})
	}
	s.settle(l.heapIndex, entry{due: due, lease: l})
}

// remove takes the lease out, if it is there.
func (s *schedule) remove(l *Lease) {
	hole := l.heapIndex
	if hole < 0 {
		return
	}
	l.heapIndex = -1
	last := len(*s) - 1
	moved := (*s)[last]
	(*s)[last] = entry{}
	*s = (*s)[:last]
	if hole != last {
		s.settle(hole, moved)
	}
}

// settle finds the entry's place, from i up or down; what is at i is overwritten.
func (s *schedule) settle(i int, e entry) {
	if up := s.rise(i, e.due); up != i {
		s.place(up, e)
		return
	}
	s.place(s.sink(i, e.due), e)
}

// rise moves the parents that are due later than that down, and gives the place that is free then.
func (s *schedule) rise(i int, due time.Duration) int {
	for i > 0 {
		parent := (i - 1) / children
		if (*s)[parent].due <= due {
			break
		}
		s.place(i, (*s)[parent])
		i = parent
	}
	return i
}

// sink moves the children that are due sooner than that up, and gives the place that is free then.
func (s *schedule) sink(i int, due time.Duration) int {
	for {
		from := children*i + 1
		if from >= len(*s) {
			return i
		}
		first := from
		for c := from + 1; c < min(from+children, len(*s)); c++ {
			if (*s)[c].due < (*s)[first].due {
				first = c
			}
		}
		if (*s)[first].due >= due {
			return i
		}
		s.place(i, (*s)[first])
		i = first
	}
}

func (s *schedule) place(i int, e entry) {
	(*s)[i] = e
	e.lease.heapIndex = i
}
