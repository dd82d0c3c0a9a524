package observer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/registry"
)

// A Program takes down what one process of `hbctl watch -o json` after another prints, as a script would that reads it.
type Program struct {
	subscriber string
	rec        func(source string) *history.Recorder
	report     func(error)

	mu   sync.Mutex
	safe int64 // the revision of the newest line that is a safe place to resume
}

// NewProgram makes a Program whose records name the subscriber. It reports what the program should not have printed.
func NewProgram(subscriber string, rec func(source string) *history.Recorder, report func(error)) *Program {
	return &Program{subscriber: subscriber, rec: rec, report: report}
}

// printed is a line of `hbctl watch -o json`.
type printed struct {
	Kind            string            `json:"kind"`
	Revision        int64             `json:"revision"`
	More            bool              `json:"more"`
	Binary          string            `json:"binary"`
	Host            string            `json:"host"`
	Incarnation     int64             `json:"incarnation"`
	Previous        int64             `json:"previous_incarnation"`
	Cause           string            `json:"cause"`
	DeletedRevision int64             `json:"deleted_revision"`
	Present         *bool             `json:"present"`
	Synthetic       bool              `json:"synthetic"`
	Service         *registry.Service `json:"service"`
	Reason          string            `json:"reason"`
}

// Since gives the position to resume from; 0: nothing was printed yet.
func (p *Program) Since() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.safe
}

// Listen reads one process of the program until it ends. Lines of a batch that is not complete are not taken down: a script
// that acts on whole batches, as it must, does not act on them.
func (p *Program) Listen(source string, out io.Reader) {
	rec := p.rec(source)
	watching := history.Record{Kind: history.Watching, Subscriber: p.subscriber, From: "now", Revision: p.Since()}
	if watching.Revision > 0 {
		watching.From = "revision"
	}
	rec.Record(watching)
	lines := bufio.NewReaderSize(out, 1<<20)
	var batch []printed
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			return // the last line may be torn
		}
		var line printed
		if err := json.Unmarshal(text, &line); err != nil {
			p.report(fmt.Errorf("%s printed %q: %w", source, text, err))
			return
		}
		if line.Kind == "reset" { // what follows belongs to it, but is a batch of its own
			rec.Record(history.Record{Kind: history.Handed, Subscriber: p.subscriber, Batch: wordOf(line)})
			continue
		}
		if batch = append(batch, line); !line.More {
			p.complete(rec, batch)
			batch = nil
		}
	}
}

// complete takes down a batch. Its last line is a safe place to resume, so with it it is acknowledged.
func (p *Program) complete(rec *history.Recorder, lines []printed) {
	last := lines[len(lines)-1]
	b := wordOf(last)
	switch {
	case last.Kind == "synced" && (len(lines) > 1 || p.Since() == 0):
		b.Kind = "snapshot"
		for _, line := range lines {
			if line.Kind == "present" && line.Service != nil {
				b.Rows = append(b.Rows, history.RowOf(line.Service))
			}
		}
	case last.Kind == "synced", last.Kind == "bookmark":
		b.Kind = "bookmark"
	case last.Kind == "stale", last.Kind == "live":
	default:
		b.Kind = "changes"
		for _, line := range lines {
			b.Events = append(b.Events, line.event())
		}
	}
	b.Synced = last.Kind == "synced"
	rec.Record(history.Record{Kind: history.Handed, Subscriber: p.subscriber, Batch: b})
	p.mu.Lock()
	p.safe = max(p.safe, last.Revision)
	p.mu.Unlock()
	rec.Record(history.Record{Kind: history.Acked, Subscriber: p.subscriber, Revision: last.Revision})
}

func wordOf(line printed) *history.Batch {
	return &history.Batch{Kind: line.Kind, Revision: line.Revision, Reason: line.Reason}
}

func (l *printed) event() history.Event {
	e := history.Event{
		Kind: l.Kind, Incarnation: l.Incarnation, Previous: l.Previous, Cause: l.Cause, DeletedRevision: l.DeletedRevision,
		Present: l.Present, Synthetic: l.Synthetic,
	}
	if l.Service != nil {
		e.Name = strings.Join([]string{l.Binary, l.Host}, "/")
		row := history.RowOf(l.Service)
		e.Row = &row
	}
	return e
}
