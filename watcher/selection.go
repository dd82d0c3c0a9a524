package watcher

import (
	"fmt"
	"strings"

	"github.com/hbctl/hbctl/registry"
)

// A selection is a filter as a stream needs it: rows come and go from it.
type selection struct{ registry.Filter }

// everything says that no row can be left out, so that rows need not be derived only to be matched.
func (s selection) everything() bool {
	return s.Binary == "" && s.Host == "" && s.Zone == "" && s.Status == "" && s.State == "" && (s.Labels == nil || s.Labels.Empty())
}

// covers says that a row of this name can be selected at all. Names never change, so all others are not even kept.
func (s selection) covers(name registry.Name) bool {
	return (s.Binary == "" || s.Binary == name.Binary) && (s.Host == "" || s.Host == name.Host)
}

// String tells selections apart: a view is worth nothing to a reader that saw other rows.
func (s selection) String() string {
	var b strings.Builder
	add := func(field, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s=%s;", field, value)
		}
	}
	add("binary", s.Binary)
	add("host", s.Host)
	add("zone", s.Zone)
	add("status", string(s.Status))
	add("state", string(s.State))
	if s.Labels != nil {
		add("labels", s.Labels.String())
	}
	return b.String()
}

// settles says that the event is about an incarnation that the reader was told is up: its end, or what may become its end.
func (e *Event) settles(incarnation int64) bool {
	switch e.Kind {
	case Down, Suspect:
		return e.Incarnation == incarnation
	case Cleared:
		return e.PreviousIncarnation == incarnation
	default:
		return false
	}
}

// keep drops the events of a change that the reader did not ask for, and says which incarnation it is owed a down of
// afterwards: one that it was told is up and that is outside of the selection now. Without that debt an instance whose zone
// changes would leave a reader of its old zone with an "up" for ever.
func (s selection) keep(c *change, events []Event, owed int64) ([]Event, int64) {
	if s.everything() {
		return events, 0
	}
	was := c.before.Listed() && s.Match(&c.was)
	is := c.after.Listed() && s.Match(&c.is)
	kept := events[:0]
	for _, e := range events {
		if was || is || e.Kind == Warning || owed != 0 && e.settles(owed) {
			kept = append(kept, e)
		}
	}
	owing := owed != 0 && (owed == c.after.Alive.Rev || c.returned && owed == c.before.Alive.Rev)
	switch {
	case is || c.is.State != registry.Up:
		return kept, 0
	case was || owing:
		return kept, c.after.Alive.Rev
	}
	return kept, 0
}
