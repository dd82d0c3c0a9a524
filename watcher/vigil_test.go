package watcher

import (
	"testing"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// suspectsAt opens suspects, the first at the position.
func suspectsAt(position int64, names ...registry.Name) map[registry.Name]*suspect {
	out := make(map[registry.Name]*suspect)
	for i, name := range names {
		out[name] = &suspect{safe: position + int64(i)}
	}
	return out
}

func TestVigilRunsOnlyInContact(t *testing.T) {
	const gap = 2 * time.Second
	at := time.Now()
	v := newVigil(3 * time.Second)
	v.word(at, gap)
	v.follow(suspectsAt(10, vol1))
	for _, tt := range []struct {
		after time.Duration
		due   int
	}{
		{time.Second, 0},
		{time.Second, 0},
		{10 * time.Second, 0}, // silence does not count
		{time.Second - time.Millisecond, 0},
		{2 * time.Millisecond, 1},
		{time.Hour, 1}, // what is over stays over
	} {
		at = at.Add(tt.after)
		v.word(at, gap)
		if got := len(v.due()); got != tt.due {
			t.Errorf("after %v of contact %d are due, want %d", v.lived, got, tt.due)
		}
	}
}

func TestVigilGrowsWithSuspects(t *testing.T) {
	v := newVigil(2 * time.Second)
	var names []registry.Name
	for i := range 5000 {
		names = append(names, name(i))
	}
	v.follow(suspectsAt(10, names...))
	if got, want := v.need(), 7*time.Second; got != want {
		t.Errorf("5,000 suspects make the window %v, want %v", got, want)
	}
	back := make(map[registry.Name]*suspect)
	for _, n := range names[1000:] {
		back[n] = nil
	}
	v.follow(back)
	if got, want := v.need(), 7*time.Second; got != want {
		t.Errorf("with 1,000 left of them the window is %v, want %v: the last need the longest", got, want)
	}
	v.follow(suspectsAt(20000, vol1, vol2))
	for _, n := range names[:1000] {
		v.follow(map[registry.Name]*suspect{n: nil})
	}
	if got, want := v.need(), 2002*time.Millisecond; got != want {
		t.Errorf("when all of them are back the window is %v, want %v", got, want)
	}
	if newVigil(0).need() != 0 {
		t.Error("without a window nothing is waited for")
	}
}

func TestVigilPosition(t *testing.T) {
	v := newVigil(time.Second)
	want := func(position int64) {
		t.Helper()
		if got := v.position(100); got != position {
			t.Errorf("position %d, want %d", got, position)
		}
	}
	want(100)
	v.follow(suspectsAt(40, vol2))
	v.follow(suspectsAt(60, vol1))
	want(40)
	v.follow(map[registry.Name]*suspect{vol1: nil})
	want(40)
	v.follow(map[registry.Name]*suspect{vol2: nil})
	want(100)
	// Of a view, names are in no order of time.
	v.resume(&View{suspects: map[registry.Name]*suspect{vol1: {safe: 70}, vol2: {safe: 30}}})
	want(30)
	if len(v.due()) != 0 {
		t.Error("on resume a window begins again")
	}
}

func TestVigilWait(t *testing.T) {
	at := time.Now()
	v := newVigil(2 * time.Second)
	if _, open := v.wait(at); open {
		t.Error("nothing is open")
	}
	v.word(at, time.Second)
	v.follow(suspectsAt(10, vol1))
	if left, open := v.wait(at.Add(500 * time.Millisecond)); !open || left != 1500*time.Millisecond+confirmEach {
		t.Errorf("%v left, want 1.501s", left)
	}
}

// The window of a suspect that opens anew is a new one.
func TestVigilReopened(t *testing.T) {
	at := time.Now()
	v := newVigil(time.Second)
	v.word(at, time.Minute)
	v.follow(suspectsAt(10, vol1))
	v.word(at.Add(10*time.Second), time.Minute)
	old := v.due()
	v.follow(map[registry.Name]*suspect{vol1: nil})
	v.follow(suspectsAt(20, vol1))
	if len(old) != 1 || !old[0].closed || len(v.due()) != 0 {
		t.Errorf("%d were due, now %d; want the old one closed and the new one not due", len(old), len(v.due()))
	}
}
