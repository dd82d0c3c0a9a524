package registry

import "k8s.io/apimachinery/pkg/labels"

// Filter selects rows. Empty fields select all; all given fields must match. A row whose zone, status or labels are not
// known is not selected by a filter on them.
type Filter struct {
	Binary string
	Host   string
	Zone   string
	Status Status
	State  State
	Labels labels.Selector // nil: all
}

// Match says whether the row is selected.
func (f Filter) Match(s *Service) bool {
	switch {
	case f.Binary != "" && f.Binary != s.Binary,
		f.Host != "" && f.Host != s.Host,
		f.Zone != "" && (s.Zone == nil || *s.Zone != f.Zone),
		f.Status != "" && (s.Status == nil || *s.Status != f.Status),
		f.State != "" && f.State != s.State:
		return false
	case f.Labels == nil || f.Labels.Empty():
		return true
	}
	return s.Labels != nil && f.Labels.Matches(labels.Set(s.Labels))
}
