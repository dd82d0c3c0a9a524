package registry

import (
	"context"
	"maps"
	"slices"
	"time"
)

// plan is an Instance as it is kept, for as long as it is registered: a map for a few labels takes three times what they do, and
// most have no health check.
type plan struct {
	zone      string
	labels    []string // key, value, key, value, …; sorted by key
	endpoints []string
	ttl       time.Duration
	timeout   time.Duration
	watchdog  time.Duration
	conflict  Policy
	health    *healthPlan // nil: no check
}

type healthPlan struct {
	check          func(ctx context.Context) error
	interval, most time.Duration
}

// planOf copies what the caller could change later.
func planOf(in Instance) plan {
	p := plan{
		zone: in.Zone, endpoints: slices.Clone(in.Endpoints), ttl: in.TTL, timeout: in.RegisterTimeout, watchdog: in.Watchdog, conflict: in.OnConflict,
	}
	p.labels = sortedLabels(in.Labels)
	if in.Health != nil {
		p.health = &healthPlan{check: in.Health, interval: in.HealthInterval, most: in.HealthTimeout}
	}
	return p
}

// sortedLabels gives key, value, key, value, …, sorted by key.
func sortedLabels(set map[string]string) []string {
	if len(set) == 0 {
		return nil
	}
	list := make([]string, 0, 2*len(set))
	if len(set) == 1 {
		for key, value := range set {
			list = append(list, key, value)
		}
		return list
	}
	for _, key := range slices.Sorted(maps.Keys(set)) {
		list = append(list, key, set[key])
	}
	return list
}

// instance gives the Instance again.
func (p *plan) instance(name Name) Instance {
	in := Instance{
		Name: name, Zone: p.zone, Endpoints: p.endpoints, TTL: p.ttl, RegisterTimeout: p.timeout, Watchdog: p.watchdog,
		OnConflict: p.conflict, HealthInterval: DefaultHealthInterval, HealthTimeout: DefaultHealthTimeout,
	}
	in.Labels = p.labelSet()
	if h := p.health; h != nil {
		in.Health, in.HealthInterval, in.HealthTimeout = h.check, h.interval, h.most
	}
	return in
}

// labelSet gives the labels as an Instance has them.
func (p *plan) labelSet() map[string]string {
	if len(p.labels) == 0 {
		return nil
	}
	set := make(map[string]string, len(p.labels)/2)
	for i := 0; i < len(p.labels); i += 2 {
		set[p.labels[i]] = p.labels[i+1]
	}
	return set
}
