//go:build linux

package compose

import (
	"sync"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
)

// away is for how long members are out of reach: longer than a lease lives that nobody renews.
const away = ttl + 3*time.Second

// faults are done one after another. Each gives what was measured.
var faults = []struct {
	name string
	do   func(*stage) []string
}{
	{"kill a service", (*stage).killService},
	{"stop a service", (*stage).stopService},
	{"pause a service beyond its TTL", (*stage).pauseService},
	{"disconnect a service", (*stage).disconnectService},
	{"kill the leader", (*stage).killLeader},
	{"pause a member", (*stage).pauseMember},
	{"disconnect the leader", (*stage).disconnectLeader},
	{"restart all members", (*stage).restartAll},
	{"restart members in turn", (*stage).restartInTurn},
}

// Whatever is done to containers, nothing that is promised is broken.
func TestFaults(t *testing.T) {
	s := newStage(t)
	s.settle()
	j := newJudge(s)
	defer j.show()
	for _, f := range faults {
		t.Logf("%s", f.name)
		measured := f.do(s)
		s.settle()
		j.judge(f.name, measured)
	}
	for _, c := range s.containers {
		if err := c.running(); err != nil {
			t.Error(err)
		}
	}
	if err := s.clock.held(); err != nil {
		t.Error(err)
	}
}

func (s *stage) killService() []string {
	c, name := s.containers["volume-1"], instances["volume-1"]
	at := history.Now()
	c.kill()
	down := s.ends(name, "expired", at)
	return append(down, s.returns(c, name)...)
}

func (s *stage) stopService() []string {
	c, name := s.containers["scheduler"], instances["scheduler"]
	at := history.Now()
	c.stop()
	down := s.ends(name, "left", at)
	return append(down, s.returns(c, name)...)
}

// ends waits until the end of a name is told and listed.
func (s *stage) ends(name, cause string, at int64) []string {
	s.t.Helper()
	e, told := s.told(name, "down", at)
	if e.Cause != cause {
		s.t.Errorf("%s is told down for %q, want %q", name, e.Cause, cause)
	}
	return []string{"told down, " + e.Cause + ", after " + between(at, told), "listed after " + between(at, s.listed(name, "down", at))}
}

// returns starts a service again and waits until that is told.
func (s *stage) returns(c *container, name string) []string {
	s.t.Helper()
	at := history.Now()
	c.start()
	_, told := s.told(name, "up", at)
	return []string{"up " + between(at, told) + " after its start"}
}

func (s *stage) pauseService() []string {
	c, name := s.containers["volume-2"], instances["volume-2"]
	at := history.Now()
	c.pause()
	measured := s.ends(name, "expired", at)
	e, _ := s.told(name, "down", at)

	woke := history.Now()
	c.unpause()
	first := s.journal.find(soon, name+" says something after it woke", woke, func(r *history.Record) bool {
		switch r.Kind {
		case history.Fenced, history.Trusted, history.Lost, history.Registered:
			return r.Name == name
		}
		return false
	})
	if first.Kind != history.Fenced || first.Incarnation != e.Incarnation {
		s.t.Errorf("the first that %s says after it woke is %s of incarnation %d, want %s of %d", name, first.Kind, first.Incarnation, history.Fenced, e.Incarnation)
	}
	up, told := s.told(name, "up", woke)
	if up.Incarnation <= e.Incarnation {
		s.t.Errorf("%s is up as incarnation %d, after %d", name, up.Incarnation, e.Incarnation)
	}
	return append(measured, "knew that it is fenced "+between(woke, first.At)+" after it woke", "up as a new incarnation after "+between(woke, told))
}

func (s *stage) disconnectService() []string {
	c, name := s.containers["volume-1"], instances["volume-1"]
	mended := s.fault("F6", c.source())
	at := history.Now()
	c.disconnect()
	fenced := s.said(name, history.Fenced, at)
	measured := s.ends(name, "expired", at)
	e, told := s.told(name, "down", at)

	back := history.Now()
	c.connect()
	mended()
	up, again := s.told(name, "up", back)
	if up.Incarnation <= e.Incarnation {
		s.t.Errorf("%s is up as incarnation %d, after %d", name, up.Incarnation, e.Incarnation)
	}
	return append([]string{"fenced after " + between(at, fenced.At) + ", " + between(fenced.At, told) + " before it was told down"},
		append(measured, "up as a new incarnation "+between(back, again)+" after it was connected")...)
}

// fault takes down that one begins, and then that it is over.
func (s *stage) fault(number, target string) (mended func()) {
	s.rec.Record(history.Record{Kind: history.FaultOn, Fault: number, Target: target})
	return func() { s.rec.Record(history.Record{Kind: history.FaultOff, Fault: number, Target: target}) }
}

func (s *stage) killLeader() []string {
	return s.loseLeader("F9", (*container).kill, (*container).start)
}

func (s *stage) disconnectLeader() []string {
	return s.loseLeader("F15", (*container).disconnect, (*container).connect)
}

// loseLeader takes the leader away for a while, and measures how soon there is another.
func (s *stage) loseLeader(fault string, lose, restore func(*container)) []string {
	leader := s.leader()
	c := s.containers[members[leader]]
	mended := s.fault(fault, c.service)
	at := history.Now()
	lose(c)
	s.leader(leader)
	elected := history.Now()
	s.elapse(at, away)
	restore(c)
	s.awaitMember(leader)
	mended()
	return append([]string{"another leads after " + between(at, elected)}, s.undisturbed(at)...)
}

func (s *stage) pauseMember() []string {
	follower := (s.leader() + 1) % len(members)
	c := s.containers[members[follower]]
	mended := s.fault("F8", c.service)
	at := history.Now()
	c.pause()
	s.elapse(at, away)
	c.unpause()
	s.awaitMember(follower)
	mended()
	return s.undisturbed(at)
}

func (s *stage) restartAll() []string {
	mended := s.fault("F12", "")
	at := history.Now()
	var all sync.WaitGroup
	for _, m := range members {
		all.Go(func() {
			s.containers[m].stop()
			s.containers[m].start()
		})
	}
	all.Wait()
	for i := range members {
		s.awaitMember(i)
	}
	mended()
	return append([]string{"all serve again after " + between(at, history.Now())}, s.undisturbed(at)...)
}

func (s *stage) restartInTurn() []string {
	mended := s.fault("F33", "")
	at := history.Now()
	for i, m := range members {
		s.containers[m].stop()
		s.containers[m].start()
		s.awaitMember(i)
	}
	mended()
	return append([]string{"done after " + between(at, history.Now())}, s.undisturbed(at)...)
}

// elapse waits until a fault has lasted that long.
func (s *stage) elapse(since int64, d time.Duration) {
	time.Sleep(d - time.Duration(history.Now()-since))
}
