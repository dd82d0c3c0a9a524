package watcher

import (
	"context"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/registry"
)

// A comparison finds what is different from what the reader was told, after history was lost: name by name, while what is there is
// still being read. What was not written since is neither copied nor decoded.
type comparison struct {
	rules  rules
	view   *View
	step   step
	told   [][]Event // what was told before the events of the step, piece by piece
	met    []*cell   // of the view, whose names are still there
	binary string    // of the name before
}

// pieceOfEvents is about how many events are collected in one piece. One slice that grew to all of them would be copied five times
// over on its way: events are big.
const pieceOfEvents = 1000

// differ reads everything at the newest revision, and tells what is different from the view. It begins only if the history that it is of
// may begin. Limit and heard are as list has them.
func (r rules) differ(ctx context.Context, client registry.Getter, v *View, limit time.Duration, heard func(), may func(*pb.ResponseHeader) error) (step, error) {
	var c *comparison
	var n pulse
	foreign, err := registry.ScanNames(ctx, patient{client, limit}, r.keys, 0, func(at *pb.ResponseHeader) error {
		c = r.compare(v, at.Revision)
		return may(at)
	}, func(name *registry.NameKeys) {
		n.beat(heard)
		c.take(name)
	})
	if err != nil {
		return step{}, err
	}
	return c.end(foreign), nil
}

func (r rules) compare(v *View, revision int64) *comparison {
	return &comparison{rules: r, view: v, step: r.step(revision), met: make([]*cell, 0, len(v.cells))}
}

// take compares one name.
func (c *comparison) take(keys *registry.NameKeys) {
	known := c.view.cells[registry.Name{Binary: string(keys.Binary), Host: string(keys.Host)}]
	if known != nil {
		if c.met = append(c.met, known); known.is(keys) {
			return
		}
	}
	if string(keys.Binary) != c.binary {
		c.binary = string(keys.Binary)
	}
	name := registry.Name{Binary: c.binary, Host: string(keys.Host)}
	if !c.rules.selection.covers(name) {
		return
	}
	now := &cell{}
	now.takeOver(registry.FamilyRecord, known, keys.Record)
	now.takeOver(registry.FamilyAlive, known, keys.Alive)
	now.takeOver(registry.FamilyAdmin, known, keys.Admin)
	c.add(name, now)
}

func (c *comparison) add(name registry.Name, now *cell) {
	c.step.add(c.rules, c.view, name, now, change{revision: c.step.patch.revision, synthetic: true})
	if len(c.step.events) >= pieceOfEvents {
		c.told, c.step.events = append(c.told, c.step.events), make([]Event, 0, pieceOfEvents+pieceOfEvents/4)
	}
}

// end tells what is gone, and the foreign keys, once all names were compared.
func (c *comparison) end(foreign []registry.Warning) step {
	there := c.rest()
	for _, name := range c.gone() {
		c.add(name, &cell{})
	}
	c.step.events = merged(there, c.rest())
	named := make(map[string]bool, len(foreign))
	for _, w := range foreign {
		named[w.Key] = true
		if e, told := c.step.patch.stray(c.view, w.Key, true, w.Problem); told {
			e.Synthetic = true
			c.step.events = append(c.step.events, e)
		}
	}
	for key := range c.view.foreign {
		if !named[key] {
			c.step.patch.stray(c.view, key, false, "")
		}
	}
	return c.step
}

// rest gives what was told so far, once.
func (c *comparison) rest() []Event {
	events := slices.Concat(append(c.told, c.step.events)...)
	c.told, c.step.events = nil, nil
	return events
}

// gone gives the names of the view that were not met.
func (c *comparison) gone() []registry.Name {
	if len(c.met) == len(c.view.cells) {
		return nil
	}
	met := make(map[*cell]bool, len(c.met))
	for _, known := range c.met {
		met[known] = true
	}
	var names []registry.Name
	for name, known := range c.view.cells {
		if !met[known] {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, registry.Name.Compare)
	return names
}

// merged gives the events of both, sorted by name as both are. No name is in both.
func merged(a, b []Event) []Event {
	if len(b) == 0 {
		return a
	}
	all := make([]Event, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		from := &a
		if b[0].Name.Compare(a[0].Name) < 0 {
			from = &b
		}
		all, *from = append(all, (*from)[0]), (*from)[1:]
	}
	return append(append(all, a...), b...)
}

// is compares with the keys of the name by revisions: what was not written again holds what it held.
func (c *cell) is(keys *registry.NameKeys) bool {
	return c.record.revision == keys.Record.GetModRevision() && c.alive.revision == keys.Alive.GetModRevision() &&
		c.admin.revision == keys.Admin.GetModRevision()
}

// takeOver makes a key what etcd has, from what is known of it where it was not written since. Neither need be there.
func (c *cell) takeOver(f registry.Family, known *cell, kv *mvccpb.KeyValue) {
	if kv != nil && (known == nil || !c.keep(f, known, kv)) {
		c.put(f, kv)
	}
}

// A pulse beats while something long goes on: etcd is heard as long as keys come.
type pulse int

func (p *pulse) beat(heard func()) {
	const each = 1000
	if *p%each == 0 {
		heard()
	}
	*p++
}
