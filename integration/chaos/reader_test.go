//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

const (
	confirmWindow = 2 * time.Second
	bookmarkEvery = time.Second
	memoryEvery   = 2 * time.Second
)

// readerPlan is one reader. A process can have several.
type readerPlan struct {
	Subscriber string
	State      string // the file that it keeps its position in; empty: none
	Bare       bool   // it keeps a bare revision, not a view
	Confirm    time.Duration
}

// reader is a reader at work.
type reader struct {
	plan    readerPlan
	rec     *history.Recorder
	watcher *watcher.Watcher
	hurdle  *hurdle
}

// read is the life of a watcher process.
func read(ctx context.Context, r *role, rec *history.Recorder, orders <-chan order) error {
	h := new(hurdle)
	var running sync.WaitGroup
	errs := make([]error, len(r.Readers))
	for i, p := range r.Readers {
		running.Go(func() { errs[i] = follow(ctx, p, r.Endpoints, rec, h) })
	}
	ticker := time.NewTicker(memoryEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case o := <-orders:
			h.raise(o.For)
		case <-ticker.C:
			rec.Record(history.Record{Kind: history.Memory, Bytes: resident()})
		case <-ctx.Done():
		}
	}
	running.Wait()
	return errors.Join(errs...)
}

// follow runs one reader until the context ends.
func follow(ctx context.Context, p readerPlan, endpoints []string, rec *history.Recorder, h *hurdle) error {
	client, err := dial(endpoints)
	if err != nil {
		return err
	}
	defer client.Close()
	w, err := watcher.New(client, watcher.Config{Confirm: p.Confirm, BookmarkInterval: bookmarkEvery})
	if err != nil {
		return err
	}
	r := &reader{plan: p, rec: rec, watcher: w, hurdle: h}
	from, err := r.start()
	if err != nil {
		return err
	}
	var last *history.Batch // handed over, not acknowledged
	for batch, err := range w.Watch(ctx, from) {
		if last != nil { // whoever asks for the next has acknowledged the last
			if err := r.acknowledged(last); err != nil {
				return err
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.Subscriber, err)
		}
		last = batchOf(&batch)
		rec.Record(history.Record{Kind: history.Handed, Subscriber: p.Subscriber, Batch: last})
		h.clear(ctx)
	}
	if last == nil {
		return nil
	}
	return r.acknowledged(last)
}

// start says where the reader goes on.
func (r *reader) start() (watcher.Position, error) {
	rec := history.Record{Kind: history.Watching, Subscriber: r.plan.Subscriber, From: "now", Confirm: int64(r.plan.Confirm)}
	position := watcher.Now()
	saved, err := os.ReadFile(r.plan.State)
	switch {
	case r.plan.State == "", errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return position, err
	case r.plan.Bare:
		if rec.Revision, err = strconv.ParseInt(string(saved), 10, 64); err != nil {
			return position, err
		}
		rec.From, position = "revision", watcher.After(rec.Revision)
	default:
		view := new(watcher.View)
		if err := json.Unmarshal(saved, view); err != nil {
			return position, err
		}
		rec.From, rec.Revision, position = "view", view.Revision(), watcher.From(view)
	}
	r.rec.Record(rec)
	return position, nil
}

// acknowledged saves the position, if it is one that is kept, and says so.
func (r *reader) acknowledged(b *history.Batch) error {
	if r.plan.State != "" {
		view := r.watcher.View()
		if view == nil {
			return nil // there is no position yet
		}
		text, err := []byte(strconv.FormatInt(b.Revision, 10)), error(nil)
		if !r.plan.Bare {
			text, err = json.Marshal(view)
		} else if b.Kind == string(watcher.Reset) {
			return nil // the position moves with the snapshot
		}
		if err == nil {
			err = replaceFile(r.plan.State, text)
		}
		if err != nil {
			return err
		}
	}
	r.rec.Record(history.Record{Kind: history.Acked, Subscriber: r.plan.Subscriber, Revision: b.Revision})
	return nil
}

// replaceFile writes a file as a whole or not at all.
func replaceFile(name string, text []byte) error {
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// batchOf takes a batch down.
func batchOf(b *watcher.Batch) *history.Batch {
	out := &history.Batch{Kind: string(b.Kind), Revision: b.Revision, Synced: b.Synced}
	if b.Reason != nil {
		out.Reason = b.Reason.Error()
	}
	for i := range b.Services {
		out.Rows = append(out.Rows, history.RowOf(&b.Services[i]))
	}
	for i := range b.Events {
		e := &b.Events[i]
		event := history.Event{
			Kind: string(e.Kind), Name: e.Name.String(), Incarnation: e.Incarnation, Previous: e.PreviousIncarnation,
			DeletedRevision: e.DeletedRevision, Present: e.Present, Synthetic: e.Synthetic,
		}
		if e.Cause != nil {
			event.Cause = string(*e.Cause)
		}
		if e.Kind == watcher.Warning {
			event.Name = nameOf(e.Name)
		} else {
			row := history.RowOf(&e.Service)
			event.Row = &row
		}
		out.Events = append(out.Events, event)
	}
	return out
}

// nameOf writes the name of a warning, which may have none.
func nameOf(n registry.Name) string {
	if n == (registry.Name{}) {
		return ""
	}
	return n.String()
}

// resident gives the resident set of this process.
func resident() int64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// A hurdle holds up the readers of a process for a while: they stop reading.
type hurdle struct {
	mu    sync.Mutex
	until time.Time
}

func (h *hurdle) raise(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = time.Now().Add(d)
}

// clear waits until the way is free.
func (h *hurdle) clear(ctx context.Context) {
	h.mu.Lock()
	wait := time.Until(h.until)
	h.mu.Unlock()
	if wait > 0 {
		pause(ctx, wait)
	}
}
