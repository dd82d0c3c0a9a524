package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/text/unicode/norm"

	"github.com/hbctl/hbctl/registry"
)

const (
	// abandoned is how long a record may have been down without anybody forgetting it.
	abandoned = 7 * 24 * time.Hour
	// clockSlack is how far in the future a time may lie that another machine wrote.
	clockSlack = 5 * time.Second
	// leasesAsked bounds how many leases without keys of ours are looked at.
	leasesAsked = 200
	// namesShown bounds how many are named in a line.
	namesShown = 3
)

// data checks what is under the prefix.
func (e *examination) data(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.p.settings.commandTimeout)
	defer cancel()
	keys := e.p.settings.keys
	table, err := registry.Load(ctx, e.client, keys, 0)
	if err != nil {
		if !isDenied(err) { // the permissions say it
			e.add(levelFail, "data", inWords(err), "look at etcd's log")
		}
		return
	}
	snap := table.Snapshot(keys, registry.Filter{})
	e.warnings(table, snap)
	e.rows(snap.Services, time.Now())
	e.lookalikes(snap.Services)
	e.leases(ctx, table)
}

// warnings sorts out what can't be read or can't be right.
func (e *examination) warnings(table *registry.Table, snap *registry.Snapshot) {
	foreign := make(map[string]bool, len(table.Foreign))
	var strange, immortal, junk []string
	for _, w := range table.Foreign {
		foreign[w.Key] = true
		strange = append(strange, printable(w.Key))
	}
	for _, w := range snap.Warnings {
		switch {
		case foreign[w.Key]:
		case strings.Contains(w.Problem, "bound to no lease"):
			immortal = append(immortal, printable(w.Key))
		default:
			junk = append(junk, printable(w.Key)+" ("+w.Problem+")")
		}
	}
	if len(strange) > 0 {
		e.add(levelWarn, "foreign keys", some(strange), "they are none of hbctl's; move them, or choose another --prefix")
	}
	if len(immortal) > 0 {
		e.add(levelWarn, "keys without a lease", some(immortal), "they would never go away and prove nothing; 'hbctl forget' the instance, or put the key with a lease")
	}
	if len(junk) > 0 {
		e.add(levelWarn, "data", some(junk), "mend or delete what is named; what can be read is not touched by it")
	}
	if len(strange)+len(immortal)+len(junk) == 0 {
		e.ok("data", "%d instances, and nothing that can't be read", len(snap.Services))
	}
}

// rows looks for records that nobody cares for, and for wrong clocks.
func (e *examination) rows(services []registry.Service, now time.Time) {
	var old, future []string
	for i := range services {
		s := &services[i]
		if s.State == registry.Down && !s.Present && s.UpdatedAt != nil && now.Sub(*s.UpdatedAt) > abandoned {
			old = append(old, s.Name().String())
		}
		if s.UpdatedAt != nil && s.UpdatedAt.After(now.Add(clockSlack)) {
			future = append(future, s.Name().String())
		}
	}
	if len(old) > 0 {
		e.add(levelWarn, "old records", some(old)+" down for more than a week", "'hbctl forget' what will not come back")
	} else {
		e.ok("old records", "none is down for more than a week")
	}
	if len(future) > 0 {
		e.add(levelWarn, "clocks", some(future)+" wrote a time that is still to come", "set the clock there, or here; states do not depend on it, the times shown do")
	} else {
		e.ok("clocks", "no time in the records is still to come")
	}
}

// lookalikes warns of names that people take for one. They are compared byte by byte, so they are different instances.
func (e *examination) lookalikes(services []registry.Service) {
	first := make(map[string]string, len(services))
	var pairs []string
	for i := range services {
		name := services[i].Name().String()
		looks := strings.ToLower(norm.NFKC.String(name))
		if other, twice := first[looks]; twice {
			pairs = append(pairs, fmt.Sprintf("%s is like %s", spelled(name), other))
			continue
		}
		first[looks] = spelled(name)
	}
	if len(pairs) > 0 {
		e.add(levelWarn, "names", some(pairs),
			"names are compared byte by byte, so these are different instances; 'hbctl forget' those that are not meant, and register under one spelling")
	}
}

// spelled shows what is not ASCII as its code points, which tell apart what looks the same.
func spelled(name string) string {
	if quoted := strconv.QuoteToASCII(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// leases looks for leases that hold nothing. Only who may read all keys of all leases may ask.
func (e *examination) leases(ctx context.Context, table *registry.Table) {
	resp, err := e.client.Leases(ctx)
	if err != nil {
		e.ok("leases", "not looked at: that takes the right to read all keys in etcd")
		return
	}
	ours := make(map[clientv3.LeaseID]bool)
	for _, entry := range table.Entries {
		ours[clientv3.LeaseID(entry.Alive.Lease)] = true
	}
	var empty []string
	asked := 0
	for _, l := range resp.Leases {
		if ours[l.ID] || asked == leasesAsked {
			continue
		}
		asked++
		answer, err := e.client.TimeToLive(ctx, l.ID, clientv3.WithAttachedKeys())
		if err == nil && answer.GrantedTTL > 0 && len(answer.Keys) == 0 {
			empty = append(empty, registry.FormatLease(int64(l.ID)))
		}
	}
	if len(empty) > 0 {
		e.add(levelWarn, "leases", some(empty)+" hold no key", "they run out by themselves; if they stay, somebody renews them for nothing")
		return
	}
	e.ok("leases", "%d in etcd, none of those that were looked at without keys", len(resp.Leases))
}

// some names a few of a list.
func some(names []string) string {
	shown := strings.Join(names[:min(len(names), namesShown)], ", ")
	if more := len(names) - namesShown; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return shown
}
