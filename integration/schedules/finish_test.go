package schedules_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// mendLimit is by when, after the end of all trouble, everything that lives must be listed again.
const mendLimit = 10 * time.Second

// tellLimit is by when a reader must have been told everything: a bookmark comes every ten seconds, and not while a suspect is open.
const tellLimit = watcher.DefaultBookmarkInterval + window + 5*time.Second

// finish ends all trouble, and looks at what there is then. Then it ends everything.
func (w *world) finish() {
	w.heal()
	w.settle("after the end of all trouble")
	w.calls.Wait()
	w.settle("after all calls")
	time.Sleep(2*w.plan.TTL + 3*time.Second) // those of the dead run out
	w.leases(w.living())
	w.told()

	var all sync.WaitGroup
	for _, p := range w.processes {
		all.Go(p.close)
	}
	all.Wait()
	w.leases(nil)
	w.told()
	for _, r := range w.readers {
		r.close()
	}
	close(w.stop)
	w.watching.Wait()
	w.server.Close()
}

// heal ends all trouble, except that the dead stay dead.
func (w *world) heal() {
	w.present()
	w.mu.Lock()
	timers := w.timers
	w.timers = nil
	w.mu.Unlock()
	for _, timer := range timers {
		timer.Stop()
	}
	for _, p := range w.processes {
		p.heal()
	}
	for _, r := range w.readers {
		r.heal()
		r.resume()
	}
}

// settle waits until every registration that lives is trusted, and listed as what it takes itself for.
func (w *world) settle(when string) {
	deadline := time.Now().Add(mendLimit)
	for {
		missing := w.missing()
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.problem("%v %s: %s", mendLimit, when, strings.Join(missing, "; "))
			return
		}
		time.Sleep(sampling)
	}
}

// missing tells what of the living is not there, and what is there and nobody's.
func (w *world) missing() []string {
	table, err := registry.Load(context.Background(), w.client, w.operator.keys, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var missing []string
	owned := make(map[registry.Name]bool)
	for _, h := range w.living() {
		owned[h.Name()] = true
		switch e := table.Entries[h.Name()]; {
		case e == nil || !e.Present() || e.Record.Rev == 0:
			missing = append(missing, fmt.Sprintf("%s is not listed: %v", h, h.Status().Why))
		case e.Alive.Rev != h.Incarnation() || !h.Valid():
			missing = append(missing, fmt.Sprintf("%s takes itself for %d (valid: %v), the list for %d", h, h.Incarnation(), h.Valid(), e.Alive.Rev))
		}
	}
	for name, e := range table.Entries {
		if e.Present() && !owned[name] && !w.ofTheDead(e) {
			missing = append(missing, fmt.Sprintf("%s is up as %d, and no process holds it", name, e.Alive.Rev))
		}
	}
	return missing
}

// ofTheDead says that the alive key is of a process that crashed: nobody takes it away until its lease runs out.
func (w *world) ofTheDead(e *registry.Entry) bool {
	p := w.owner(e.Alive.Holder)
	return p != nil && !p.lives()
}

// owner gives the process that put an alive key.
func (w *world) owner(holder *registry.Holder) *process {
	if holder == nil || holder.PID < firstPID || holder.PID-firstPID >= len(w.processes) {
		return nil
	}
	return w.processes[holder.PID-firstPID]
}

// living gives the registrations that have not ended, of processes that have not crashed.
func (w *world) living() []*holding {
	w.mu.Lock()
	defer w.mu.Unlock()
	var living []*holding
	for _, h := range w.holdings {
		if h.Err() == nil && h.process.lives() {
			living = append(living, h)
		}
	}
	return living
}

// leases checks that there is one for each process that holds something, and no other.
func (w *world) leases(living []*holding) {
	processes := make(map[*process]bool)
	for _, h := range living {
		processes[h.process] = true
	}
	resp, err := w.client.Leases(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	if len(resp.Leases) != len(processes) {
		w.problem("%d leases, and %d processes that hold something", len(resp.Leases), len(processes))
	}
}

// told waits until the readers were told everything: a suspect holds the position of its reader up for as long as its window.
func (w *world) told() {
	w.auditor.catchUp()
	w.auditor.mu.Lock()
	last := int64(0)
	for r := range w.auditor.at {
		if w.auditor.tables[r] != nil && w.auditor.changes(r) {
			last = max(last, r)
		}
	}
	w.auditor.mu.Unlock()
	for _, r := range w.readers {
		if !r.reach(last, tellLimit) {
			w.problem("%s was told everything up to %d, not up to %d", r.kind, r.revision(), last)
		}
	}
}
