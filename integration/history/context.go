package history

import (
	"fmt"
	"slices"
	"strings"
)

const (
	contextBefore = 14
	contextAfter  = 5
)

// context gives the records around a violation, a line each: those about the name, or else about the reader, and what the
// injector did.
func (c *checker) context(e evidence) []string {
	at := slices.Index(c.all, e.record)
	if at < 0 {
		return nil
	}
	var lines []string
	for i, n := at, 0; i >= 0 && n < contextBefore; i-- {
		if rec := c.all[i]; i == at || e.mentions(c, rec) {
			lines = append(lines, line(rec, e.record.At, e.name))
			n++
		}
	}
	slices.Reverse(lines)
	lines[len(lines)-1] = "> " + strings.TrimPrefix(lines[len(lines)-1], "  ")
	for i, n := at+1, 0; i < len(c.all) && n < contextAfter; i++ {
		if e.mentions(c, c.all[i]) {
			lines = append(lines, line(c.all[i], e.record.At, e.name))
			n++
		}
	}
	return lines
}

// mentions says whether a record belongs to the story.
func (e *evidence) mentions(c *checker, rec *Record) bool {
	switch rec.Kind {
	case Spawn, Killed, Stopped, Resumed, Asked, Died, Settled, Final:
		return true
	case FaultOn, FaultOff:
		return rec.Name == "" || e.name == "" || rec.Name == e.name
	case Audit:
		return e.name != "" && slices.ContainsFunc(rec.Writes, func(w Write) bool { return strings.HasSuffix(w.Key, "/"+e.name) })
	case Watching, Acked:
		return e.subscriber != "" && rec.Subscriber == e.subscriber
	case Handed:
		if e.subscriber != "" && rec.Subscriber != e.subscriber || rec.Batch == nil {
			return false
		}
		return e.name == "" || rec.Batch.Kind != "changes" && rec.Batch.Kind != "bookmark" ||
			slices.ContainsFunc(rec.Batch.Events, func(x Event) bool { return x.Name == e.name })
	case Listed, Memory:
		return false
	case Valid:
		return rec.Name == e.name && !rec.Yes
	}
	return e.name != "" && rec.Name == e.name
}

// line writes a record for people, with the time since the violation, and of all that it holds what is about the name.
func line(rec *Record, at int64, name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %+10.3fs %s %s", float64(rec.At-at)/1e9, rec.Source, rec.Kind)
	for _, word := range []string{rec.Target, rec.Fault, rec.Name, rec.Note, rec.Cause, rec.Reason, rec.Subscriber, rec.From} {
		if word != "" {
			b.WriteString(" " + word)
		}
	}
	if rec.Incarnation != 0 {
		fmt.Fprintf(&b, " incarnation %d", rec.Incarnation)
	}
	if rec.Lease != "" {
		b.WriteString(" lease " + rec.Lease)
	}
	if rec.Kind == Valid {
		fmt.Fprintf(&b, " %v", rec.Yes)
	}
	if rec.Revision != 0 {
		fmt.Fprintf(&b, " revision %d", rec.Revision)
	}
	for i := range rec.Writes {
		if w := &rec.Writes[i]; name == "" || strings.HasSuffix(w.Key, "/"+name) {
			b.WriteString(" " + writeText(w))
		}
	}
	if rec.Batch != nil {
		b.WriteString(" " + batchText(rec.Batch, name))
	}
	return b.String()
}

func writeText(w *Write) string {
	if w.Delete {
		return "delete " + w.Key
	}
	return fmt.Sprintf("put %s lease %s %s", w.Key, w.Lease, short(w.Value))
}

func batchText(b *Batch, name string) string {
	var about []Event
	for _, e := range b.Events {
		if name == "" || e.Name == name {
			about = append(about, e)
		}
	}
	text := fmt.Sprintf("%s %d", b.Kind, b.Revision)
	if b.Synced {
		text += " synced"
	}
	if b.Reason != "" {
		text += " (" + short(b.Reason) + ")"
	}
	if len(b.Rows) > 0 {
		text += fmt.Sprintf(" %d rows", len(b.Rows))
	}
	return strings.TrimRight(text+" "+eventsText(about), " ")
}

func eventsText(events []Event) string {
	var parts []string
	for i := range events {
		if i == 8 {
			parts = append(parts, fmt.Sprintf("and %d more", len(events)-i))
			break
		}
		parts = append(parts, eventText(&events[i]))
	}
	return strings.Join(parts, ", ")
}

func eventText(e *Event) string {
	text := fmt.Sprintf("%s %s %d", e.Kind, e.Name, e.Incarnation)
	if e.Previous != 0 {
		text += fmt.Sprintf(" after %d", e.Previous)
	}
	if e.Cause != "" {
		text += " " + e.Cause
	}
	if e.DeletedRevision != 0 {
		text += fmt.Sprintf(" deleted by %d", e.DeletedRevision)
	}
	if e.Present != nil {
		text += fmt.Sprintf(" present %v", *e.Present)
	}
	if e.Synthetic {
		text += " synthetic"
	}
	return text
}

func rowText(r *Row) string {
	text := fmt.Sprintf("%s %d", r.State, r.Incarnation)
	if r.Zone != nil {
		text += " zone " + *r.Zone
	}
	if r.Status != nil {
		text += " " + *r.Status
	}
	if r.Present {
		text += " present"
	}
	if r.Forced {
		text += " forced"
	}
	if len(r.Labels) > 0 {
		text += fmt.Sprint(" ", r.Labels)
	}
	if len(r.Endpoints) > 0 {
		text += fmt.Sprint(" ", r.Endpoints)
	}
	return text
}

func short(s string) string {
	if len(s) > 160 {
		return s[:160] + "..."
	}
	return s
}
