package watcher

import (
	"errors"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/registry"
)

// What is compared takes over what was not written since, and so what was worked out of it; nothing else.
func TestComparisonKeepsWhatIsKnown(t *testing.T) {
	rules, s := testRules(registry.Filter{}), crowd(4)
	known := s.view(rules)
	for i := range 3 {
		s.txn(putRecord(name(i), zone("other")))
	}
	s.kvs[testKeys.Alive(name(1))].Lease = 77 // as another history may have it: the same revision, and something else
	s.kvs[testKeys.Record(name(2))].ModRevision = known.cells[name(2)].record.revision
	s.txn(write{key: testKeys.Admin(name(2)), value: []byte("{}")})
	cells := make(map[registry.Name]*cell)
	for _, c := range s.diff(rules, known).patch.cells {
		cells[c.name] = c.cell
	}
	if len(cells) != 3 {
		t.Errorf("%d cells are new, want those of 3 names", len(cells))
	}
	for i, want := range []struct {
		process bool
		lease   int64
		zone    string
	}{{true, 1, "other"}, {false, 77, "other"}, {true, 1, "other"}} {
		c, was := cells[name(i)], known.cells[name(i)]
		if (c.process != 0 && c.process == was.process) != want.process || c.lease != want.lease || (c.alive == was.alive) != want.process {
			t.Errorf("%d: alive %+v, was %+v", i, c, was)
		}
		if e := c.entry(name(i)); e.Record.Value.Zone != want.zone {
			t.Errorf("%d: record %+v, was %+v", i, c.record, was.record)
		}
	}
}

// What is gone is told between what changed, in the order of names.
func TestComparisonIsInOrder(t *testing.T) {
	rules, s := testRules(registry.Filter{}), crowd(3*pieceOfEvents)
	known := s.view(rules)
	var want []registry.Name
	for i := range 3 * pieceOfEvents {
		switch want = append(want, name(i)); i % 3 {
		case 0:
			s.txn(putRecord(name(i), zone("other")))
		case 1:
			s.txn(del(testKeys.Alive(name(i))), del(testKeys.Record(name(i))))
			want = append(want, name(i)) // down, and forgotten
		default:
			s.txn(del(testKeys.Alive(name(i))))
		}
	}
	var got []registry.Name
	for _, e := range s.diff(rules, known).events {
		got = append(got, e.Name)
	}
	slices.SortStableFunc(want, registry.Name.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("%d events are told, want %d in the order of their names", len(got), len(want))
	}
}

// However a value begins, its text gives it back, and holds it and no other.
func TestTextsHoldValues(t *testing.T) {
	values := []string{"", "{}", "x", "%", "~", `{"schema":1,"binary":"`, `{"schema":1,"binary":"a"}`, `{"schema":1,"registration":"a"}`, `{"schema":1,"registration":"b"}`}
	var c cell
	for _, v := range values {
		s := stored{revision: 1, text: shorten(v)}
		if v == "%" || v == "~" {
			continue // no JSON object: such a value is not kept, see put
		}
		if got := string(s.appendValue(nil)); got != v || s.value() != v {
			t.Errorf("%q became %q and %q", v, got, s.value())
		}
		for _, other := range values {
			if s.holds([]byte(other)) != (other == v) {
				t.Errorf("%q holds %q", v, other)
			}
		}
	}
	c.put(registry.FamilyRecord, &mvccpb.KeyValue{ModRevision: 1, Value: []byte("%")})
	if c.record.readable() {
		t.Error("what is no JSON object is kept as if it were")
	}
}

// Whoever is told that etcd was heard is told so by one goroutine, whatever reads beside it, and by pages too.
func TestReadingIsHeard(t *testing.T) {
	rules, s := testRules(registry.Filter{}), crowd(6000)
	view := s.view(rules)
	heard := 0
	hear := func() { heard++ }
	l, err := rules.list(t.Context(), s, 0, time.Second, hear)
	if err != nil || len(l.cells) != 6000 || heard != 12 {
		t.Errorf("listing 12,000 keys: heard %d times, %v", heard, err)
	}
	heard = 0
	step, err := rules.differ(t.Context(), s, view, time.Second, hear, func(*pb.ResponseHeader) error { return nil })
	if err != nil || len(step.events) != 0 || heard != 6 {
		t.Errorf("comparing 6,000 names: heard %d times, %v, told %v", heard, err, tell(step.events))
	}
	if step, err := rules.differ(t.Context(), s, view, time.Second, hear, func(*pb.ResponseHeader) error { return errStrange }); !errors.Is(err, errStrange) || heard != 6 {
		t.Errorf("a history that is none to compare with: %v, %v", step, err)
	}
}
