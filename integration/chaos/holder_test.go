//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/registry"
)

const (
	askEvery   = 20 * time.Millisecond  // Valid
	yesEvery   = 100 * time.Millisecond // a yes is recorded at least this often
	wokenAfter = 200 * time.Millisecond // a longer pause between two questions was a freeze
	leaveLimit = 10 * time.Second       // for a clean stop
)

// holder is a process that holds names: some by a lease that they share, some by one each.
type holder struct {
	role   *role
	rec    *history.Recorder
	shared *registry.Registry
	own    *registry.Registry
	ttl    map[string]time.Duration // as granted: etcd takes a TTL of 2 s or more as it is
	tasks  sync.WaitGroup

	mu    sync.Mutex
	held  map[string]*registry.Registration
	order map[string]chan order
}

// hold is the life of a holder.
func hold(ctx context.Context, r *role, rec *history.Recorder, orders <-chan order) error {
	client, err := dial(r.Endpoints)
	if err != nil {
		return err
	}
	h := &holder{
		role: r, rec: rec, ttl: make(map[string]time.Duration),
		held: make(map[string]*registry.Registration), order: make(map[string]chan order),
	}
	config := registry.Config{ReportInterval: r.Holder.Reports, OnEvent: h.onEvent}
	if h.shared, err = registry.New(client, config); err != nil {
		return err
	}
	config.LeasePerInstance = true
	if h.own, err = registry.New(client, config); err != nil {
		return err
	}
	asking, stopAsking := context.WithCancel(context.Background())
	var asker sync.WaitGroup
	asker.Go(func() { h.ask(asking) })
	for i := range r.Holder.Names {
		n := &r.Holder.Names[i]
		h.ttl[n.Name.String()] = n.TTL
		h.order[n.Name.String()] = make(chan order, 16)
	}
	for i := range r.Holder.Names {
		h.tasks.Go(func() { h.keep(ctx, &r.Holder.Names[i]) })
	}
	h.obey(ctx, orders)

	err = h.leave()
	h.tasks.Wait()
	stopAsking()
	asker.Wait()
	client.Close()
	if err != nil && !errors.Is(err, registry.ErrLeaving) {
		return err
	}
	return nil
}

// leave closes everything, as a service does that is asked to stop.
func (h *holder) leave() error {
	h.mu.Lock()
	for _, g := range h.held {
		h.leaving(g, registry.CauseLeft)
	}
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	var both sync.WaitGroup
	var one, two error
	both.Go(func() { one = h.shared.Close(ctx) })
	both.Go(func() { two = h.own.Close(ctx) })
	both.Wait()
	return errors.Join(one, two)
}

func (h *holder) leaving(g *registry.Registration, cause registry.Cause) {
	if g.Err() == nil {
		h.rec.Record(history.Record{Kind: history.Leaving, Name: g.Name().String(), Incarnation: g.Incarnation(), Cause: string(cause)})
	}
}

// obey hands orders to whoever keeps the name, until the process is to stop.
func (h *holder) obey(ctx context.Context, orders <-chan order) {
	for {
		select {
		case o := <-orders:
			switch o.Do {
			case takeover, duplicate:
				h.tasks.Go(func() { h.rival(ctx, o) })
			default:
				select {
				case h.order[h.role.Holder.Names[o.Name].Name.String()] <- o:
				default: // it is busy
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// keep holds one name for as long as the process lives, whatever becomes of each registration.
func (h *holder) keep(ctx context.Context, n *namePlan) {
	orders := h.order[n.Name.String()]
	for ctx.Err() == nil {
		g, err := h.register(n, registry.Wait)
		if err != nil {
			pause(ctx, time.Second)
			continue
		}
		h.serve(ctx, n, g, orders)
	}
}

// serve carries out orders for a registration until it ends.
func (h *holder) serve(ctx context.Context, n *namePlan, g *registry.Registration, orders <-chan order) {
	for updates := 0; ; {
		select {
		case o := <-orders:
			switch o.Do {
			case updateName:
				updates++
				h.update(ctx, n, g, updates)
			case leaveName, failName:
				h.give(g, o.Do)
				pause(ctx, o.For)
				return
			}
		case <-g.Done():
			pause(ctx, time.Second)
			return
		case <-ctx.Done():
			return
		}
	}
}

func (h *holder) update(ctx context.Context, n *namePlan, g *registry.Registration, updates int) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_ = g.Update(ctx, func(in *registry.Instance) { // what does not come about in time is still on its way
		in.Zone = fmt.Sprintf("%s-%d", n.Zone, updates)
		in.Labels = map[string]string{"updates": fmt.Sprint(updates)}
		in.Endpoints = []string{fmt.Sprintf("http://127.0.0.1:%d", 1000+updates)}
	})
}

// give leaves with one name.
func (h *holder) give(g *registry.Registration, how deed) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	if how == failName {
		h.leaving(g, registry.CauseFailed)
		_ = g.Fail(ctx, "told to fail")
		return
	}
	h.leaving(g, registry.CauseLeft)
	_ = g.Close(ctx)
}

// rival wants a name that another process holds.
func (h *holder) rival(ctx context.Context, o order) {
	if o.Do == duplicate {
		if g, err := h.register(o.Plan, registry.Fail); err == nil { // it was free
			h.give(g, leaveName)
		}
		return
	}
	g, err := h.register(o.Plan, registry.Takeover)
	if err != nil {
		return
	}
	holding, cancel := context.WithTimeout(ctx, o.For)
	defer cancel()
	select {
	case <-g.Done():
	case <-holding.Done():
		h.give(g, leaveName)
	}
}

func (h *holder) register(n *namePlan, policy registry.Policy) (*registry.Registration, error) {
	r := h.shared
	if n.Own {
		r = h.own
	}
	h.mu.Lock()
	h.ttl[n.Name.String()] = n.TTL
	h.mu.Unlock()
	g, err := r.Register(context.Background(), registry.Instance{
		Name: n.Name, Zone: n.Zone, TTL: n.TTL, OnConflict: policy, RegisterTimeout: 10 * time.Second,
	})
	if err != nil {
		if !errors.Is(err, registry.ErrClosed) {
			h.rec.Record(history.Record{Kind: history.Refused, Name: n.Name.String(), Reason: refusal(err)})
		}
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[n.Name.String()] = g
	return g, nil
}

func refusal(err error) string {
	if errors.Is(err, registry.ErrConflict) {
		return "conflict"
	}
	return err.Error()
}

// kinds are the events of a registration that a history has.
var kinds = map[registry.EventKind]history.Kind{
	registry.Registered: history.Registered, registry.Fenced: history.Fenced, registry.Trusted: history.Trusted,
	registry.LostKey: history.Lost, registry.Left: history.Left, registry.Replaced: history.Ended, registry.Evicted: history.Ended,
}

func (h *holder) onEvent(e registry.Event) {
	kind, known := kinds[e.Kind]
	if !known || e.Name == (registry.Name{}) {
		return
	}
	rec := history.Record{Kind: kind, Name: e.Name.String(), Incarnation: e.Incarnation}
	switch kind {
	case history.Registered:
		h.mu.Lock()
		rec.TTL = int64(h.ttl[rec.Name])
		h.mu.Unlock()
	case history.Lost:
		rec.Reason = e.Err.Error()
	case history.Ended:
		rec.Reason = string(e.Kind)
	}
	h.rec.Record(rec)
}

// answer is what Valid said of an incarnation.
type answer struct {
	yes         bool
	incarnation int64
	at          int64 // when it was last recorded
}

// ask asks all registrations again and again whether they may act. The first question after a freeze is recorded whatever the
// answer.
func (h *holder) ask(ctx context.Context) {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	before := make(map[string]answer)
	for last := history.Now(); ; {
		woken := history.Now()-last > int64(wokenAfter)
		h.mu.Lock()
		for name, g := range h.held {
			h.askOne(name, g, before, woken)
		}
		h.mu.Unlock()
		last = history.Now()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (h *holder) askOne(name string, g *registry.Registration, before map[string]answer, woken bool) {
	incarnation := g.Incarnation()
	at := history.Now()
	yes := g.Valid()
	until := history.Now()
	if g.Incarnation() != incarnation {
		return // it changed between the questions: which one was the answer about?
	}
	was := before[name]
	if incarnation == 0 {
		incarnation = was.incarnation // the answer is about what it was
	}
	if incarnation == 0 || (!woken && was.yes == yes && was.incarnation == incarnation && (!yes || at-was.at < int64(yesEvery))) {
		return
	}
	before[name] = answer{yes: yes, incarnation: incarnation, at: at}
	h.rec.Record(history.Record{Kind: history.Valid, Name: name, Incarnation: incarnation, Yes: yes, At: at, Until: until})
}
