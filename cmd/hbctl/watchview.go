package main

import (
	"bufio"
	"time"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// The kinds of lines that are no events of an instance.
const (
	linePresent  = "present"
	lineSynced   = "synced"
	lineBookmark = "bookmark"
	lineReset    = "reset"
	lineStale    = "stale"
	lineLive     = "live"
)

// watchLine is one line of watch: an event of an instance, a warning, or a word about the stream.
type watchLine struct {
	kind    string
	batch   *watcher.Batch
	event   *watcher.Event    // of an instance
	service *registry.Service // of an instance
	warning *registry.Warning
	more    bool // more lines of this batch follow
}

// watchView says how a watch is shown.
type watchView struct {
	format      string
	onlyChanges bool
	wasReset    bool // the reader was told to forget what it had, so the next snapshot is no mere start
	bookmarks   bool
	unsaid      bool // that the start is complete goes without saying
	colored     bool
}

// write writes a batch and flushes it, so that the next is asked for only when this one is out.
func (v *watchView) write(out *bufio.Writer, b *watcher.Batch) error {
	lines := v.lines(b)
	for i := range lines {
		// What follows a reset belongs to it: resumed right after it, a reader would never get to know what is there.
		lines[i].more = i < len(lines)-1 || lines[i].kind == lineReset
		write := writeTextLine
		if v.format == "json" {
			write = writeJSONLine
		}
		if err := write(out, &lines[i], v.colored); err != nil {
			return err
		}
	}
	return out.Flush()
}

// lines gives the lines of a batch. A batch of an unknown kind has none: more kinds may come.
func (v *watchView) lines(b *watcher.Batch) []watchLine {
	switch b.Kind {
	case watcher.Snapshot:
		return v.snapshotLines(b)
	case watcher.Changes:
		lines := make([]watchLine, len(b.Events))
		for i := range b.Events {
			lines[i] = eventLine(b, &b.Events[i])
		}
		return lines
	case watcher.Bookmark:
		switch {
		case b.Synced && v.unsaid:
			return nil
		case b.Synced:
			return []watchLine{{kind: lineSynced, batch: b}}
		case v.bookmarks:
			return []watchLine{{kind: lineBookmark, batch: b}}
		}
	case watcher.Reset:
		v.wasReset = true
		return []watchLine{{kind: lineReset, batch: b}}
	case watcher.Stale:
		return []watchLine{{kind: lineStale, batch: b}}
	case watcher.Live:
		return []watchLine{{kind: lineLive, batch: b}}
	}
	return nil
}

func (v *watchView) snapshotLines(b *watcher.Batch) []watchLine {
	var lines []watchLine
	if !v.onlyChanges || v.wasReset {
		for i := range b.Services {
			s := &b.Services[i]
			lines = append(lines, watchLine{kind: linePresent, batch: b, event: presentEvent(s), service: s})
		}
	}
	v.wasReset = false
	for i := range b.Warnings {
		lines = append(lines, watchLine{kind: string(watcher.Warning), batch: b, warning: &b.Warnings[i]})
	}
	if b.Synced {
		lines = append(lines, watchLine{kind: lineSynced, batch: b})
	}
	return lines
}

// presentEvent says of a row that is there what an event would.
func presentEvent(s *registry.Service) *watcher.Event {
	e := &watcher.Event{Name: s.Name(), Zone: s.Zone, Cause: s.Cause, CauseReason: s.CauseReason}
	if s.Incarnation != nil {
		e.Incarnation = *s.Incarnation
	}
	return e
}

func eventLine(b *watcher.Batch, e *watcher.Event) watchLine {
	if e.Kind == watcher.Warning {
		return watchLine{kind: string(e.Kind), batch: b, warning: e.Warning}
	}
	return watchLine{kind: string(e.Kind), batch: b, event: e, service: &e.Service}
}

// lineHead begins every line of JSON.
type lineHead struct {
	Kind       string    `json:"kind"`
	Cluster    *string   `json:"cluster"`
	Revision   *int64    `json:"revision"`
	ObservedAt time.Time `json:"observed_at"`
	More       bool      `json:"more"`
}

// serviceLine is a line about an instance.
type serviceLine struct {
	lineHead
	Binary              string            `json:"binary"`
	Host                string            `json:"host"`
	Zone                *string           `json:"zone"`
	Incarnation         *int64            `json:"incarnation"`
	PreviousIncarnation *int64            `json:"previous_incarnation"`
	Cause               *registry.Cause   `json:"cause"`
	CauseReason         *string           `json:"cause_reason"`
	DeletedRevision     *int64            `json:"deleted_revision"`
	Present             *bool             `json:"present"`
	Synthetic           bool              `json:"synthetic"`
	Service             *registry.Service `json:"service"`
}

// warningLine is a line about a key.
type warningLine struct {
	lineHead
	registry.Warning
}

// streamLine is a line about the stream itself.
type streamLine struct {
	lineHead
	Since  *time.Time `json:"since,omitzero"`
	Reason *string    `json:"reason,omitzero"`
}

func writeJSONLine(out *bufio.Writer, l *watchLine, _ bool) error {
	head := lineHead{Kind: l.kind, Revision: nonzero(l.batch.Revision), ObservedAt: l.batch.ObservedAt.UTC(), More: l.more}
	if l.batch.Cluster != 0 {
		id := clusterID(l.batch.Cluster)
		head.Cluster = &id
	}
	switch e := l.event; {
	case e != nil:
		return jsonLine(out, serviceLine{
			lineHead: head, Binary: e.Name.Binary, Host: e.Name.Host, Zone: e.Zone, Incarnation: nonzero(e.Incarnation),
			PreviousIncarnation: nonzero(e.PreviousIncarnation), Cause: e.Cause, CauseReason: e.CauseReason,
			DeletedRevision: nonzero(e.DeletedRevision), Present: e.Present, Synthetic: e.Synthetic, Service: l.service,
		})
	case l.warning != nil:
		return jsonLine(out, warningLine{lineHead: head, Warning: safeWarnings([]registry.Warning{*l.warning})[0]})
	}
	line := streamLine{lineHead: head}
	if !l.batch.Since.IsZero() {
		since := l.batch.Since.UTC()
		line.Since = &since
	}
	if l.batch.Reason != nil {
		reason := inWords(l.batch.Reason)
		line.Reason = &reason
	}
	return jsonLine(out, line)
}

func nonzero(v int64) *int64 {
	if v == 0 {
		return nil
	}
	return &v
}
