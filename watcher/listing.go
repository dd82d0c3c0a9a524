package watcher

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// A listing is everything under the prefix at one revision.
type listing struct {
	cluster  uint64
	revision int64
	cells    map[registry.Name]*cell
	foreign  []registry.Warning // keys that are none of ours
}

// list reads everything at one revision; 0 is the newest. Limit is for each page: a bound on the whole would make a big list
// impossible. Heard is called for each page: a list that takes long is no loss of contact.
func (r rules) list(ctx context.Context, client registry.Getter, revision int64, limit time.Duration, heard func()) (*listing, error) {
	l := &listing{cells: make(map[registry.Name]*cell)}
	at, err := registry.Scan(ctx, patient{client, limit, heard}, r.keys, revision, func(kv *mvccpb.KeyValue) { l.take(r, kv) })
	if err != nil {
		return nil, err
	}
	l.cluster, l.revision = at.ClusterId, at.Revision
	return l, nil
}

func (l *listing) take(r rules, kv *mvccpb.KeyValue) {
	family, name, err := r.keys.Parse(kv.Key)
	if err != nil {
		l.foreign = append(l.foreign, registry.Warning{Key: string(kv.Key), Problem: err.Error()})
		return
	}
	if !r.selection.covers(name) {
		return
	}
	c := l.cells[name]
	if c == nil {
		c = &cell{}
		l.cells[name] = c
	}
	c.put(family, kv)
}

// begin gives the view of a reader who was told the listing, and what to tell him: the rows that are selected, and what is
// wrong.
func (r rules) begin(l *listing) (*View, []registry.Service, []registry.Warning) {
	v := &View{
		cluster: l.cluster, prefix: r.keys.Prefix(), selection: r.selection.String(), revision: l.revision,
		cells: l.cells, foreign: make(map[string]bool), owed: make(map[registry.Name]int64),
		suspects: make(map[registry.Name]*suspect),
	}
	warnings := l.foreign
	for _, w := range l.foreign {
		if len(v.foreign) < maxForeign {
			v.foreign[w.Key] = true
		}
	}
	services := make([]registry.Service, 0, len(l.cells))
	for _, name := range sortedNames(l.cells) {
		c := l.cells[name]
		e := c.entry(name)
		c.slim(e)
		warnings = append(warnings, e.Warnings(r.keys)...)
		if !e.Listed() {
			continue
		}
		if row := e.Service(); r.selection.everything() || r.selection.Match(&row) {
			services = append(services, row)
		}
	}
	return v, services, warnings
}

// patient bounds each page of a list, and asks again, with more time, when a page does not come: calls go to the members in
// turn, and one that is frozen must not be met again and again.
type patient struct {
	client registry.Getter
	limit  time.Duration
	heard  func()
}

// Get asks for one page.
func (p patient) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	const tries = 3
	for try, limit := 1, p.limit; ; try, limit = try+1, 2*limit {
		bounded, cancel := context.WithTimeout(ctx, limit)
		resp, err := p.client.Get(bounded, key, opts...)
		late := bounded.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			p.heard()
		}
		if err == nil || !late || try == tries {
			return resp, err
		}
	}
}
