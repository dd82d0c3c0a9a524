package registry

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"golang.org/x/sync/errgroup"
)

// Listing is a list that is handed over while it is read: the first row comes early, and memory stays flat however many there are.
type Listing struct {
	Cluster  uint64
	Revision int64
	RaftTerm uint64

	client   Lister
	opts     ListOptions
	reading  *reading
	warnings []Warning
	foreign  []Warning // about keys that are none of ours
}

// Stream begins a list, as List does, and returns when its revision is known. It returns the same errors.
func Stream(ctx context.Context, client Lister, opts ListOptions) (*Listing, error) {
	keys, err := NewKeys(opts.Prefix)
	if err != nil {
		return nil, err
	}
	r, err := newReading(ctx, client, keys, opts.Revision)
	if err != nil {
		return nil, fmt.Errorf("listing: %w", err)
	}
	return &Listing{
		Cluster: r.header.ClusterId, Revision: r.header.Revision, RaftTerm: r.header.RaftTerm,
		client: client, opts: opts, reading: r,
	}, nil
}

// Rows gives the rows in the order of a Snapshot, once. A row may be kept, what the pointer shows changes with the next one. An
// error is the last thing in the sequence: a list that ended with one is not complete. Nothing of it runs when the sequence is over.
func (l *Listing) Rows(ctx context.Context) iter.Seq2[*Service, error] {
	return func(yield func(*Service, error) bool) {
		if err := l.rows(ctx, yield); err != nil {
			yield(nil, err)
		}
	}
}

// rows hands the rows over. The error is to be told; there is none if nobody wants more.
func (l *Listing) rows(ctx context.Context, yield func(*Service, error) bool) error {
	own, cancel := context.WithCancel(ctx)
	group, reading := errgroup.WithContext(own)
	out := l.output(own, yield)
	defer out.stop()
	defer cancel()
	m := newMerge(reading, group, l.reading, decoded, (*part).path)
	l.take(m, out)
	out.finish()
	cancel()
	err := group.Wait()
	switch {
	case out.over:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("listing: %w", ctx.Err())
	case !m.complete:
		return fmt.Errorf("listing: %w", err)
	}
	l.foreign = m.foreign
	return nil
}

// take derives the rows of all names, in their order.
func (l *Listing) take(m *merge[part], out *output) {
	var e Entry
	for next(m, &e) {
		l.warnings = append(l.warnings, e.Warnings(l.reading.keys)...)
		if !e.Listed() {
			continue
		}
		s := e.Service()
		if l.opts.Filter.Match(&s) && !out.put(&s) {
			return
		}
	}
}

// Warnings gives what can't be read or can't be right, of the whole prefix, once all rows were taken: keys that are none of ours
// first, then those of names in their order.
func (l *Listing) Warnings() []Warning { return append(slices.Clip(l.foreign), l.warnings...) }

// A part is one key of a name, decoded.
type part struct {
	name   Name
	tail   []byte // BINARY/HOST, as in the key
	record RecordKey
	alive  AliveKey
	admin  AdminKey
}

func (p *part) path() []byte { return p.tail }

// next gives the entry of the next name; false at the end, which is complete or not.
func next(m *merge[part], e *Entry) bool {
	record, alive, admin, more := m.next()
	if !more {
		return false
	}
	*e = Entry{}
	if record != nil {
		e.Name, e.Record = record.name, record.record
	}
	if alive != nil {
		e.Name, e.Alive = alive.name, alive.alive
	}
	if admin != nil {
		e.Name, e.Admin = admin.name, admin.admin
	}
	return true
}

// decoded makes parts of the keys of a family.
func decoded(keys Keys, family Family, foreign *[]Warning) func([]*mvccpb.KeyValue) []part {
	d := &decoder{keys: keys, family: family, foreign: foreign}
	return d.decode
}

// A decoder decodes the keys of one family.
type decoder struct {
	keys    Keys
	family  Family
	foreign *[]Warning
	last    lastTexts
}

func (d *decoder) decode(kvs []*mvccpb.KeyValue) []part {
	parts := make([]part, 0, len(kvs))
	for _, kv := range kvs {
		name, err := d.keys.parseIn(d.family, kv.Key, d.last.binary)
		if err != nil {
			*d.foreign = append(*d.foreign, Warning{Key: string(kv.Key), Problem: err.Error()})
			continue
		}
		d.last.binary, d.last.host = name.Binary, name.Host
		p := part{name: name, tail: kv.Key[len(d.keys.prefix)+len(d.family)+1:]}
		switch d.family {
		case FamilyRecord:
			value, err := decodeRecord(kv.Value, &d.last)
			p.record = RecordKey{Rev: kv.ModRevision, Value: value, Err: err}
		case FamilyAlive:
			holder, err := decodeHolder(kv.Value, true)
			p.alive = AliveKey{Rev: kv.ModRevision, Lease: kv.Lease, Holder: holder, Err: err}
		case FamilyAdmin:
			value, err := DecodeAdmin(kv.Value)
			p.admin = AdminKey{Rev: kv.ModRevision, Value: value, Err: err}
		}
		parts = append(parts, p)
	}
	return parts
}
