package faults_test

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// holder starts a process that holds the name, and waits until it does.
func holder(t testing.TB, etcd *etcdtest.Nodes, first int, ttl time.Duration, more ...string) (c *child, incarnation int64) {
	t.Helper()
	c = spawn(t, "hold", append([]string{
		"-endpoints=" + strings.Join(etcd.Endpoints(), ","), fmt.Sprint("-first=", first), fmt.Sprint("-ttl=", ttl),
	}, more...))
	rest, _ := c.await(30*time.Second, fmt.Sprint("up ", hbtest.Node(first), " "))
	return c, number(t, rest)
}

func number(t testing.TB, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// F1: a process that is killed is down once, no sooner than its lease could have run out and no later than etcd looks.
func TestF01HolderKilled(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	etcd := etcdtest.Standalone(t)
	w := watchAll(t, etcd.Client())
	n := either(6, 30)
	var after []time.Duration
	killed := make([]time.Time, n)
	incarnations := make([]int64, n)
	for i := range n {
		var c *child
		c, incarnations[i] = holder(t, etcd, i, ttl)
		hbtest.Sleep(t, time.Duration(i)*ttl/4/time.Duration(n)) // at all times between two renewals
		c.signal(syscall.SIGKILL)
		killed[i] = time.Now()
	}
	for i := range n {
		if cause := w.Down(ttl+10*time.Second, hbtest.Node(i), incarnations[i]); cause != "expired" {
			t.Errorf("cause %s, want expired", cause)
		}
		took := w.Sightings(watcher.Down, hbtest.Node(i))[0].At.Sub(killed[i])
		after = append(after, took)
		if earliest, latest := ttl-ttl/2, ttl+500*time.Millisecond+hbtest.Slow*500*time.Millisecond; took < earliest || took > latest {
			t.Errorf("down %v after SIGKILL, want %v to %v", took, earliest, latest)
		}
	}
	if downs := w.Count(watcher.Down, everyone); downs != n {
		t.Errorf("%d downs of %d killed", downs, n)
	}
	w.Consistent()
	t.Logf("F01: TTL %v, %d processes killed: %d downs, cause expired, %s after SIGKILL", ttl, n, n, spread(after))
}

// F2: a process that is stopped for less than its TTL is not down, and the first answer after it goes on is yes.
func TestF02HolderStoppedShortly(t *testing.T) {
	t.Parallel()
	const ttl, stop, rounds = 5 * time.Second, 2 * time.Second, 3
	etcd := etcdtest.Standalone(t)
	w := watchAll(t, etcd.Client())
	c, incarnation := holder(t, etcd, 1, ttl, "-spin=1")
	for range rounds {
		c.signal(syscall.SIGSTOP)
		hbtest.Sleep(t, stop)
		c.signal(syscall.SIGCONT)
		hbtest.Sleep(t, time.Second) // a renewal is due at least that often when one was missed
	}
	yes := c.count("resumed true")
	if n := w.Count(watcher.Down, everyone); n != 0 || c.count("lost ") != 0 {
		t.Errorf("%d downs, want none:\n%s", n, c.story())
	}
	if yes != rounds || c.count("resumed false") != 0 {
		t.Errorf("%d of %d times the first answer was yes:\n%s", yes, rounds, c.story())
	}
	if s := hbtest.List(t, etcd.Client())[hbtest.Node(1)]; s.State != registry.Up || *s.Incarnation != incarnation {
		t.Errorf("it is %s", s.State)
	}
	t.Logf("F02: TTL %v, stopped %d times for %v: 0 downs, Valid yes at the first call after SIGCONT %d of %d times", ttl, rounds, stop, yes, rounds)
}

// F3: a process that was stopped for longer than its TTL learns it from the first call, although nothing of it has run since.
func TestF03HolderStoppedForLong(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	rounds := either(4, 20)
	etcd := etcdtest.Standalone(t)
	w := watchAll(t, etcd.Client())
	c, incarnation := holder(t, etcd, 1, ttl, "-spin=1")
	var back []time.Duration
	for round := 1; round <= rounds; round++ {
		c.signal(syscall.SIGSTOP)
		if cause := w.Down(ttl+10*time.Second, hbtest.Node(1), incarnation); cause != "expired" {
			t.Errorf("cause %s, want expired", cause)
		}
		c.signal(syscall.SIGCONT)
		resumed := time.Now()
		up, _ := w.Event(10*time.Second, watcher.Up, hbtest.Node(1), incarnation)
		back = append(back, time.Since(resumed))
		if up.Incarnation <= incarnation {
			t.Errorf("incarnation %d after %d", up.Incarnation, incarnation)
		}
		incarnation = up.Incarnation
		hbtest.Eventually(t, 10*time.Second, "it has said what the first answer was", func() bool { return c.count("resumed ") >= round })
	}
	no, yes := c.count("resumed false"), c.count("resumed true")
	if no != rounds || yes != 0 {
		t.Errorf("the first answer was no %d times and yes %d times, want %d and 0:\n%s", no, yes, rounds, c.story())
	}
	if n := w.Count(watcher.Down, everyone); n != rounds {
		t.Errorf("%d downs, want one a round: %d", n, rounds)
	}
	w.Consistent()
	t.Logf("F03: TTL %v, stopped %d times until down: Valid no at the first call after SIGCONT %d of %d times, 1 down each, up as a new incarnation %s after SIGCONT",
		ttl, rounds, no, rounds, spread(back))
}

// F4 and F5: a process that hardly gets to run holds its lease, and when its network falls silent it stops to act before
// anybody sees it down.
func TestF04HolderStarved(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Standalone(t)
	const period, percent = 100_000, 10 // microseconds
	group := newControlGroup(t, "cpu", groupLimit{"cpu.cfs_period_us", period}, groupLimit{"cpu.cfs_quota_us", period * percent / 100})
	c, incarnation := holder(t, etcd, 1, starvedTTL, "-spin=4")
	group.take(c.pid())
	starved(t, "F04", "10 % of one processor, 4 hot loops", etcd, c, incarnation)
}

func TestF05HolderCollectsGarbage(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Standalone(t)
	c, incarnation := holder(t, etcd, 1, starvedTTL, "-spin=1", "-garbage=64")
	starved(t, "F05", "64 MiB of live heap under a limit of 80 MiB, garbage without a pause", etcd, c, incarnation)
}

const starvedTTL = 5 * time.Second

func starved(t *testing.T, fault, how string, etcd *etcdtest.Nodes, c *child, incarnation int64) {
	t.Helper()
	period := either(12*time.Second, time.Minute)
	w := watchAll(t, etcd.Client())
	hbtest.Sleep(t, period)
	if n := w.Count(watcher.Down, everyone); n != 0 {
		t.Errorf("%d false downs", n)
	}
	fences := c.count("fenced ")
	c.signal(syscall.SIGUSR1)
	cause := w.Down(starvedTTL+15*time.Second, hbtest.Node(1), incarnation)
	down := history.Now()
	if cause != "expired" {
		t.Errorf("cause %s, want expired", cause)
	}
	rest, _ := c.await(30*time.Second, "untrusted ")
	untrusted := number(t, rest)
	hbtest.Eventually(t, 10*time.Second, "it has said when it last said yes", func() bool { return c.count("no ") > 0 })
	last := int64(0)
	for _, l := range c.lines("no ") {
		last = max(last, number(t, l))
	}
	if last > down {
		t.Errorf("Valid said yes %v after the down was seen", time.Duration(last-down))
	}
	t.Logf("%s: TTL %v, %s, %v: 0 downs, %d fences; then cut off: last yes of Valid %v before the down, context ended %v before it",
		fault, starvedTTL, how, period, fences, time.Duration(down-last).Round(time.Millisecond), time.Duration(down-untrusted).Round(time.Millisecond))
}

// F7: the renewals of a process arrive and their answers do not. It may not act, but it is not down, and has its incarnation
// back when the answers are.
func TestF07AnswersLost(t *testing.T) {
	t.Parallel()
	const ttl, lost = 3 * time.Second, 9 * time.Second
	etcd := etcdtest.StandaloneCluster(t, 3)
	w := watchAll(t, etcd.Client())
	c := gather(t, etcd, muster{processes: 10, each: 2, ttl: ttl})
	for _, network := range c.networks {
		network.CutAnswers()
	}
	hbtest.Sleep(t, lost)
	acting := 0
	for _, g := range c.regs {
		if g.Valid() {
			acting++
		}
	}
	if acting != 0 {
		t.Errorf("%d of %d may act without an answer for %v", acting, len(c.regs), lost)
	}
	downs := w.Count(watcher.Down, everyone)
	for _, network := range c.networks {
		network.Heal()
	}
	back := c.allValid(ttl + hbtest.Slow*5*time.Second)
	c.unharmed(w)
	t.Logf("F07: TTL %v, no answers for %v: %d of %d holders fenced, %d downs, all trusted again %v after the answers came, as the same incarnations: %d",
		ttl, lost, len(c.regs)-acting, len(c.regs), downs, back.Round(time.Millisecond), c.same())
}
