package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// details collects key=value pairs; a value that a shell or an eye would misread is quoted.
type details []string

func (d *details) add(key, value string) {
	if strings.ContainsAny(value, " \"=") || !clean(value) || value == "" {
		value = strconv.Quote(value)
	}
	*d = append(*d, key+"="+value)
}

func (d *details) number(key string, value int64) {
	if value != 0 {
		d.add(key, strconv.FormatInt(value, 10))
	}
}

func (d *details) text(key string, value *string) {
	if value != nil {
		d.add(key, *value)
	}
}

// writeTextLine writes TIME KIND BINARY/HOST ZONE DETAILS, with "-" where a line has no instance.
func writeTextLine(out *bufio.Writer, l *watchLine, colored bool) error {
	kind := l.kind
	if colored {
		kind = paint(kind)
	}
	name, zone := unknown, unknown
	var d details
	switch {
	case l.event != nil:
		name, zone = l.event.Name.String(), cell(orUnknown(l.event.Zone))
		d.describe(l)
	case l.warning != nil:
		d.add("key", l.warning.Key)
		d.add("problem", l.warning.Problem)
	default:
		d.number("revision", l.batch.Revision)
		if !l.batch.Since.IsZero() {
			d.add("since", stamp(&l.batch.Since))
		}
		if l.batch.Reason != nil {
			d.add("reason", inWords(l.batch.Reason))
		}
	}
	_, err := fmt.Fprintln(out, strings.TrimRight(strings.Join([]string{
		l.batch.ObservedAt.UTC().Format("2006-01-02T15:04:05.000Z07:00"), kind, name, zone, strings.Join(d, " "),
	}, " "), " "))
	return err
}

// describe says of an instance what its kind of event is about.
func (d *details) describe(l *watchLine) {
	e, s := l.event, l.service
	switch watcher.Kind(l.kind) {
	case watcher.Down, watcher.Suspect:
		d.add("cause", orUnknown(e.Cause))
		d.text("reason", e.CauseReason)
	case watcher.Enabled, watcher.Disabled:
		d.text("reason", s.DisabledReason)
		d.text("by", s.DisabledBy)
	case watcher.Up, watcher.Cleared, watcher.Forgotten:
	default:
		d.state(e, s)
	}
	d.number("incarnation", e.Incarnation)
	d.number("previous", e.PreviousIncarnation)
	if e.Synthetic {
		d.add("synthetic", "true")
	}
}

// state says how the row is: of what is there, and of what changed in another way than up or down.
func (d *details) state(e *watcher.Event, s *registry.Service) {
	d.add("state", string(s.State))
	d.add("status", orUnknown(s.Status))
	if s.State == registry.Down {
		d.add("cause", orUnknown(e.Cause))
		d.text("reason", e.CauseReason)
	}
	if e.Present != nil {
		d.add("present", strconv.FormatBool(*e.Present))
	}
}
