package watcher

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

// A follower keeps a copy of a view by the JSON of its moves alone, as a program does that will be restarted.
type follower struct {
	view  View
	moves atomic.Int64 // read while a watch is under way
}

func (f *follower) take(m Move) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var read Move
	if err := json.Unmarshal(data, &read); err != nil {
		return fmt.Errorf("%w in %s", err, data)
	}
	f.moves.Add(1)
	return f.view.Apply(read)
}

// differs compares the JSON of both, which has everything.
func (f *follower) differs(want *View) error {
	got, err := json.Marshal(&f.view)
	if err != nil {
		return err
	}
	wanted, err := json.Marshal(want)
	if err != nil {
		return err
	}
	if string(got) != string(wanted) {
		return fmt.Errorf("the moves lead to\n%s, the view is\n%s", got, wanted)
	}
	return nil
}

// Whatever happens, seen, confirmed or found by comparing, told or held back: the moves lead to the acknowledged view.
func TestMovesLeadToTheView(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, s := testRules(registry.Filter{}), newStore()
		if rapid.Bool().Draw(t, "selection") {
			r.selection.Zone = "az1"
		}
		r.confirm = rapid.Bool().Draw(t, "confirm")
		var f follower
		w := &Watcher{view: s.view(r)}
		m := &moves{tell: f.take}
		now := time.Unix(0, 0)
		acknowledge := func(it item) {
			w.acknowledge(&it)
			told := m.add(&it, now)
			if !told {
				return
			}
			if err := w.tellMoves(m); err != nil {
				t.Fatal(err)
			}
			if err := f.differs(w.view); err != nil {
				t.Fatal(err)
			}
		}
		acknowledge(item{view: w.view})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 1200).Draw(t, "ms")) * time.Millisecond)
			var got step
			switch rapid.IntRange(0, 9).Draw(t, "how") {
			case 0:
				s.txn(writes(t, s)...)
				got = s.diff(r, w.view)
			case 1:
				got = r.confirmed(w.view, sortedNames(w.view.suspects))
			case 2:
				acknowledge(item{view: s.view(r)}) // after a reset
				continue
			case 3:
				acknowledge(item{}) // stale or live
				continue
			case 4:
				key := "/hb/\xff" + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "foreign")
				change := write{key: key, value: []byte("x")}
				if s.kvs[key] != nil && rapid.Bool().Draw(t, "gone") {
					change.value = nil
				}
				got = r.fold(w.view, s.rev+1, s.txn(change), true)
			default:
				events := s.txn(writes(t, s)...)
				got = r.fold(w.view, s.rev, events, true)
			}
			if rapid.Bool().Draw(t, "cause") {
				for i := range got.events {
					if e := &got.events[i]; e.lease != 0 && e.suspect != nil {
						cause := registry.CauseExpired
						e.suspect.cause.Store(&cause)
					}
				}
			}
			acknowledge(item{patch: &got.patch, silent: len(got.events) == 0})
		}
		if err := w.tellMoves(m); err != nil { // as at the end of a watch
			t.Fatal(err)
		}
		if err := f.differs(w.view); err != nil {
			t.Fatal(err)
		}
	})
}

// A real watch, through compaction and lost contact: after every batch the moves lead to what View gives.
func TestOnMove(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		var f follower
		var watching *Watcher
		var failed error
		client := s.NewClient()
		watching = must(New(client.Client, Config{OnMove: func(m Move) error {
			err := f.take(m)
			failed = errors.Join(failed, err, f.differs(watching.View()))
			return nil
		}}))
		lease := w.grant(3600)
		w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := watching.read(t, Now())
		r.want(Snapshot)
		w.txn(putRecord(vol2), putAlive(vol2, lease))
		r.events()
		w.txn(putRecord(vol2, report(2)))
		w.txn(putAdmin(vol1, disabled("x")))
		r.events()
		client.Cut()
		r.want(Stale)
		w.txn(del(testKeys.Alive(vol1)))
		w.compact(w.txn(del(testKeys.Record(vol1)), del(testKeys.Admin(vol1))))
		client.Heal()
		r.want(Live)
		r.events()
		before := f.moves.Load()
		for i := range 1000 {
			w.txn(putRecord(vol2, report(int64(i))))
		}
		r.quiet(holdMoves / 2)
		if told := f.moves.Load() - before; told > 2 { // the acknowledged comparison, and what came in the second before
			t.Errorf("%d moves of 1000 reports that mean nothing to the reader", told)
		}
		r.stop()
		if err := f.differs(watching.View()); err != nil {
			t.Errorf("at the end: %v", err)
		}
		if failed != nil {
			t.Error(failed)
		}
		if f.view.Revision() != w.txn(putRecord(vol2))-1 {
			t.Errorf("the position is %d", f.view.Revision())
		}
	})
}

// Who can't keep a move must not be told more: he would keep a view with a hole in it.
func TestOnMoveEndsTheWatch(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		full := errors.New("disk full")
		told := 0
		watching := must(New(s.Client(), Config{OnMove: func(m Move) error {
			if told++; m.View() == nil {
				return full
			}
			return nil
		}}))
		r := watching.read(t, Now())
		r.want(Snapshot)
		w.txn(putRecord(vol1))
		w.txn(putRecord(vol2))
		r.events()
		r.acknowledge()
		if err := r.fails(); !errors.Is(err, full) || told != 2 {
			t.Errorf("after %d moves: %v", told, err)
		}
	})
}

func TestMoveRefuses(t *testing.T) {
	r, s := testRules(registry.Filter{}), newStore()
	view := s.view(r)
	events := s.txn(putRecord(vol1))
	got := r.fold(view, s.rev, events, true)
	view.apply(&got.patch)
	move := Move{part: view.only([]registry.Name{vol1}), names: []registry.Name{vol1}}
	var empty View
	if err := empty.Apply(move); !errors.Is(err, ErrInvalid) {
		t.Errorf("an empty view was moved: %v", err)
	}
	if err := view.Apply(Move{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an empty move was applied: %v", err)
	}
	events = s.txn(putRecord(vol2))
	got = r.fold(view, s.rev, events, true)
	view.apply(&got.patch)
	if err := view.Apply(move); !errors.Is(err, ErrInvalid) || view.Revision() != s.rev {
		t.Errorf("the view went back: %v", err)
	}
	for _, text := range []string{
		``, `[]`, `{}`, `{"revision":0}`, `{"revision":5,"instances":[{"binary":"","host":"a"}]}`,
		`{"revision":5,"instances":[{"binary":"a","host":"b","alive":{"revision":1,"lease":"x","value":{}}}]}`, `{"view":{}}`, `{"revision":1,"revision":2}`,
	} {
		var m Move
		if err := m.UnmarshalJSON([]byte(text)); !errors.Is(err, ErrInvalid) || m.part != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestViewCheck(t *testing.T) {
	view := newStore().view(testRules(registry.Filter{Zone: "az1"}))
	for want, cfg := range map[string]Config{
		"":                                  {Filter: registry.Filter{Zone: "az1"}},
		"of prefix /hb/, not":               {Prefix: "/other/", Filter: registry.Filter{Zone: "az1"}},
		`"zone=az1;", not with "zone=az2;"`: {Filter: registry.Filter{Zone: "az2"}},
	} {
		switch err := view.Check(cfg); {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want)):
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
