package lease

import "container/heap"

// schedule is a heap of leases by when they are due.
type schedule []*Lease

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].heapIndex, s[j].heapIndex = i, j
}

// Push is for container/heap.
func (s *schedule) Push(x any) {
	l, _ := x.(*Lease)
	l.heapIndex = len(*s)
	*s = append(*s, l)
}

// Pop is for container/heap.
func (s *schedule) Pop() any {
	old := *s
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	l.heapIndex = -1
	return l
}

func (s *schedule) fix(l *Lease) {
	if l.heapIndex < 0 {
		heap.Push(s, l)
		return
	}
	heap.Fix(s, l.heapIndex)
}

func (s *schedule) remove(l *Lease) {
	if l.heapIndex >= 0 {
		heap.Remove(s, l.heapIndex)
	}
}
