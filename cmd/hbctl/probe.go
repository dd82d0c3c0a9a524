package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// diagnosis finds out, endpoint by endpoint, why etcd can't be reached. It is made only when a question is overdue, so a
// working connection never costs a second one.
type diagnosis struct {
	settings *settings
	limit    time.Duration // how long the question may take

	once    sync.Once
	mu      sync.Mutex
	reasons []string // by endpoint; "" = it looks well
	sure    int      // for how many waiting is of no use
}

func newDiagnosis(s *settings, limit time.Duration) *diagnosis {
	d := &diagnosis{settings: s, limit: limit.Round(10 * time.Millisecond), reasons: make([]string, len(s.endpoints))}
	for i := range d.reasons {
		d.reasons[i] = fmt.Sprintf("no answer within %v", d.limit)
	}
	return d
}

// run looks at all endpoints at once and says whether there is a reason for every one of them that waiting does not cure.
// A second call waits for the first.
func (d *diagnosis) run(ctx context.Context) (hopeless bool) {
	d.once.Do(func() {
		var group sync.WaitGroup
		for i, e := range d.settings.endpoints {
			group.Go(func() {
				found := probe(ctx, e, d.settings)
				if ctx.Err() != nil && found.silent {
					return // it was cut short, so the silence is ours and not the endpoint's
				}
				d.mu.Lock()
				defer d.mu.Unlock()
				d.reasons[i] = found.reason
				if found.reason != "" && !found.silent {
					d.sure++
				}
			})
		}
		group.Wait()
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sure == len(d.reasons)
}

func (d *diagnosis) names() string {
	var names []string
	for _, e := range d.settings.endpoints {
		names = append(names, e.address)
	}
	return strings.Join(names, ", ")
}

// unreachable puts the reasons into one line.
func (d *diagnosis) unreachable() *unreachableError {
	d.mu.Lock()
	defer d.mu.Unlock()
	var parts []string
	for i, e := range d.settings.endpoints {
		reason := d.reasons[i]
		if reason == "" {
			reason = fmt.Sprintf("it answers, but not to this question within %v: it has no leader, or is overloaded", d.limit)
		}
		parts = append(parts, e.address+": "+reason)
	}
	if len(parts) == 1 {
		return &unreachableError{reason: "etcd can't be reached at " + parts[0]}
	}
	return &unreachableError{reason: "etcd can't be reached: " + strings.Join(parts, "; ")}
}

// finding is what a look at an endpoint brought.
type finding struct {
	reason string // why etcd can't be reached there; "" if it looks well
	silent bool   // nobody answered in time, so a busy etcd is not ruled out
}

// probe looks at one endpoint.
func probe(ctx context.Context, e endpoint, s *settings) finding {
	ctx, cancel := context.WithTimeout(ctx, s.dialTimeout)
	defer cancel()
	if e.tls {
		return probeTLS(ctx, e, s.tls.config)
	}
	return probePlain(ctx, e)
}
