package schedules_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

// sampling is how often is looked who thinks that it may act.
const sampling = 100 * time.Millisecond

// A world is one run of a schedule.
type world struct {
	t        *testing.T
	plan     schedule
	tally    *tally
	begin    time.Time
	server   *etcdtest.FakeServer
	client   *clientv3.Client // of the operator and the auditor; nothing happens to it
	operator *operator
	auditor  *auditor
	readers  []*reader
	stop     chan struct{}

	back time.Time // when etcd is back; zero: it is there
	etcd trouble

	calls    sync.WaitGroup // what processes were told to do
	watching sync.WaitGroup // auditor and sampler

	mu        sync.Mutex
	processes []*process
	holdings  []*holding // in the order in which they came about
	timers    []*time.Timer
	trusted   map[life]time.Time // when an incarnation was last seen to think that it may act
	problems  []string
}

// A life is one incarnation of a name.
type life struct {
	name        registry.Name
	incarnation int64
}

// play runs the schedule, in a bubble of its own, and gives what was wrong.
func play(t *testing.T, plan schedule, tally *tally) (problems []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, plan, tally)
		w.enter()
		for _, s := range plan.Steps {
			tally.add(string(s.Kind))
			w.do(s)
			w.pass(s.Then)
		}
		w.finish()
		w.judge()
		problems = w.problems
	})
	return problems
}

func newWorld(t *testing.T, plan schedule, tally *tally) *world {
	t.Helper()
	w := &world{
		t: t, plan: plan, tally: tally, begin: time.Now(), server: etcdtest.Fake(t), stop: make(chan struct{}),
		trusted: make(map[life]time.Time),
	}
	w.client = w.server.Client()
	w.operator = newOperator(w)
	w.auditor = newAuditor(w)
	w.watching.Go(w.auditor.run)
	w.watching.Go(w.sample)
	return w
}

// enter starts the readers, and the processes that the schedule begins with.
func (w *world) enter() {
	for _, k := range []readerKind{raw, confirming, calm} {
		w.readers = append(w.readers, newReader(w, k))
	}
	var first *process
	for i := range w.plan.Names {
		p := first
		if p == nil || i >= w.plan.Together {
			p = w.process("")
		}
		if first == nil {
			first = p
		}
		if err := p.register(w.name(i), registry.Fail); err != nil {
			w.t.Fatal(err)
		}
	}
	time.Sleep(2 * sampling) // etcd tells a new watch of what is new a tenth of a second late
}

func (w *world) name(i int) registry.Name {
	return registry.Name{Binary: "vol", Host: fmt.Sprintf("n%d", i%w.plan.Names)}
}

// newest gives who got the name last.
func (w *world) newest(name registry.Name) *holding {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.holdings) - 1; i >= 0; i-- {
		if w.holdings[i].Name() == name {
			return w.holdings[i]
		}
	}
	return nil
}

// earlier gives one that got the name, the newest one among them.
func (w *world) earlier(name registry.Name, how int) *holding {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*holding
	for _, h := range w.holdings {
		if h.Name() == name {
			all = append(all, h)
		}
	}
	return all[how%len(all)]
}

// problem notes what is wrong.
func (w *world) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf("%v: ", time.Since(w.begin))+fmt.Sprintf(format, args...))
}

// after does something later, or never, if the end comes before.
func (w *world) after(d time.Duration, do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timers = append(w.timers, time.AfterFunc(d, do))
}

// pass lets time pass. An etcd that is away comes back when it is due.
func (w *world) pass(d time.Duration) {
	if !w.back.IsZero() && time.Until(w.back) <= d {
		away := max(0, time.Until(w.back))
		time.Sleep(away)
		w.started()
		d -= away
	}
	time.Sleep(d)
}

// present waits until etcd is there.
func (w *world) present() {
	if !w.back.IsZero() {
		time.Sleep(time.Until(w.back))
		w.started()
	}
}

func (w *world) started() {
	w.server.Start()
	w.back = time.Time{}
	w.etcd.over()
}

// sample looks again and again who thinks that it may act.
func (w *world) sample() {
	tick := time.NewTicker(sampling)
	defer tick.Stop()
	for {
		w.look()
		select {
		case <-tick.C:
		case <-w.stop:
			return
		}
	}
}

// look notes who thinks that it may act, and as what.
func (w *world) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, h := range w.holdings {
		incarnation := h.Incarnation()
		if incarnation != 0 && h.Valid() && h.Incarnation() == incarnation {
			w.trusted[life{h.Name(), incarnation}] = now
		}
	}
}
