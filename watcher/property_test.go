package watcher

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/registry"
)

// An observer is a reader that believes every word: what it holds must be what a list says.
type observer struct {
	rows map[registry.Name]registry.Service
	up   map[registry.Name]int64 // the incarnation that was told up
}

func newObserver(r rules, table *registry.Table) *observer {
	o := &observer{rows: make(map[registry.Name]registry.Service), up: make(map[registry.Name]int64)}
	for _, row := range table.Snapshot(r.keys, r.selection.Filter).Services {
		o.rows[row.Name()] = row
		if row.State == registry.Up {
			o.up[row.Name()] = *row.Incarnation
		}
	}
	return o
}

// take folds events and refuses what breaks the promise that ups and downs alternate, one down for each incarnation.
func (o *observer) take(events []Event) error {
	for _, e := range events {
		switch e.Kind {
		case Warning:
			continue
		case Up:
			if told, already := o.up[e.Name]; already {
				return fmt.Errorf("%s up %d while %d is up", e.Name, e.Incarnation, told)
			}
			o.up[e.Name] = e.Incarnation
		case Down:
			if told := o.up[e.Name]; told != e.Incarnation || told == 0 {
				return fmt.Errorf("%s down %d while %d is up", e.Name, e.Incarnation, told)
			}
			delete(o.up, e.Name)
		case Forgotten:
			if _, up := o.up[e.Name]; up {
				return fmt.Errorf("%s forgotten while up", e.Name)
			}
			delete(o.rows, e.Name)
			continue
		}
		if (e.Kind == Up) != (e.Service.State == registry.Up) && (e.Kind == Up || e.Kind == Down) {
			return fmt.Errorf("%s %s with the row %s", e.Name, e.Kind, e.Service.State)
		}
		o.rows[e.Name] = e.Service
	}
	return nil
}

// promised is what the fold of the events must have in common with a list.
type promised struct {
	Zone        *string
	Labels      map[string]string
	Endpoints   []string
	Status      *registry.Status
	State       registry.State
	Incarnation *int64
	Present     bool
	Reason      *string
}

func promise(s registry.Service) promised {
	return promised{s.Zone, s.Labels, s.Endpoints, s.Status, s.State, s.Incarnation, s.Present, s.DisabledReason}
}

// agrees compares with a list at the table's revision.
func (o *observer) agrees(r rules, table *registry.Table) error {
	listed := table.Snapshot(r.keys, r.selection.Filter).Services
	if len(listed) != len(o.rows) {
		return fmt.Errorf("%d rows, the list has %d", len(o.rows), len(listed))
	}
	for _, row := range listed {
		got, there := o.rows[row.Name()]
		if !there {
			return fmt.Errorf("no row %s", row.Name())
		}
		if !reflect.DeepEqual(promise(got), promise(row)) {
			return fmt.Errorf("%s is %+v, the list has %+v", row.Name(), got, row)
		}
		if _, up := o.up[row.Name()]; up != (row.State == registry.Up) {
			return fmt.Errorf("%s was told up: %v, the list has %s", row.Name(), up, row.State)
		}
	}
	return nil
}

// writes draws one transaction over the three families of a few names.
func writes(t *rapid.T, s *store) []write {
	names := []registry.Name{vol1, vol2, {Binary: "sched", Host: "n1"}}
	var out []write
	for range rapid.IntRange(1, 4).Draw(t, "writes") {
		n := rapid.SampledFrom(names).Draw(t, "name")
		w := []func() write{
			func() write { return putAlive(n, rapid.Int64Range(0, 3).Draw(t, "lease")) },
			func() write { return del(testKeys.Alive(n)) },
			func() write { return recordWrite(t, s, n) },
			func() write { return del(testKeys.Record(n)) },
			func() write { return adminWrite(t, s, n) },
			func() write { return del(testKeys.Admin(n)) },
		}[rapid.IntRange(0, 5).Draw(t, "kind")]()
		// etcd refuses a transaction that writes a key twice.
		if !slices.ContainsFunc(out, func(x write) bool { return x.key == w.key }) {
			out = append(out, w)
		}
	}
	return out
}

func recordWrite(t *rapid.T, s *store, n registry.Name) write {
	if rapid.IntRange(0, 9).Draw(t, "junk") == 0 {
		return write{key: testKeys.Record(n), value: []byte("junk")}
	}
	return putRecord(n, func(r *registry.Record) {
		r.Zone = rapid.SampledFrom([]string{"az1", "az2"}).Draw(t, "zone")
		r.ReportCount = rapid.Int64Range(0, 1).Draw(t, "reports")
		if rapid.Bool().Draw(t, "labelled") {
			r.Labels = map[string]string{"rack": rapid.SampledFrom([]string{"1", "2"}).Draw(t, "rack")}
		}
		if rapid.IntRange(0, 2).Draw(t, "announced") == 0 {
			r.Ended = &registry.Ended{Cause: registry.CauseLeft, Incarnation: rapid.Int64Range(1, s.rev).Draw(t, "ended")}
		}
	})
}

func adminWrite(t *rapid.T, s *store, n registry.Name) write {
	if rapid.IntRange(0, 9).Draw(t, "junk") == 0 {
		return write{key: testKeys.Admin(n), value: []byte("{}")}
	}
	var a registry.Admin
	if rapid.Bool().Draw(t, "disabled") {
		a.Disabled = &registry.Word{Reason: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "why")}
	}
	if rapid.Bool().Draw(t, "forced") {
		a.ForcedDown = &registry.Word{Reason: "z"}
	}
	if rapid.Bool().Draw(t, "evicted") {
		a.Evicted = &registry.Evict{Incarnation: rapid.Int64Range(1, s.rev).Draw(t, "evicted incarnation")}
	}
	return putAdmin(n, a)
}

// The fold of all events equals the list, at every revision; and what the view remembers is what etcd holds.
func TestFoldEqualsList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := testRules(registry.Filter{}), newStore()
		view := s.view(r)
		o := newObserver(r, s.table(testKeys))
		for range rapid.IntRange(1, 30).Draw(t, "revisions") {
			events := s.txn(writes(t, s)...)
			got := r.fold(view, s.rev, events, true)
			view.apply(&got.patch)
			if err := o.take(got.events); err != nil {
				t.Fatal(err)
			}
			if err := o.agrees(r, s.table(testKeys)); err != nil {
				t.Fatalf("at %d after %v: %v", s.rev, tell(got.events), err)
			}
			sameView(t, view, s.view(r))
		}
	})
}

// Whatever was missed, a comparison leads to the same end as having seen it all, with every promise kept.
func TestDiffEqualsList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := testRules(registry.Filter{}), newStore()
		view := s.view(r)
		o := newObserver(r, s.table(testKeys))
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			for range rapid.IntRange(0, 8).Draw(t, "unseen") {
				s.txn(writes(t, s)...)
			}
			got := s.diff(r, view)
			view.apply(&got.patch)
			if err := o.take(got.events); err != nil {
				t.Fatalf("%v in %v", err, tell(got.events))
			}
			if err := o.agrees(r, s.table(testKeys)); err != nil {
				t.Fatalf("after %v: %v", tell(got.events), err)
			}
			sameView(t, view, s.view(r))
		}
	})
}

// With a selection a reader still gets exactly one down for every incarnation that it was told is up.
func TestSelectionOwesDowns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := testRules(registry.Filter{Zone: "az1"}), newStore()
		view := s.view(r)
		up := make(map[registry.Name]int64)
		for range rapid.IntRange(1, 30).Draw(t, "revisions") {
			before := maps.Clone(view.cells)
			events := s.txn(writes(t, s)...)
			got := r.fold(view, s.rev, events, true)
			if rapid.IntRange(0, 4).Draw(t, "compare") == 0 {
				got = s.diff(r, view)
			}
			view.apply(&got.patch)
			for _, e := range got.events {
				switch {
				case e.Kind == Warning || e.Kind == Forgotten:
					continue
				case e.Kind == Down && up[e.Name] != 0 && up[e.Name] != e.Incarnation:
					t.Fatalf("%s down %d, but %d was told up", e.Name, e.Incarnation, up[e.Name])
				case e.Service.State == registry.Up:
					up[e.Name] = *e.Service.Incarnation
				default:
					delete(up, e.Name)
				}
			}
			for name, incarnation := range up {
				if e := view.cells[name].entry(name); e.State() != registry.Up || e.Alive.Rev != incarnation {
					t.Fatalf("%s was told up as %d and never down; was %+v", name, incarnation, before[name].entry(name))
				}
			}
		}
	})
}

// A view survives its JSON.
func TestViewJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := testRules(registry.Filter{Zone: "az1"}), newStore()
		view := s.view(r)
		for range rapid.IntRange(1, 20).Draw(t, "revisions") {
			events := s.txn(append(writes(t, s), write{key: "/hb/\xff" + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "foreign"), value: []byte("x")})...)
			got := r.fold(view, s.rev, events, true)
			view.apply(&got.patch)
		}
		data, err := json.Marshal(view)
		if err != nil {
			t.Fatal(err)
		}
		var read View
		if err := json.Unmarshal(data, &read); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		sameView(t, &read, view)
		if !maps.Equal(read.owed, view.owed) || read.cluster != view.cluster || read.selection != view.selection || read.prefix != view.prefix {
			t.Errorf("read back %+v, want %+v", read, *view)
		}
		if again := s.diff(r, &read); len(again.events) > 0 {
			t.Errorf("the view read back differs: %v", tell(again.events))
		}
	})
}

func sameView(t *rapid.T, got, want *View) {
	t.Helper()
	if got.revision != want.revision || !maps.Equal(got.foreign, want.foreign) || len(got.cells) != len(want.cells) {
		t.Fatalf("view at %d with %d entries and foreign %v, want %d, %d, %v",
			got.revision, len(got.cells), got.foreign, want.revision, len(want.cells), want.foreign)
	}
	for name, c := range want.cells {
		e, other := c.entry(name), got.cells[name].entry(name)
		if got.cells[name] == nil || !got.cells[name].same(c) || got.cells[name].lease != c.lease || !reflect.DeepEqual(other.Service(), e.Service()) || !reflect.DeepEqual(texts(other), texts(e)) {
			t.Fatalf("view has %+v, want %+v", other, e)
		}
	}
}

func texts(e *registry.Entry) []registry.Warning { return e.Warnings(testKeys) }
