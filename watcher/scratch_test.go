package watcher

import (
	"reflect"
	"slices"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/registry"
)

// sameEvents compares all that events tell, and the suspects that they tell of.
func sameEvents(told, want []Event) bool {
	return slices.EqualFunc(told, want, func(a, b Event) bool {
		one, two := a.suspect, b.suspect
		a.suspect, b.suspect = nil, nil
		if one == nil || two == nil {
			return one == two && reflect.DeepEqual(a, b)
		}
		return reflect.DeepEqual(a, b) && *one.cell() == *two.cell() && one.deleted == two.deleted && one.safe == two.safe &&
			reflect.DeepEqual(one.cause.Load(), two.cause.Load())
	})
}

// What was told must not change when the next name, or the next revision, is looked at in the same place: a session with one scratch
// for all tells to the end what one tells that never uses anything twice.
func TestScratchIsNotToldOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fresh, s := testRules(registry.Filter{}), newStore()
		if rapid.Bool().Draw(t, "selection") {
			fresh.selection.Zone = "az1"
		}
		fresh.confirm = rapid.Bool().Draw(t, "confirm")
		reusing := fresh
		reusing.scratch = &scratch{}
		var told, want [][]Event
		one, two := s.view(fresh), s.view(fresh)
		take := func(a, b step) {
			one.apply(&a.patch)
			two.apply(&b.patch)
			told, want = append(told, a.events), append(want, b.events)
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "how") {
			case 0:
				s.txn(writes(t, s)...)
				take(s.diff(reusing, one), s.diff(fresh, two))
			case 1:
				take(reusing.confirmed(one, sortedNames(one.suspects)), fresh.confirmed(two, sortedNames(two.suspects)))
			default:
				events := s.txn(writes(t, s)...)
				live := rapid.Bool().Draw(t, "live")
				take(reusing.fold(one, s.rev, events, live), fresh.fold(two, s.rev, events, live))
			}
		}
		for i := range want {
			if !sameEvents(told[i], want[i]) {
				t.Fatalf("step %d: told\n%+v, want\n%+v", i, told[i], want[i])
			}
		}
		sameView(t, one, two)
	})
}

// A comparison that takes over what is known leads to the same view as a list that knows nothing, however often it is compared; and
// what it was given can be used again.
func TestComparisonLeadsToTheList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := testRules(registry.Filter{}), newStore()
		view := s.view(r)
		for range rapid.IntRange(1, 10).Draw(t, "rounds") {
			for range rapid.IntRange(0, 5).Draw(t, "unseen") {
				s.txn(writes(t, s)...)
			}
			given := view.Clone()
			names, foreign := s.names(r.keys)
			c := r.compare(given, s.rev)
			for _, keys := range names {
				lent := lend(&keys)
				c.take(lent)
				spoil(lent)
			}
			a := c.end(foreign)
			if !slices.IsSortedFunc(a.patch.cells[:len(a.patch.cells)-len(c.gone())], func(a, b named) int { return a.name.Compare(b.name) }) {
				t.Fatal("names are compared out of their order")
			}
			sameView(t, given, view) // comparing changed nothing of it
			view.apply(&a.patch)
			listed := s.view(r)
			sameView(t, view, listed)
			for name, c := range view.cells {
				if *c != *listed.cells[name] {
					t.Fatalf("%s is kept as %+v, want %+v", name, *c, *listed.cells[name])
				}
			}
		}
	})
}

// lend gives a copy of the keys of a name.
func lend(keys *registry.NameKeys) *registry.NameKeys {
	key := func(kv *mvccpb.KeyValue) *mvccpb.KeyValue {
		if kv == nil {
			return nil
		}
		return &mvccpb.KeyValue{Key: slices.Clone(kv.Key), Value: slices.Clone(kv.Value), ModRevision: kv.ModRevision, Lease: kv.Lease}
	}
	return &registry.NameKeys{
		Binary: slices.Clone(keys.Binary), Host: slices.Clone(keys.Host),
		Record: key(keys.Record), Alive: key(keys.Alive), Admin: key(keys.Admin),
	}
}

// spoil overwrites what was lent.
func spoil(keys *registry.NameKeys) {
	all := [][]byte{keys.Binary, keys.Host}
	for _, kv := range []*mvccpb.KeyValue{keys.Record, keys.Alive, keys.Admin} {
		all = append(all, kv.GetKey(), kv.GetValue())
	}
	for _, b := range all {
		for i := range b {
			b[i] = 'x'
		}
	}
}
