package watcher

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/hbctl/hbctl/registry"
)

// foldCases: what one revision means, given what was there. The store begins at revision 1, so the first write has revision 2.
var foldCases = []struct {
	name   string
	before [][]write
	now    []write
	want   []string
}{
	{
		"registered", nil,
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]string{"up vol/n1 inc=2 zone=az1 state=up"},
	},
	{
		"record alone", nil,
		[]write{putRecord(vol1)},
		[]string{"updated vol/n1 zone=az1 state=down"},
	},
	{
		"alive alone", nil,
		[]write{putAlive(vol1, 9)},
		[]string{"up vol/n1 inc=2 state=up", "warning vol/n1 key=/hb/alive/vol/n1"},
	},
	{
		"alive without a lease", nil,
		[]write{putRecord(vol1), putAlive(vol1, 0)},
		[]string{"updated vol/n1 zone=az1 state=down", "warning vol/n1 key=/hb/alive/vol/n1"},
	},
	{"admin alone is no row", nil, []write{putAdmin(vol1, disabled("x"))}, nil},
	{
		"registers while disabled",
		[][]write{{putAdmin(vol1, disabled("x"))}},
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]string{"up vol/n1 inc=3 zone=az1 state=up"},
	},
	{
		"comes back",
		[][]write{{putRecord(vol1)}},
		[]write{putAlive(vol1, 9)},
		[]string{"up vol/n1 inc=3 zone=az1 state=up"},
	},
	{
		"comes back after leaving",
		[][]write{{putRecord(vol1, ended("left", "", 2))}},
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]string{"up vol/n1 inc=3 prev=2 zone=az1 state=up"},
	},

	{
		"left",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putRecord(vol1, ended("left", "bye", 2)), del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 cause=left reason=bye deleted=3 zone=az1 state=down"},
	},
	{
		"announced for another incarnation",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putRecord(vol1, ended("left", "bye", 1)), del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"},
	},
	{
		"a stale announcement explains nothing",
		[][]write{{putRecord(vol1, ended("left", "", 1)), putAlive(vol1, 9)}},
		[]write{del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"},
	},
	{
		"key went",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"},
	},
	{
		"death without a record",
		[][]write{{putAlive(vol1, 9)}},
		[]write{del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 deleted=3 ask=9 state=down", "forgotten vol/n1 inc=2 state=down"},
	},
	{
		"record and key go together",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{del(testKeys.Record(vol1)), del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down", "forgotten vol/n1 inc=2 zone=az1 state=down"},
	},
	{
		"evicted now",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putAdmin(vol1, evicted(2)), del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 cause=evicted reason=moved deleted=3 zone=az1 state=down"},
	},
	{
		"evicted before",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}, {putAdmin(vol1, evicted(3))}},
		[]write{del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 cause=evicted reason=moved deleted=4 zone=az1 state=down"},
	},
	{
		"an older eviction does not count",
		[][]write{{putAdmin(vol1, evicted(2))}, {putRecord(vol1), putAlive(vol1, 9)}},
		[]write{del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=3 deleted=4 ask=9 zone=az1 state=down"},
	},
	{
		"replaced",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putRecord(vol1, zone("az2")), putAlive(vol1, 8)},
		[]string{"down vol/n1 inc=2 cause=replaced zone=az2 state=down", "up vol/n1 inc=3 prev=2 zone=az2 state=up"},
	},
	{
		"put again by the same registration",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putAlive(vol1, 9)},
		[]string{"down vol/n1 inc=2 cause=replaced zone=az1 state=down", "up vol/n1 inc=3 prev=2 zone=az1 state=up"},
	},
	{
		"put without a lease",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putAlive(vol1, 0)},
		[]string{
			"down vol/n1 inc=2 cause=unleased reason=the alive key was put again without a lease zone=az1 state=down",
			"warning vol/n1 key=/hb/alive/vol/n1",
		},
	},
	{
		"the immortal goes",
		[][]write{{putRecord(vol1), putAlive(vol1, 0)}},
		[]write{del(testKeys.Alive(vol1))},
		[]string{"updated vol/n1 zone=az1 state=down"},
	},

	{"a report is no event", [][]write{{putRecord(vol1), putAlive(vol1, 9)}}, []write{putRecord(vol1, report(5))}, nil},
	{
		"zone changes",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putRecord(vol1, report(5), zone("az2"))},
		[]string{"updated vol/n1 inc=2 zone=az2 state=up"},
	},
	{
		"record goes while present",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{del(testKeys.Record(vol1))},
		[]string{"updated vol/n1 inc=2 state=up", "warning vol/n1 key=/hb/alive/vol/n1"},
	},
	{
		"forgotten",
		[][]write{{putRecord(vol1)}},
		[]write{del(testKeys.Record(vol1))},
		[]string{"forgotten vol/n1 zone=az1 state=down"},
	},
	{
		"forgotten, admin kept",
		[][]write{{putRecord(vol1), putAdmin(vol1, disabled("x"))}},
		[]write{del(testKeys.Record(vol1))},
		[]string{"forgotten vol/n1 zone=az1 state=down"},
	},

	{
		"disabled",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putAdmin(vol1, disabled("x"))},
		[]string{"disabled vol/n1 inc=2 zone=az1 state=up"},
	},
	{
		"enabled",
		[][]write{{putRecord(vol1), putAdmin(vol1, disabled("x"))}},
		[]write{del(testKeys.Admin(vol1))},
		[]string{"enabled vol/n1 zone=az1 state=down"},
	},
	{
		"reason of disabled changes",
		[][]write{{putRecord(vol1), putAdmin(vol1, disabled("x"))}},
		[]write{putAdmin(vol1, disabled("y"))},
		[]string{"updated vol/n1 zone=az1 state=down"},
	},
	{
		"disabled and zone change",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putRecord(vol1, zone("az2")), putAdmin(vol1, disabled("x"))},
		[]string{"updated vol/n1 inc=2 zone=az2 state=up", "disabled vol/n1 inc=2 zone=az2 state=up"},
	},
	{
		"disabled and dead",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putAdmin(vol1, disabled("x")), del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down", "disabled vol/n1 zone=az1 state=down"},
	},

	{
		"forced down",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putAdmin(vol1, forced("fire"))},
		[]string{"down vol/n1 inc=2 cause=forced reason=fire zone=az1 state=down"},
	},
	{
		"forced down when down",
		[][]write{{putRecord(vol1)}},
		[]write{putAdmin(vol1, forced("fire"))},
		[]string{"updated vol/n1 zone=az1 state=down"},
	},
	{
		"dies under force",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}, {putAdmin(vol1, forced("fire"))}},
		[]write{del(testKeys.Alive(vol1))},
		[]string{"updated vol/n1 inc=2 deleted=4 present=false ask=9 zone=az1 state=down"},
	},
	{
		"leaves under force",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}, {putAdmin(vol1, forced("fire"))}},
		[]write{putRecord(vol1, ended("left", "", 2)), del(testKeys.Alive(vol1))},
		[]string{"updated vol/n1 inc=2 cause=left deleted=4 present=false zone=az1 state=down"},
	},
	{
		"comes under force",
		[][]write{{putRecord(vol1), putAdmin(vol1, forced("fire"))}},
		[]write{putAlive(vol1, 9)},
		[]string{"updated vol/n1 inc=3 present=true zone=az1 state=down"},
	},
	{
		"appears under force",
		[][]write{{putAdmin(vol1, forced("fire"))}},
		[]write{putRecord(vol1), putAlive(vol1, 9)},
		[]string{"updated vol/n1 inc=3 present=true zone=az1 state=down"},
	},
	{
		"replaced under force",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}, {putAdmin(vol1, forced("fire"))}},
		[]write{putAlive(vol1, 8)},
		[]string{"updated vol/n1 inc=4 prev=2 cause=replaced present=true zone=az1 state=down"},
	},
	{
		"dies under force without a record",
		[][]write{{putAlive(vol1, 9)}, {putAdmin(vol1, forced("fire"))}},
		[]write{del(testKeys.Alive(vol1))},
		[]string{"updated vol/n1 inc=2 deleted=4 present=false ask=9 state=down", "forgotten vol/n1 inc=2 state=down"},
	},
	{
		"lifted when present",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}, {putAdmin(vol1, forced("fire"))}},
		[]write{del(testKeys.Admin(vol1))},
		[]string{"up vol/n1 inc=2 zone=az1 state=up"},
	},
	{
		"lifted when not present",
		[][]write{{putRecord(vol1), putAdmin(vol1, forced("fire"))}},
		[]write{del(testKeys.Admin(vol1))},
		[]string{"updated vol/n1 zone=az1 state=down"},
	},
	{
		"lifted and replaced",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}, {putAdmin(vol1, forced("fire"))}},
		[]write{del(testKeys.Admin(vol1)), putAlive(vol1, 8)},
		[]string{"up vol/n1 inc=4 prev=2 zone=az1 state=up"},
	},
	{
		"lifted and dead",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}, {putAdmin(vol1, forced("fire"))}},
		[]write{del(testKeys.Admin(vol1)), del(testKeys.Alive(vol1))},
		[]string{"updated vol/n1 inc=2 deleted=4 present=false ask=9 zone=az1 state=down"},
	},
	{
		"forced and replaced",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putAdmin(vol1, forced("fire")), putAlive(vol1, 8)},
		[]string{"down vol/n1 inc=2 cause=replaced zone=az1 state=down", "updated vol/n1 inc=3 prev=2 present=true zone=az1 state=down"},
	},
	{
		"forced and dead",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{putAdmin(vol1, forced("fire")), del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=2 deleted=3 ask=9 zone=az1 state=down"},
	},

	{
		"junk record",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[]write{{key: testKeys.Record(vol1), value: []byte("junk")}},
		[]string{"updated vol/n1 inc=2 state=up", "warning vol/n1 key=/hb/instances/vol/n1"},
	},
	{
		"other junk is not told again",
		[][]write{{{key: testKeys.Record(vol1), value: []byte("junk")}, putAlive(vol1, 9)}},
		[]write{{key: testKeys.Record(vol1), value: []byte("more junk")}},
		nil,
	},
	{
		"junk mended",
		[][]write{{{key: testKeys.Record(vol1), value: []byte("junk")}, putAlive(vol1, 9)}},
		[]write{putRecord(vol1)},
		[]string{"updated vol/n1 inc=2 zone=az1 state=up"},
	},
	{
		"junk admin",
		[][]write{{putRecord(vol1), putAlive(vol1, 9), putAdmin(vol1, disabled("x"))}},
		[]write{{key: testKeys.Admin(vol1), value: []byte("{}")}},
		[]string{"updated vol/n1 inc=2 zone=az1 state=up", "warning vol/n1 key=/hb/admin/vol/n1"},
	},
	{
		"junk holder", nil,
		[]write{putRecord(vol1), {key: testKeys.Alive(vol1), value: []byte("[]"), lease: 9}},
		[]string{"up vol/n1 inc=2 zone=az1 state=up", "warning vol/n1 key=/hb/alive/vol/n1"},
	},
	{"foreign key", nil, []write{{key: "/hb/other", value: []byte("x")}}, []string{"warning / key=/hb/other"}},
	{"foreign key again", [][]write{{{key: "/hb/other", value: []byte("x")}}}, []write{{key: "/hb/other", value: []byte("y")}}, nil},

	{
		"several names, in the order of lists",
		[][]write{{putRecord(vol2), putAlive(vol2, 9)}, {putRecord(vol1), putAlive(vol1, 9)}},
		[]write{del(testKeys.Alive(vol2)), del(testKeys.Alive(vol1))},
		[]string{"down vol/n1 inc=3 deleted=4 ask=9 zone=az1 state=down", "down vol/n2 inc=2 deleted=4 ask=9 zone=az1 state=down"},
	},
}

func TestFold(t *testing.T) {
	for _, tt := range foldCases {
		t.Run(tt.name, func(t *testing.T) {
			r, s := testRules(registry.Filter{}), newStore()
			for _, writes := range tt.before {
				s.txn(writes...)
			}
			view := s.view(r)
			events := s.txn(tt.now...)
			got := r.fold(view, s.rev, events, true)
			wantLines(t, tell(got.events), tt.want)
			// What is not live is never asked about: the lease may have gone for any reason since.
			replayed := r.fold(view, s.rev, events, false)
			if i := slices.IndexFunc(replayed.events, func(e Event) bool { return e.lease != 0 }); i >= 0 {
				t.Errorf("replayed %v asks about a lease", tell(replayed.events[i:]))
			}
		})
	}
}

func TestFoldCauseInRow(t *testing.T) {
	r, s := testRules(registry.Filter{}), newStore()
	s.txn(putRecord(vol1), putAlive(vol1, 9))
	view := s.view(r)
	events := s.txn(del(testKeys.Alive(vol1)))
	got := r.fold(view, s.rev, events, false)
	if len(got.events) != 1 || got.events[0].Service.Cause != nil {
		t.Errorf("told %v with the row's cause %v; want one down, its cause not guessed", tell(got.events), *got.events[0].Service.Cause)
	}
	s.txn(putRecord(vol1), putAlive(vol1, 9))
	view = s.view(r)
	events = s.txn(putAdmin(vol1, forced("fire")))
	got = r.fold(view, s.rev, events, true)
	if c := got.events[0].Service.Cause; c == nil || *c != registry.CauseForced {
		t.Errorf("row of a forced instance has the cause %v", c)
	}
}

// diffCases: what a reader is told who saw nothing of what happened in between.
var diffCases = []struct {
	name   string
	before [][]write
	unseen [][]write
	want   []string
}{
	{"nothing happened", [][]write{{putRecord(vol1), putAlive(vol1, 9)}}, nil, nil},
	{"only reports", [][]write{{putRecord(vol1), putAlive(vol1, 9)}}, [][]write{{putRecord(vol1, report(9))}}, nil},
	{
		"died",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{del(testKeys.Alive(vol1))}},
		[]string{"down vol/n1 inc=2 cause=lost synthetic=true zone=az1 state=down"},
	},
	{
		"died and came back",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{del(testKeys.Alive(vol1))}, {putAlive(vol1, 8)}},
		[]string{
			"down vol/n1 inc=2 cause=lost synthetic=true zone=az1 state=down",
			"up vol/n1 inc=4 prev=2 synthetic=true zone=az1 state=up",
		},
	},
	{
		"left",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{putRecord(vol1, ended("left", "bye", 2)), del(testKeys.Alive(vol1))}},
		[]string{"down vol/n1 inc=2 cause=left reason=bye synthetic=true zone=az1 state=down"},
	},
	{
		"came back and left",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{del(testKeys.Alive(vol1))}, {putAlive(vol1, 8)}, {putRecord(vol1, ended("left", "bye", 4)), del(testKeys.Alive(vol1))}},
		[]string{"down vol/n1 inc=2 cause=lost synthetic=true zone=az1 state=down"},
	},
	{
		"evicted",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{putAdmin(vol1, evicted(2)), del(testKeys.Alive(vol1))}},
		[]string{"down vol/n1 inc=2 cause=evicted reason=moved synthetic=true zone=az1 state=down"},
	},
	{
		"evicted and back",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{putAdmin(vol1, evicted(2)), del(testKeys.Alive(vol1))}, {putAlive(vol1, 8)}},
		[]string{
			"down vol/n1 inc=2 cause=evicted reason=moved synthetic=true zone=az1 state=down",
			"up vol/n1 inc=4 prev=2 synthetic=true zone=az1 state=up",
		},
	},
	{
		"forced",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{putAdmin(vol1, forced("fire"))}},
		[]string{"down vol/n1 inc=2 cause=forced reason=fire synthetic=true zone=az1 state=down"},
	},
	{
		"unleased",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{putAlive(vol1, 0)}},
		[]string{
			"down vol/n1 inc=2 cause=unleased reason=the alive key was put again without a lease synthetic=true zone=az1 state=down",
			"warning vol/n1 synthetic=true key=/hb/alive/vol/n1",
		},
	},
	{
		"vanished",
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}},
		[][]write{{del(testKeys.Record(vol1)), del(testKeys.Alive(vol1))}},
		[]string{"down vol/n1 inc=2 cause=lost synthetic=true zone=az1 state=down", "forgotten vol/n1 inc=2 synthetic=true zone=az1 state=down"},
	},
	{
		"appeared", nil,
		[][]write{{putRecord(vol1), putAlive(vol1, 9)}, {putRecord(vol2)}},
		[]string{"up vol/n1 inc=2 synthetic=true zone=az1 state=up", "updated vol/n2 synthetic=true zone=az1 state=down"},
	},
	{
		"appeared, and foreign keys came and went",
		[][]write{{{key: "/hb/old", value: []byte("x")}, {key: "/hb/stays", value: []byte("x")}}},
		[][]write{{del("/hb/old"), write{key: "/hb/new", value: []byte("x")}}},
		[]string{"warning / synthetic=true key=/hb/new"},
	},
}

func TestDiff(t *testing.T) {
	for _, tt := range diffCases {
		t.Run(tt.name, func(t *testing.T) {
			r, s := testRules(registry.Filter{}), newStore()
			for _, writes := range tt.before {
				s.txn(writes...)
			}
			view := s.view(r)
			for _, writes := range tt.unseen {
				s.txn(writes...)
			}
			got := s.diff(r, view)
			wantLines(t, tell(got.events), tt.want)
			view.apply(&got.patch)
			if again := s.diff(r, view); len(again.events)+len(again.patch.cells)+len(again.patch.foreign) > 0 {
				t.Errorf("a second comparison still finds %v", tell(again.events))
			}
			if want := s.view(r); !maps.Equal(view.foreign, want.foreign) || len(view.cells) != len(want.cells) || view.revision != want.revision {
				t.Errorf("the view is %+v, want %+v", view, want)
			}
		})
	}
}

func TestHugeValue(t *testing.T) {
	r, s := testRules(registry.Filter{}), newStore()
	view := s.view(r)
	events := s.txn(putRecord(vol2), write{key: testKeys.Record(vol1), value: append([]byte("{"), make([]byte, 1<<20)...)})
	got := r.fold(view, s.rev, events, true)
	view.apply(&got.patch)
	want := s.table(testKeys).Snapshot(testKeys, registry.Filter{}).Warnings
	if len(want) != 1 || len(got.events) != 3 || *got.events[1].Warning != want[0] {
		t.Errorf("told %v, want the warning of a list, %v", tell(got.events), want)
	}
	if kept := len(view.cells[vol1].record.text); kept > 200 {
		t.Errorf("%d bytes are kept of a value that can't be read", kept)
	}
}

func TestOnlyWhatCanBeSelectedIsKept(t *testing.T) {
	r, s := testRules(registry.Filter{Host: "n2"}), newStore()
	s.txn(putRecord(vol1), putRecord(vol2))
	view := s.view(r)
	events := s.txn(putRecord(vol1, zone("az2")), putRecord(vol2, zone("az2")))
	got := r.fold(view, s.rev, events, true)
	view.apply(&got.patch)
	if len(view.cells) != 1 || view.cells[vol2] == nil {
		t.Errorf("%d names are kept, want only %s", len(view.cells), vol2)
	}
}

func TestForeignKeysAreBounded(t *testing.T) {
	r, s := testRules(registry.Filter{}), newStore()
	view := s.view(r)
	told := 0
	for i := range maxForeign + 50 {
		events := s.txn(write{key: fmt.Sprintf("/hb/x%d", i), value: []byte("x")})
		got := r.fold(view, s.rev, events, true)
		told += len(got.events)
		view.apply(&got.patch)
	}
	if told != maxForeign || len(view.foreign) != maxForeign {
		t.Errorf("told %d foreign keys and kept %d, want %d", told, len(view.foreign), maxForeign)
	}
}

// Whatever differs in a row is told, but for what every beat of a service changes; of a status that is told already not again.
func TestDiffers(t *testing.T) {
	quiet := []string{"UpdatedAt", "ReportCount"}
	status := []string{"Status", "DisabledReason", "DisabledBy", "DisabledAt"}
	row := reflect.TypeFor[registry.Service]()
	for i := range row.NumField() {
		field := row.Field(i).Name
		for _, empty := range []bool{false, true} { // what is empty is not what is not known
			var c change
			value := reflect.ValueOf(&c.is).Elem().Field(i)
			switch kind := value.Kind(); {
			case kind == reflect.Pointer:
				value.Set(reflect.New(value.Type().Elem()))
			case kind == reflect.Map && empty:
				value.Set(reflect.ValueOf(map[string]string{}))
			case kind == reflect.Map:
				value.Set(reflect.ValueOf(map[string]string{"a": "b"}))
			case kind == reflect.Slice:
				value.Set(reflect.MakeSlice(value.Type(), map[bool]int{false: 1}[empty], 1))
			case kind == reflect.String:
				value.SetString("x")
			case kind == reflect.Bool:
				value.SetBool(true)
			}
			for _, told := range []bool{false, true} {
				want := !slices.Contains(quiet, field) && (!told || !slices.Contains(status, field))
				if got := c.differs(told); got != want {
					t.Errorf("another %s differs: %v, want %v", field, got, want)
				}
				c.was = c.is
				if c.differs(told) {
					t.Errorf("the same %s differs", field)
				}
				c.was = registry.Service{}
			}
		}
	}
}
