package watcher

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/registry"
)

// putAliveBy puts the alive key of a registration in a process of a machine.
func putAliveBy(n registry.Name, lease int64, registration string, pid int) write {
	h := &registry.Holder{Schema: registry.Schema, Registration: registration}
	if pid != 0 {
		h.PID, h.ProcessStart, h.MachineID, h.BootID, h.PIDNamespace = pid, "1", "m", "b", "n"
	}
	return write{key: testKeys.Alive(n), value: must(registry.EncodeHolder(h)), lease: lease}
}

// An act is what happens next, and what a reader with a confirmation window is told of it.
type act struct {
	now     []write
	over    bool // the window is over
	compare bool // nobody saw what happened: it is found by comparing
	want    []string
}

var suspicions = []struct {
	name   string
	before []write
	acts   []act
}{
	{
		"nobody comes back",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{over: true, want: []string{"down vol/n1 inc=2 deleted=3 zone=az1 state=down"}},
			{over: true},
		},
	},
	{
		"the same registration comes back",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "r1", 0)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putAliveBy(vol1, 8, "r1", 0)}, want: []string{"cleared vol/n1 inc=4 prev=2 zone=az1 state=up"}},
			{over: true},
		},
	},
	{
		"the same process comes back with another registration",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "r1", 7)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putAliveBy(vol1, 8, "r2", 7)}, want: []string{"cleared vol/n1 inc=4 prev=2 zone=az1 state=up"}},
		},
	},
	{
		"another process comes",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "r1", 7)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{
				now:  []write{putAliveBy(vol1, 8, "r2", 8)},
				want: []string{"down vol/n1 inc=2 deleted=3 zone=az1 state=down", "up vol/n1 inc=4 prev=2 zone=az1 state=up"},
			},
		},
	},
	{
		"a process that does not say who it is comes",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "", 0)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{
				now:  []write{putAliveBy(vol1, 8, "", 0)},
				want: []string{"down vol/n1 inc=2 deleted=3 zone=az1 state=down", "up vol/n1 inc=4 prev=2 zone=az1 state=up"},
			},
		},
	},
	{
		"a clean stop is told at once",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{{
			now:  []write{putRecord(vol1, ended("left", "bye", 2)), del(testKeys.Alive(vol1))},
			want: []string{"down vol/n1 inc=2 cause=left reason=bye deleted=3 zone=az1 state=down"},
		}},
	},
	{
		"an eviction is told at once",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{{
			now:  []write{putAdmin(vol1, evicted(2)), del(testKeys.Alive(vol1))},
			want: []string{"down vol/n1 inc=2 cause=evicted reason=moved deleted=3 zone=az1 state=down"},
		}},
	},
	{
		"a takeover is told at once",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "r1", 7)},
		[]act{{
			now:  []write{putAliveBy(vol1, 8, "r2", 8)},
			want: []string{"down vol/n1 inc=2 cause=replaced zone=az1 state=down", "up vol/n1 inc=3 prev=2 zone=az1 state=up"},
		}},
	},
	{
		"a process that puts its own key anew was never down",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "r1", 7)},
		[]act{{now: []write{putAliveBy(vol1, 8, "r1", 7)}, want: []string{"cleared vol/n1 inc=3 prev=2 zone=az1 state=up"}}},
	},
	{
		"forced is told at once",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{{now: []write{putAdmin(vol1, forced("fire"))}, want: []string{"down vol/n1 inc=2 cause=forced reason=fire zone=az1 state=down"}}},
	},
	{
		"unleased is told at once",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{{now: []write{putAlive(vol1, 0)}, want: []string{
			"down vol/n1 inc=2 cause=unleased reason=the alive key was put again without a lease zone=az1 state=down",
			"warning vol/n1 key=/hb/alive/vol/n1",
		}}},
	},
	{
		"the end of a suspect is announced",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putRecord(vol1, ended("failed", "oops", 2))}, want: []string{"down vol/n1 inc=2 cause=failed reason=oops deleted=3 zone=az1 state=down"}},
			{over: true},
		},
	},
	{
		"a suspect is evicted",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putAdmin(vol1, evicted(2))}, want: []string{"down vol/n1 inc=2 cause=evicted reason=moved deleted=3 zone=az1 state=down"}},
		},
	},
	{
		"a suspect is forced down, and comes back under force",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putAdmin(vol1, forced("fire"))}, want: []string{
				"down vol/n1 inc=2 cause=forced reason=fire zone=az1 state=down",
				"updated vol/n1 inc=2 deleted=3 present=false zone=az1 state=down",
			}},
			{over: true},
			{now: []write{putAlive(vol1, 8)}, want: []string{"updated vol/n1 inc=5 present=true zone=az1 state=down"}},
			{now: []write{del(testKeys.Admin(vol1))}, want: []string{"up vol/n1 inc=5 zone=az1 state=up"}},
		},
	},
	{
		"forced down in the revision in which it goes",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{{now: []write{putAdmin(vol1, forced("fire")), del(testKeys.Alive(vol1))}, want: []string{
			"down vol/n1 inc=2 cause=forced reason=fire zone=az1 state=down",
			"updated vol/n1 inc=2 deleted=3 present=false ask=9 zone=az1 state=down",
		}}},
	},
	{
		"what goes under force needs no suspicion",
		[]write{putRecord(vol1), putAlive(vol1, 9), putAdmin(vol1, forced("fire"))},
		[]act{{now: []write{del(testKeys.Alive(vol1))}, want: []string{"updated vol/n1 inc=2 deleted=3 present=false ask=9 zone=az1 state=down"}}},
	},
	{
		"other changes of a suspect",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putRecord(vol1, zone("az2"))}, want: []string{"updated vol/n1 inc=2 zone=az2 state=down"}},
			{now: []write{putAdmin(vol1, disabled("x"))}, want: []string{"disabled vol/n1 inc=2 zone=az2 state=down"}},
			{now: []write{putRecord(vol1, zone("az2"), report(3))}},
			{over: true, want: []string{"down vol/n1 inc=2 deleted=3 zone=az2 state=down"}},
		},
	},
	{
		"everything of it goes: forgotten only when it is down",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1)), del(testKeys.Record(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{over: true, want: []string{"down vol/n1 inc=2 deleted=3 state=down", "forgotten vol/n1 inc=2 state=down"}},
		},
	},
	{
		"everything of it goes, and it comes back",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1)), del(testKeys.Record(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putRecord(vol1), putAlive(vol1, 8)}, want: []string{"cleared vol/n1 inc=4 prev=2 zone=az1 state=up"}},
		},
	},
	{
		"its record goes later: forgotten only when it is down",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{del(testKeys.Record(vol1))}, want: []string{"updated vol/n1 inc=2 state=down"}},
			{over: true, want: []string{"down vol/n1 inc=2 deleted=3 state=down", "forgotten vol/n1 inc=2 state=down"}},
		},
	},
	{
		"forced down without anything left",
		[]write{putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 state=down"}},
			{now: []write{putAdmin(vol1, forced("fire"))}, want: []string{
				"down vol/n1 inc=2 cause=forced reason=fire state=down",
				"updated vol/n1 inc=2 deleted=3 present=false state=down",
				"forgotten vol/n1 inc=2 state=down",
			}},
		},
	},
	{
		"unleased after it went",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putAlive(vol1, 0)}, want: []string{"down vol/n1 inc=2 deleted=3 zone=az1 state=down", "warning vol/n1 key=/hb/alive/vol/n1"}},
		},
	},
	{
		"goes twice",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putAlive(vol1, 8)}, want: []string{"cleared vol/n1 inc=4 prev=2 zone=az1 state=up"}},
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=4 deleted=5 ask=8 zone=az1 state=down"}},
			{over: true, want: []string{"down vol/n1 inc=4 deleted=5 zone=az1 state=down"}},
			{now: []write{putAlive(vol1, 7)}, want: []string{"up vol/n1 inc=6 zone=az1 state=up"}},
		},
	},
	{
		"went while nobody looked",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, compare: true, want: []string{"suspect vol/n1 inc=2 cause=lost synthetic=true zone=az1 state=down"}},
			{compare: true},
			{over: true, want: []string{"down vol/n1 inc=2 cause=lost zone=az1 state=down"}},
		},
	},
	{
		"went and came back while nobody looked",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "r1", 7)},
		[]act{
			{now: []write{putAliveBy(vol1, 8, "r1", 7)}, compare: true, want: []string{"cleared vol/n1 inc=3 prev=2 synthetic=true zone=az1 state=up"}},
		},
	},
	{
		"another one came while nobody looked",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "r1", 7)},
		[]act{
			{now: []write{del(testKeys.Alive(vol1))}, want: []string{"suspect vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"}},
			{now: []write{putAliveBy(vol1, 8, "r2", 8)}, compare: true, want: []string{
				"down vol/n1 inc=2 deleted=3 synthetic=true zone=az1 state=down", "up vol/n1 inc=4 prev=2 synthetic=true zone=az1 state=up",
			}},
		},
	},
	{
		"left while nobody looked, and is there again",
		[]write{putRecord(vol1), putAliveBy(vol1, 9, "r1", 7)},
		[]act{{
			now: []write{putRecord(vol1, ended("left", "", 2)), putAliveBy(vol1, 8, "r2", 7)}, compare: true,
			want: []string{
				"down vol/n1 inc=2 cause=left synthetic=true zone=az1 state=down", "up vol/n1 inc=3 prev=2 synthetic=true zone=az1 state=up",
			},
		}},
	},
	{
		"left while nobody looked",
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]act{{
			now: []write{putRecord(vol1, ended("left", "", 2)), del(testKeys.Alive(vol1))}, compare: true,
			want: []string{"down vol/n1 inc=2 cause=left synthetic=true zone=az1 state=down"},
		}},
	},
}

func TestSuspicion(t *testing.T) {
	for _, tt := range suspicions {
		t.Run(tt.name, func(t *testing.T) {
			r, s := testRules(registry.Filter{}), newStore()
			r.confirm = true
			s.txn(tt.before...)
			view := s.view(r)
			for i, a := range tt.acts {
				events := s.txn(a.now...)
				var got step
				switch {
				case a.over:
					got = r.confirmed(view, sortedNames(view.suspects))
				case a.compare:
					got = s.diff(r, view)
				default:
					got = r.fold(view, s.rev, events, true)
				}
				recall(got.events)
				view.apply(&got.patch)
				if i == 0 && len(got.patch.suspects) > 0 && !a.compare && view.position() != s.rev-1 {
					t.Errorf("a bare position is %d, which passes the suspect of revision %d", view.position(), s.rev)
				}
				wantLines(t, tell(got.events), a.want)
				view = throughJSON(t, view)
			}
			if len(view.suspects) == 0 && view.position() != view.revision {
				t.Errorf("position %d at revision %d with no suspect open", view.position(), view.revision)
			}
		})
	}
}

// throughJSON gives the view that a reader has who was restarted.
func throughJSON(t interface {
	Fatal(args ...any)
}, v *View,
) *View {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var read View
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(fmt.Errorf("%w in %s", err, data))
	}
	return &read
}

// What was learned of the lease while it was suspected is the cause of the down, also for who was restarted in between.
func TestSuspicionKeepsTheCause(t *testing.T) {
	r, s := testRules(registry.Filter{}), newStore()
	r.confirm = true
	s.txn(putRecord(vol1), putAlive(vol1, 9))
	view := s.view(r)
	events := s.txn(del(testKeys.Alive(vol1)))
	got := r.fold(view, s.rev, events, true)
	view.apply(&got.patch)
	asked := &question{answers: map[int64]registry.Cause{9: registry.CauseExpired}}
	asked.settle(got.events)
	wantLines(t, tell(got.events), []string{"suspect vol/n1 inc=2 cause=expired deleted=3 ask=9 zone=az1 state=down"})
	view = throughJSON(t, view)
	down := r.confirmed(view, []registry.Name{vol1})
	recall(down.events)
	wantLines(t, tell(down.events), []string{"down vol/n1 inc=2 cause=expired deleted=3 zone=az1 state=down"})
	if c := down.events[0].Service.Cause; c == nil || *c != registry.CauseExpired {
		t.Errorf("the row has the cause %v", c)
	}
}

// A believer is a reader with a confirmation window: what it holds must be what the rules allow.
type believer struct {
	up       map[registry.Name]int64
	suspects map[registry.Name]int64
}

func (b *believer) take(events []Event) error {
	for _, e := range events {
		told, up := b.up[e.Name]
		suspected, suspect := b.suspects[e.Name]
		switch e.Kind {
		case Up:
			if up {
				return fmt.Errorf("%s up %d while %d is up", e.Name, e.Incarnation, told)
			}
			b.up[e.Name] = e.Incarnation
		case Suspect:
			if told != e.Incarnation || suspect {
				return fmt.Errorf("%s suspect %d while %d is up and %d suspect", e.Name, e.Incarnation, told, suspected)
			}
			b.suspects[e.Name] = e.Incarnation
		case Cleared:
			if told != e.PreviousIncarnation || suspect && suspected != e.PreviousIncarnation || e.Incarnation <= told {
				return fmt.Errorf("%s cleared %d to %d while %d is up", e.Name, e.PreviousIncarnation, e.Incarnation, told)
			}
			b.up[e.Name] = e.Incarnation
			delete(b.suspects, e.Name)
		case Down:
			if !up || told != e.Incarnation {
				return fmt.Errorf("%s down %d while %d is up", e.Name, e.Incarnation, told)
			}
			delete(b.up, e.Name)
			delete(b.suspects, e.Name)
		case Forgotten:
			if up {
				return fmt.Errorf("%s forgotten while up", e.Name)
			}
		case Updated, Enabled, Disabled, Warning:
		}
	}
	return nil
}

// Whatever happens, seen or not: suspects open and close once, each incarnation told up ends once, nothing announced waits, and a
// reader who confirms everything believes what a list says.
func TestSuspicionHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := testRules(registry.Filter{}), newStore()
		r.confirm = true
		view := s.view(r)
		b := &believer{up: map[registry.Name]int64{}, suspects: map[registry.Name]int64{}}
		for range rapid.IntRange(1, 30).Draw(t, "revisions") {
			before := maps.Clone(b.suspects)
			var got step
			switch rapid.IntRange(0, 5).Draw(t, "how") {
			case 0:
				s.txn(writes(t, s)...)
				s.txn(writes(t, s)...)
				got = s.diff(r, view)
			case 1:
				got = r.confirmed(view, sortedNames(view.suspects))
			default:
				events := s.txn(writes(t, s)...)
				got = r.fold(view, s.rev, events, true)
			}
			position := view.position()
			view.apply(&got.patch)
			if view.position() < position {
				t.Fatalf("the position went back from %d to %d", position, view.position())
			}
			if err := b.take(got.events); err != nil {
				t.Fatalf("%v in %v", err, tell(got.events))
			}
			view = throughJSON(t, view)
			believes(t, view, b, s.table(testKeys), before)
		}
	})
}

// believes compares what the reader believes with what is there.
func believes(t *rapid.T, view *View, b *believer, table *registry.Table, before map[registry.Name]int64) {
	t.Helper()
	for name, incarnation := range b.up {
		e := table.Entries[name]
		if b.suspects[name] != 0 {
			if view.suspects[name] == nil || view.suspects[name].alive.revision != incarnation || view.position() >= view.revision && before[name] == 0 {
				t.Fatalf("%s is a suspect, but not for the view at %d", name, view.revision)
			}
			if e != nil && (e.Alive.Rev != 0 || e.Forced()) {
				t.Fatalf("%s is a suspect although it is %+v", name, e)
			}
			continue
		}
		if e == nil || e.State() != registry.Up || e.Alive.Rev != incarnation {
			t.Fatalf("%s was told up as %d, but is %+v", name, incarnation, e)
		}
	}
	for name, e := range table.Entries {
		if e.State() == registry.Up && b.up[name] != e.Alive.Rev {
			t.Fatalf("%s is up as %d, told was %d", name, e.Alive.Rev, b.up[name])
		}
	}
	if len(view.suspects) != len(b.suspects) {
		t.Fatalf("%d suspects in the view, %d told", len(view.suspects), len(b.suspects))
	}
}

// With a selection too, a reader who was told up is told how it ended.
func TestSuspicionWithSelection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := testRules(registry.Filter{Zone: "az1"}), newStore()
		r.confirm = true
		view := s.view(r)
		up := make(map[registry.Name]int64)
		for range rapid.IntRange(1, 30).Draw(t, "revisions") {
			events := s.txn(writes(t, s)...)
			got := r.fold(view, s.rev, events, true)
			if rapid.IntRange(0, 4).Draw(t, "compare") == 0 {
				got = s.diff(r, view)
			}
			view.apply(&got.patch)
			if rapid.IntRange(0, 4).Draw(t, "over") == 0 {
				over := r.confirmed(view, sortedNames(view.suspects))
				view.apply(&over.patch)
				got.events = append(got.events, over.events...)
			}
			for _, e := range got.events {
				switch {
				case e.Kind == Down && up[e.Name] != 0 && up[e.Name] != e.Incarnation:
					t.Fatalf("%s down %d, but %d was told up", e.Name, e.Incarnation, up[e.Name])
				case e.Kind == Down:
					delete(up, e.Name)
				case e.Kind == Up, e.Kind == Cleared:
					up[e.Name] = e.Incarnation
				}
			}
			for name, incarnation := range up {
				e := view.cells[name].entry(name)
				if suspect := view.suspects[name]; suspect != nil && suspect.alive.revision == incarnation {
					continue
				}
				if e.State() != registry.Up || e.Alive.Rev != incarnation {
					t.Fatalf("%s was told up as %d and never down; is %+v", name, incarnation, e)
				}
			}
		}
	})
}
