package history

import "slices"

// span is a time, from and to included.
type span struct{ from, to int64 }

// spans are times.
type spans []span

// begin opens a span, unless one is open.
func (s *spans) begin(at int64) {
	if n := len(*s); n == 0 || (*s)[n-1].to != forever {
		*s = append(*s, span{at, forever})
	}
}

// finish closes the open span.
func (s *spans) finish(at int64) {
	if n := len(*s); n > 0 && (*s)[n-1].to == forever {
		(*s)[n-1].to = at
	}
}

// joined gives the spans in order, with those that are no more than the gap apart made one, and each of them longer by the tail.
func (s spans) joined(gap, tail int64) spans {
	sorted := slices.Clone(s)
	slices.SortFunc(sorted, func(x, y span) int {
		switch {
		case x.from < y.from:
			return -1
		case x.from > y.from:
			return 1
		}
		return 0
	})
	var out spans
	for _, x := range sorted {
		if x.to < forever-tail {
			x.to += tail
		}
		if n := len(out); n > 0 && x.from-out[n-1].to <= gap {
			out[n-1].to = max(out[n-1].to, x.to)
			continue
		}
		out = append(out, x)
	}
	return out
}

// overlaps gives the first span of the joined ones that has a moment in common with from to to.
func (s spans) overlaps(from, to int64) (span, bool) {
	n, _ := slices.BinarySearchFunc(s, from, func(x span, at int64) int {
		if x.to < at {
			return -1
		}
		return 1
	})
	if n < len(s) && s[n].from <= to {
		return s[n], true
	}
	return span{}, false
}

// calm gives the first moment at or after the given one that lies in none of the joined spans and is followed by a time of
// quiet that long.
func (s spans) calm(at, quiet int64) int64 {
	for {
		x, hit := s.overlaps(at, at+quiet)
		if !hit || x.to == forever {
			if hit {
				return forever
			}
			return at
		}
		at = x.to + 1
	}
}
