package registry

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/hbctl/hbctl/lease"
)

var (
	granting = &group{}
	granted  = &group{lease: &lease.Lease{}}
	left     = &Ended{Cause: CauseLeft}
	sick     = map[string]error{gateHealth: errors.New("sick")}
	unpetted = map[string]error{gateWatchdog: errors.New("not petted")}
)

func TestNext(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state state
		want  action
	}{
		{"a new one", state{joining: true}, acquire},
		{"its lease is being granted", state{joining: true, group: granting}, acquire},
		{"its lease is there", state{joining: true, group: granted}, put},
		{"not healthy yet", state{joining: true, unhealthy: sick}, rest},
		{"the name is held", state{joining: true, group: granted, asking: true}, ask},
		{"asked, so look again", state{joining: true, group: granted, verify: true}, read},

		{"published", state{group: granted, incarnation: 7}, rest},
		{"published and changed", state{group: granted, incarnation: 7, dirty: true}, rewrite},
		{"published and to be reported", state{group: granted, incarnation: 7, report: true}, rewrite},
		{"published, not trusted", state{group: granted, incarnation: 7, verify: true, dirty: true}, read},
		{"a put without an answer", state{group: granted, unsure: true, loose: true}, read},
		{"its key is gone", state{group: granted}, put},
		{"its lease is gone", state{}, acquire},
		{"changed, but not published", state{group: granted, dirty: true, report: true}, put},

		{"unhealthy", state{group: granted, incarnation: 7, unhealthy: sick}, withdraw},
		{"not petted", state{group: granted, incarnation: 7, unhealthy: unpetted}, withdraw},
		{"unhealthy and withdrawn", state{unhealthy: sick, withdrawn: 7}, rest},
		{"unhealthy, and a put may still arrive", state{group: granted, loose: true, unhealthy: sick}, seal},
		{"unhealthy, and a put without an answer", state{group: granted, unsure: true, loose: true, unhealthy: sick}, read},
		{"healthy again while its end is on the way", state{group: granted, incarnation: 7, withdrawn: 7}, withdraw},
		{"healthy again after its end", state{withdrawn: 7}, acquire},

		{"ending", state{group: granted, incarnation: 7, ending: left, dirty: true, verify: true}, withdraw},
		{"ending before it was published", state{joining: true, group: granted, ending: left}, release},
		{"ending while it asks", state{joining: true, group: granted, asking: true, verify: true, ending: left}, release},
		{"ending, and a put may still arrive", state{group: granted, loose: true, ending: left}, seal},
		{"ending, and a put without an answer", state{group: granted, unsure: true, ending: left}, read},
		{"ending and unhealthy", state{group: granted, incarnation: 7, ending: left, unhealthy: sick}, withdraw},
		{"ended", state{ending: left, withdrawn: 7}, release},
		{"ended and unhealthy", state{ending: left, unhealthy: sick}, release},

		{"busy", state{busy: true, incarnation: 7, ending: left, unsure: true}, rest},
		{"released", state{released: true, incarnation: 7, ending: left, loose: true}, rest},
	} {
		if got := tt.state.next(); got != tt.want {
			t.Errorf("%s: action %d, want %d", tt.name, got, tt.want)
		}
	}
}

// everyState gives every combination of what next could look at.
func everyState(yield func(state) bool) {
	for bits := range 1 << 12 {
		flag := func(i int) bool { return bits>>i&1 == 1 }
		s := state{
			joining: flag(0), busy: flag(1), unsure: flag(2), loose: flag(3), asking: flag(4), leaving: flag(5),
			verify: flag(6), rewatch: flag(7), dirty: flag(8), report: flag(9), released: flag(10),
		}
		if flag(11) {
			s.ending = left
		}
		for _, s.group = range []*group{nil, granting, granted} {
			for _, s.unhealthy = range []map[string]error{nil, sick, unpetted} {
				for s.incarnation = range int64(3) {
					for s.withdrawn = range int64(3) {
						if !yield(s) {
							return
						}
					}
				}
			}
		}
	}
}

func TestNextNeverWritesWhatItMustNot(t *testing.T) {
	n := 0
	for s := range everyState {
		before := s
		a := s.next()
		if n++; n%64 == 0 && !reflect.DeepEqual(s, before) {
			t.Fatalf("next has changed the state %+v", s)
		}
		only := func(when string, allowed ...action) {
			if !slices.Contains(allowed, a) {
				t.Fatalf("%s, and the action is %d, in %+v", when, a, s)
			}
		}
		never := func(when string, forbidden ...action) {
			if slices.Contains(forbidden, a) {
				t.Fatalf("%s, and the action is %d, in %+v", when, a, s)
			}
		}
		if s.busy || s.released {
			only("busy or released", rest)
			continue
		}
		if s.unsure {
			only("nobody knows what is there", read)
			continue
		}
		if s.ending != nil {
			only("ending", withdraw, seal, release)
		}
		if s.gate() != nil && s.ending == nil {
			only("a gate is shut", withdraw, seal, rest)
		}
		if s.open() && s.withdrawn == s.incarnation && s.incarnation != 0 {
			only("its end was sent to etcd", withdraw)
		}
		if s.incarnation != 0 {
			never("a key of ours is there", acquire, put, seal, release)
		} else {
			never("no key of ours is there", withdraw, rewrite)
		}
		if s.loose {
			never("a put may still arrive", release)
		} else {
			never("no put is under way", seal)
		}
		if s.group != granted {
			never("there is no lease", put)
		} else {
			never("there is a lease", acquire)
		}
		if s.verify {
			never("its keys are to be read first", put, rewrite)
		}
		if s.idle() {
			only("it is idle", rest, release)
		}
	}
}
