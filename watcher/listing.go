package watcher

import (
	"context"
	"errors"
	"maps"
	"slices"
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
// impossible. Heard is called now and then: a list that takes long is no loss of contact.
func (r rules) list(ctx context.Context, client registry.Getter, revision int64, limit time.Duration, heard func()) (*listing, error) {
	l := &listing{cells: make(map[registry.Name]*cell)}
	var n pulse
	at, err := registry.Scan(ctx, patient{client, limit}, r.keys, revision, func(kv *mvccpb.KeyValue) {
		n.beat(heard)
		l.take(r, kv)
	})
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
	v := r.view(l)
	services, problems := r.derive(l.cells, func(c *cell, e *registry.Entry) { c.slim(e.Alive.Holder) })
	return v, services, append(l.foreign, problems...)
}

// resumed gives the view of a reader who was told the listing some time ago: nothing of it is told again, so rows are not derived.
func (r rules) resumed(l *listing) *View {
	v := r.view(l)
	var b scratch
	for _, c := range l.cells {
		if c.alive.revision == 0 {
			continue
		}
		if h, err := read(c.alive, &b, registry.DecodeHolder); err == nil {
			c.slim(h)
		}
	}
	return v
}

// view gives the view of a listing, whose cells are not made smaller yet.
func (r rules) view(l *listing) *View {
	v := &View{
		cluster: l.cluster, prefix: r.keys.Prefix(), selection: r.selection.String(), revision: l.revision,
		cells: l.cells, foreign: make(map[string]bool), owed: make(map[registry.Name]int64),
		suspects: make(map[registry.Name]*suspect),
	}
	for _, w := range l.foreign {
		if len(v.foreign) < maxForeign {
			v.foreign[w.Key] = true
		}
	}
	return v
}

// derive gives the rows that are selected, and what is wrong. Each is called with every cell and what it decodes to.
func (r rules) derive(cells map[registry.Name]*cell, each func(*cell, *registry.Entry)) ([]registry.Service, []registry.Warning) {
	var warnings []registry.Warning
	var b scratch
	services := make([]registry.Service, 0, len(cells))
	for _, name := range sortedNames(cells) {
		c := cells[name]
		e := &b.seen
		c.decode(e, &registry.Entry{Name: name}, &b)
		each(c, e)
		warnings = append(warnings, e.Warnings(r.keys)...)
		if !e.Listed() {
			continue
		}
		if row := e.Service(); r.selection.everything() || r.selection.Match(&row) {
			services = append(services, row)
		}
	}
	return services, warnings
}

// rows gives what a reader who begins with the view is told.
func (r rules) rows(v *View) ([]registry.Service, []registry.Warning) {
	var warnings []registry.Warning
	for _, key := range slices.Sorted(maps.Keys(v.foreign)) {
		if _, _, err := r.keys.Parse([]byte(key)); err != nil {
			warnings = append(warnings, registry.Warning{Key: key, Problem: err.Error()})
		}
	}
	services, problems := r.derive(v.cells, func(*cell, *registry.Entry) {})
	return services, append(warnings, problems...)
}

// patient bounds each page of a list, and asks again, with more time, when a page does not come: calls go to the members in
// turn, and one that is frozen must not be met again and again.
type patient struct {
	client registry.Getter
	limit  time.Duration
}

// Get asks for one page.
func (p patient) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	const tries = 3
	for try, limit := 1, p.limit; ; try, limit = try+1, 2*limit {
		bounded, cancel := context.WithTimeout(ctx, limit)
		resp, err := p.client.Get(bounded, key, opts...)
		late := bounded.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !late || try == tries {
			return resp, err
		}
	}
}

// GetStream asks for a stream, if the client knows streams. A silent one is given up by whoever reads it, and pages follow.
func (p patient) GetStream(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.GetStreamChan, error) {
	if client, able := p.client.(streamer); able {
		return client.GetStream(ctx, key, opts...)
	}
	return nil, errNoStreams
}

type streamer interface {
	GetStream(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.GetStreamChan, error)
}

var errNoStreams = errors.New("the client knows no streams")
