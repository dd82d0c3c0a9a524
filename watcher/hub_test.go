package watcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

// A hubFollower believes what one reader of a hub is told.
type hubFollower struct {
	*observer
	r      *hubReader
	stale  bool
	resets int
}

func (f *hubFollower) believe(b Batch) error {
	switch b.Kind {
	case Snapshot:
		if f.observer != nil {
			return errors.New("a snapshot, and nobody said that what was told is void")
		}
		f.observer = newObserver(testRules(registry.Filter{}), &registry.Table{})
		for _, row := range b.Services {
			f.rows[row.Name()] = row
			if row.State == registry.Up {
				f.up[row.Name()] = *row.Incarnation
			}
		}
	case Reset:
		f.observer = nil
		f.resets++
	case Changes:
		if f.observer == nil {
			return errors.New("changes of nothing")
		}
		return f.take(b.Events)
	case Stale, Live:
		if f.stale == (b.Kind == Stale) {
			return fmt.Errorf("%s, again", b.Kind)
		}
		f.stale = b.Kind == Stale
	case Bookmark:
	}
	return nil
}

// step takes once, and says whether there may be more.
func (f *hubFollower) step() (bool, error) {
	batches, more, _ := f.r.take()
	for _, b := range batches {
		if err := f.believe(b); err != nil {
			return false, err
		}
	}
	return more == nil, nil
}

// drain takes all there is.
func (f *hubFollower) drain() error {
	for {
		if more, err := f.step(); err != nil || !more {
			return err
		}
	}
}

// Whatever happens, whoever comes when, and however slow he is: every reader of a hub ends up with the list, and nothing that he is
// told contradicts what he was told before.
func TestHubReadersAgree(t *testing.T) {
	slow, lost := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		rules, s := testRules(registry.Filter{}), newStore()
		h, stale := newTestHub(rules), false
		h.limits = hubLimits{events: 6, bytes: 1 << 20, names: rapid.IntRange(1, 6).Draw(t, "limit")}
		begin := func() {
			view, services, warnings := rules.begin(s.listing(rules))
			h.put(item{view: view, batch: Batch{Kind: Snapshot, Services: services, Warnings: warnings, Revision: s.rev}})
		}
		var followers []*hubFollower
		for range rapid.IntRange(10, 60).Draw(t, "steps") {
			switch kind := rapid.IntRange(0, 9).Draw(t, "step"); {
			case kind < 1 || len(followers) == 0:
				f := &hubFollower{r: &hubReader{hub: h}}
				h.readers[f.r] = struct{}{}
				followers = append(followers, f)
			case kind < 3:
				f := rapid.SampledFrom(followers).Draw(t, "reader")
				if f.r.debt != nil {
					slow++
				}
				if _, err := f.step(); err != nil {
					t.Fatal(err)
				}
			case kind == 3 && rapid.IntRange(0, 3).Draw(t, "what of contact") == 0:
				if stale = !stale; stale {
					h.put(item{batch: Batch{Kind: Stale}})
				} else {
					h.put(item{batch: Batch{Kind: Live}})
				}
			case h.view == nil || kind == 4 && rapid.IntRange(0, 9).Draw(t, "history is lost") == 0:
				if h.view != nil {
					h.put(item{batch: Batch{Kind: Reset}})
				}
				begin()
			default:
				events := s.txn(writes(t, s)...)
				step := rules.fold(h.view, s.rev, events, true)
				h.put(item{patch: &step.patch, silent: len(step.events) == 0, batch: Batch{Kind: Changes, Events: step.events}})
			}
		}
		if h.view == nil {
			begin()
		}
		for i, f := range followers {
			if err := f.drain(); err != nil {
				t.Fatalf("reader %d: %v", i, err)
			}
			if err := f.agrees(rules, s.table(testKeys)); err != nil || f.stale != stale {
				t.Fatalf("reader %d: %v, stale %v, want %v", i, err, f.stale, stale)
			}
			lost += f.resets
			f.r.leave()
		}
		if len(h.readers)+len(h.debts)+h.owed != 0 {
			t.Fatalf("left behind: %d readers, %d debts of %d names", len(h.readers), len(h.debts), h.owed)
		}
	})
	if slow == 0 || lost == 0 {
		t.Errorf("%d times a reader was behind, %d times too far: not tried", slow, lost)
	}
}

func newTestHub(r rules) *Hub {
	return &Hub{
		w: &Watcher{rules: r}, limits: defaultHubLimits, changed: make(chan struct{}),
		readers: make(map[*hubReader]struct{}), debts: make(map[int64]*hubDebt),
	}
}

// Many readers of one watch are all told everything, one that sleeps holds up nobody, and all end with it.
func TestHub(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		const names, readers = 20, 50
		lease := w.grant(3600)
		for i := range names {
			w.txn(putRecord(name(i)), putAlive(name(i), lease))
		}
		h, err := NewHub(s.Client(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		h.limits.events = 2 * names
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := h.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if err := h.Run(ctx); !errors.Is(err, ErrBusy) {
			t.Errorf("run twice: %v", err)
		}
		told := make([]*hubFollower, readers)
		wake := make(chan struct{})
		for i := range readers {
			told[i] = &hubFollower{}
			running.Go(func() {
				for b, err := range h.Watch(t.Context()) {
					if err != nil {
						if !errors.Is(err, ErrHubEnded) {
							t.Error(err)
						}
						return
					}
					if err := told[i].believe(b); err != nil {
						t.Errorf("reader %d: %v", i, err)
					}
					if i == 0 {
						<-wake
					}
				}
				t.Error("the sequence ended without a word")
			})
		}
		for range 5 {
			for i := range names {
				w.txn(del(testKeys.Alive(name(i))))
				w.txn(putAlive(name(i), lease))
			}
			time.Sleep(time.Second)
		}
		table, err := registry.Load(t.Context(), s.Client(), testKeys, 0)
		if err != nil {
			t.Fatal(err)
		}
		agree := func(which []*hubFollower) {
			synctest.Wait()
			for i, f := range which {
				if err := f.agrees(testRules(registry.Filter{}), table); err != nil {
					t.Errorf("reader %d: %v", i, err)
				}
			}
		}
		agree(told[1:])
		close(wake)
		agree(told[:1])
		cancel()
		running.Wait()
	})
}

func TestHubRefusals(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, _ writer) {
		for _, cfg := range []Config{
			{Confirm: time.Second},
			{OnMove: func(Move) error { return nil }},
			{Filter: registry.Filter{Zone: "az1"}},
			{Filter: registry.Filter{Labels: labels.SelectorFromSet(labels.Set{"a": "b"})}},
			{Prefix: "/"},
		} {
			if _, err := NewHub(s.Client(), cfg); !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", cfg, err)
			}
		}
		if _, err := NewHub(s.Client(), Config{Filter: registry.Filter{Binary: "vol"}}); err != nil {
			t.Error(err)
		}
	})
}
