package schedules_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

const (
	// firstPID is beyond what a kernel gives, so that a process that crashed here is one that is gone.
	firstPID = 1 << 30
	// callTimeout bounds what a process is told to do; what it can't do by then it goes on trying.
	callTimeout     = 3 * time.Second
	registerTimeout = 20 * time.Second
)

// A process registers names over a network of its own.
type process struct {
	w        *world
	pid      int
	machine  string
	registry *registry.Registry
	net      *etcdtest.Client
	boot     atomic.Int64 // what suspends have added to CLOCK_BOOTTIME

	mu       sync.Mutex
	way      trouble
	lossy    bool      // what is held when the network heals is lost
	crashed  time.Time // zero: it lives
	policy   registry.Policy
	followed bool // another one on its machine has begun
	holdings map[registry.Name]*holding
}

// A holding is one registration of a process, which registers a name once.
type holding struct {
	*registry.Registration
	process *process
	told    told
}

// told is how and when a registration was told to end.
type told struct {
	mu    sync.Mutex
	at    time.Time // zero: it was not
	cause registry.Cause
}

func (t *told) set(cause registry.Cause) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at.IsZero() {
		t.at, t.cause = time.Now(), cause
	}
}

func (t *told) get() (time.Time, registry.Cause) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at, t.cause
}

// process starts one, on a machine of its own unless that is named.
func (w *world) process(machine string) *process {
	w.t.Helper()
	p := &process{w: w, pid: firstPID + len(w.processes), net: w.server.NewClient(), holdings: make(map[registry.Name]*holding)}
	if p.machine = machine; machine == "" {
		p.machine = fmt.Sprint(p.pid)
	}
	r, err := registry.New(p.net.Client, registry.Config{
		ReportInterval: -1,
		Process:        &registry.Process{PID: p.pid, Start: "1", MachineID: p.machine, BootID: "b", PIDNamespace: "n"},
		Boottime:       func() time.Duration { return time.Since(w.begin) + time.Duration(p.boot.Load()) },
		OnEvent: func(e registry.Event) {
			switch e.Kind {
			case registry.Fenced, registry.Trusted, registry.Replaced, registry.Evicted, registry.LostKey:
				w.tally.add("holder " + string(e.Kind))
			default:
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p.registry = r
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes = append(w.processes, p)
	return p
}

// register registers the name and makes the process its holder, if it gets it.
func (p *process) register(name registry.Name, policy registry.Policy) error {
	p.mu.Lock()
	p.policy = policy
	p.mu.Unlock()
	g, err := p.registry.Register(context.Background(), registry.Instance{
		Name: name, TTL: p.w.plan.TTL, Labels: map[string]string{writer: fmt.Sprint(p.pid)},
		OnConflict: policy, RegisterTimeout: registerTimeout,
	})
	if err != nil {
		return err
	}
	h := &holding{Registration: g, process: p}
	p.mu.Lock()
	p.holdings[name] = h
	p.mu.Unlock()
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.holdings = append(p.w.holdings, h)
	return nil
}

// writer is the label that says which process wrote a record.
const writer = "writer"

// end tells a registration to end.
func (h *holding) end(cause registry.Cause) {
	h.told.set(cause)
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	var err error
	if cause == registry.CauseFailed {
		err = h.Fail(ctx, "as the schedule says")
	} else {
		err = h.Close(ctx)
	}
	if err != nil && !errors.Is(err, registry.ErrLeaving) {
		h.process.w.problem("ending %s: %v", h, err)
	}
	if h.Valid() {
		h.process.w.problem("%s may act although it was told to end", h)
	}
}

// change updates zone and labels.
func (h *holding) change(zone string) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	err := h.Update(ctx, func(in *registry.Instance) { in.Zone, in.Labels["zone"] = zone, zone })
	if err != nil && h.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
		h.process.w.problem("updating %s: %v", h, err)
	}
}

// String names the registration by its process.
func (h *holding) String() string {
	return fmt.Sprintf("%s of process %d", h.Name(), h.process.pid-firstPID)
}

// crash ends the process as far as everybody else can tell.
func (p *process) crash() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.crashed.IsZero() {
		p.crashed = time.Now()
	}
	p.net.Gate.Cut()
	p.way.begin()
}

func (p *process) lives() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crashed.IsZero()
}

// cut cuts it off for a time.
func (p *process) cut(how int, last time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cutGate(p.net.Gate, how)
	p.lossy = p.lossy || how/3%2 == 1
	p.way.begin()
	p.w.after(last, p.heal)
}

// heal ends all cuts, but not a crash.
func (p *process) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.crashed.IsZero() {
		return
	}
	if p.lossy {
		p.net.Gate.Break()
	}
	p.lossy = false
	p.net.Gate.Heal()
	p.way.over()
}

// cutGate cuts one direction, or both.
func cutGate(g *etcdtest.Gate, how int) {
	switch how % 3 {
	case 0:
		g.Cut()
	case 1:
		g.CutRequests()
	case 2:
		g.CutAnswers()
	}
}

// suspend makes CLOCK_BOOTTIME jump: the machine slept, and no time has passed for the process itself.
func (p *process) suspend(last time.Duration) {
	p.boot.Add(int64(last))
	if last < p.w.plan.TTL {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.holdings {
		if h.Valid() {
			p.w.problem("%s may act right after a suspend of %v", h, last)
		}
	}
}

// close ends the process: one that lives leaves in order, one that crashed can't.
func (p *process) close() {
	limit := 10 * time.Second
	if !p.lives() {
		limit = time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := p.registry.Close(ctx); err != nil && p.lives() {
		p.w.problem("closing process %d: %v", p.pid-firstPID, err)
	}
}
