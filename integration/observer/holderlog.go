package observer

import (
	"bufio"
	"encoding/json"
	"io"
	"time"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/registry"
)

// logged are the events in the log of a holder that a history has.
var logged = map[registry.EventKind]history.Kind{
	registry.Registered: history.Registered, registry.Fenced: history.Fenced, registry.Trusted: history.Trusted,
	registry.LostKey: history.Lost, registry.Left: history.Left, registry.Replaced: history.Ended, registry.Evicted: history.Ended,
}

// HolderLog records what the log of `hbctl run` or `hbctl register`, as JSON, says of the registration, until it ends.
// Monotonic turns the times in it into those of histories.
func HolderLog(log io.Reader, rec *history.Recorder, monotonic func(time.Time) int64) error {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct {
			Event       registry.EventKind `json:"event"`
			Name        string             `json:"name"`
			Incarnation int64              `json:"incarnation"`
			Why         string             `json:"why"`
			Time        time.Time          `json:"time"`
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Name == "" {
			continue // what runs in it may write there too
		}
		kind, known := logged[line.Event]
		if !known {
			continue
		}
		// The log leaves out what is below a millisecond. It must not make anything earlier than it was.
		out := history.Record{Kind: kind, Name: line.Name, Incarnation: line.Incarnation, At: monotonic(line.Time) + int64(time.Millisecond)}
		switch kind {
		case history.Lost:
			out.Reason = line.Why
		case history.Ended:
			out.Reason = string(line.Event)
		}
		rec.Record(out)
	}
	return lines.Err()
}
