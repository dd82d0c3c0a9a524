package main

import (
	"bufio"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

func ptr[T any](v T) *T { return &v }

// batches are some of each kind, with all that a line can have.
func batches() []watcher.Batch {
	at := time.Date(2026, 11, 23, 11, 0, 0, 123_000_000, time.FixedZone("CET", 3600))
	name := registry.Name{Binary: "web", Host: "n1"}
	up := registry.Service{
		Binary: "web", Host: "n1", Zone: ptr("az1"), Status: ptr(registry.Enabled), State: registry.Up, Present: true, Incarnation: ptr(int64(8)),
		Labels: map[string]string{}, Endpoints: []string{},
	}
	forced := up
	forced.State, forced.ForcedDown, forced.Cause = registry.Down, ptr(true), ptr(registry.CauseForced)
	disabled := up
	disabled.Status, disabled.DisabledReason, disabled.DisabledBy = ptr(registry.Disabled), ptr("bad \x1b[2J disk"), ptr("ann")
	unknown := registry.Service{Binary: "dark", Host: "n2", State: registry.Down, Cause: ptr(registry.CauseLost)}
	return []watcher.Batch{
		{Kind: watcher.Stale, ObservedAt: at, Since: at.Add(-time.Second), Reason: errors.New("no answer\nfrom anybody")},
		{Kind: watcher.Live, Cluster: 0xabc, Revision: 7, ObservedAt: at},
		{
			Kind: watcher.Snapshot, Cluster: 0xabc, Revision: 7, ObservedAt: at, Synced: true,
			Services: []registry.Service{unknown, up}, Warnings: []registry.Warning{{Key: "/hb/\xff", Problem: "foreign key"}},
		},
		{Kind: watcher.Changes, Cluster: 0xabc, Revision: 8, ObservedAt: at, Events: []watcher.Event{
			{Kind: watcher.Down, Name: name, Zone: ptr("az1"), Incarnation: 7, Cause: ptr(registry.CauseReplaced), DeletedRevision: 8, Service: up},
			{Kind: watcher.Up, Name: name, Zone: ptr("az1"), Incarnation: 8, PreviousIncarnation: 7, Service: up},
			{Kind: watcher.Disabled, Name: name, Zone: ptr("az1"), Incarnation: 8, Service: disabled},
			{Kind: watcher.Warning, Warning: &registry.Warning{Key: "/hb/admin/web/n1", Problem: "the value is empty"}},
		}},
		{Kind: watcher.Changes, Cluster: 0xabc, Revision: 9, ObservedAt: at, Events: []watcher.Event{
			{Kind: watcher.Updated, Name: name, Zone: ptr("az1"), Incarnation: 8, Present: ptr(false), Cause: ptr(registry.CauseFailed), CauseReason: ptr("exit status 3"), Service: forced},
		}},
		{Kind: watcher.Changes, Cluster: 0xabc, Revision: 10, ObservedAt: at, Events: []watcher.Event{
			{Kind: watcher.Down, Name: name, Incarnation: 8, Synthetic: true, Service: unknown},
			{Kind: watcher.Forgotten, Name: name, Incarnation: 8, Service: unknown},
			{Kind: "brand-new", Name: name, Service: up},
		}},
		{Kind: watcher.Bookmark, Cluster: 0xabc, Revision: 11, ObservedAt: at},
		{Kind: watcher.Reset, Cluster: 0xabc, Revision: 11, ObservedAt: at, Reason: errors.New("compacted")},
		{Kind: watcher.Bookmark, Cluster: 0xabc, Revision: 12, ObservedAt: at, Synced: true},
		{Kind: "brand-new", Cluster: 0xabc, Revision: 13, ObservedAt: at},
	}
}

func TestWatchLines(t *testing.T) {
	t.Parallel()
	for name, view := range map[string]*watchView{
		"text": {format: "text"}, "json": {format: "json", bookmarks: true}, "changes": {format: "text", onlyChanges: true}, "colored": {format: "text", colored: true},
	} {
		var b strings.Builder
		out := bufio.NewWriter(&b)
		for _, batch := range batches() {
			if err := view.write(out, &batch); err != nil {
				t.Fatal(err)
			}
			if out.Buffered() > 0 {
				t.Errorf("%s: a batch is not written before the next is asked for", name)
			}
		}
		golden(t, "watch."+name, b.String())
	}
}

// After a reset what is there must be told, also to who wanted changes only: it was told to forget what it had.
func TestWatchResetIsFollowedByWhatIsThere(t *testing.T) {
	t.Parallel()
	view := &watchView{format: "text", onlyChanges: true}
	snapshot := watcher.Batch{Kind: watcher.Snapshot, Revision: 7, Synced: true, Services: []registry.Service{{Binary: "vol", Host: "n1", State: registry.Up}}}
	for _, test := range []struct {
		batch watcher.Batch
		lines int
	}{
		{snapshot, 1}, // synced
		{watcher.Batch{Kind: watcher.Reset, Revision: 7}, 1},
		{snapshot, 2}, // present, synced
		{snapshot, 1},
	} {
		if lines := view.lines(&test.batch); len(lines) != test.lines {
			t.Errorf("%s: %d lines, want %d", test.batch.Kind, len(lines), test.lines)
		}
	}
}
