package watcher

import (
	"cmp"
	"hash/fnv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/hbctl/hbctl/registry"
)

// A cell is what a view keeps of one name: its three keys, values as etcd has them. They are decoded when something happens
// to the name: decoded, a hundred thousand instances would take three times the memory.
type cell struct {
	record, alive, admin stored
	lease                int64
	process              uint64 // stands for the identity of the process that put the alive key; 0: not known
}

// stored is one key of a name.
type stored struct {
	revision int64 // ModRevision; 0: the key is not there
	text     string
}

// readable says that the text is the value as etcd has it.
func (s stored) readable() bool { return !strings.HasPrefix(s.text, problem) }

// problem begins the text of a value that is not kept, because it is too long for one of ours or no JSON object; why it can't
// be read follows.
const problem = "!"

// unreadable is why a value can't be read, as a view remembers it.
type unreadable string

func (e unreadable) Error() string { return string(e) }

func (c *cell) empty() bool {
	return c.record.revision == 0 && c.alive.revision == 0 && c.admin.revision == 0
}

// same compares by revisions: a key that was not written again holds what it held.
func (c *cell) same(other *cell) bool {
	return c.record.revision == other.record.revision && c.alive.revision == other.alive.revision && c.admin.revision == other.admin.revision
}

// identity gives what stands for the process of the alive key; 0: not known.
func (c *cell) identity() uint64 {
	if c == nil {
		return 0
	}
	return c.process
}

func (c *cell) of(f registry.Family) *stored {
	switch f {
	case registry.FamilyRecord:
		return &c.record
	case registry.FamilyAlive:
		return &c.alive
	}
	return &c.admin
}

func (c *cell) put(f registry.Family, kv *mvccpb.KeyValue) {
	s := c.of(f)
	s.revision, s.text = kv.ModRevision, string(kv.Value)
	if len(kv.Value) > registry.MaxValueBytes || jsontext.Value(kv.Value).Kind() != '{' {
		var e registry.Entry
		e.Put(f, kv)
		s.text = problem + cmp.Or(e.Record.Err, e.Alive.Err, e.Admin.Err).Error()
	}
	if f == registry.FamilyAlive {
		c.lease, c.process = kv.Lease, 0 // see slim
	}
}

func (c *cell) delete(f registry.Family) {
	*c.of(f) = stored{}
	if f == registry.FamilyAlive {
		c.lease, c.process = 0, 0
	}
}

// entry decodes the cell. A nil cell is an empty entry.
func (c *cell) entry(name registry.Name) *registry.Entry {
	return c.decode(&registry.Entry{Name: name})
}

// decode gives the entry of the cell, with what did not change since the entry before, which is not changed.
func (c *cell) decode(before *registry.Entry) *registry.Entry {
	e := &registry.Entry{Name: before.Name}
	if c == nil {
		return e
	}
	if s := c.record; s.revision == before.Record.Rev {
		e.Record = before.Record
	} else if s.revision != 0 {
		value, err := read(s, registry.DecodeRecord)
		e.Record = registry.RecordKey{Rev: s.revision, Value: value, Err: err}
	}
	if s := c.alive; s.revision == before.Alive.Rev {
		e.Alive = before.Alive
	} else if s.revision != 0 {
		value, err := read(s, registry.DecodeHolder)
		e.Alive = registry.AliveKey{Rev: s.revision, Lease: c.lease, Holder: value, Err: err}
	}
	if s := c.admin; s.revision == before.Admin.Rev {
		e.Admin = before.Admin
	} else if s.revision != 0 {
		value, err := read(s, registry.DecodeAdmin)
		e.Admin = registry.AdminKey{Rev: s.revision, Value: value, Err: err}
	}
	return e
}

func read[T any](s stored, decode func([]byte) (*T, error)) (*T, error) {
	if why, found := strings.CutPrefix(s.text, problem); found {
		return nil, unreadable(why)
	}
	return decode([]byte(s.text))
}

// slim drops what nobody asks a view for: of a holder, everything but who registered and when, and a number for the process.
func (c *cell) slim(e *registry.Entry) {
	h := e.Alive.Holder
	if h == nil {
		return
	}
	if identity, known := h.ProcessIdentity(); known {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(identity)) // never fails
		c.process = sum.Sum64()
	}
	small := &registry.Holder{Schema: h.Schema, Registration: h.Registration, Since: h.Since}
	if text, err := registry.EncodeHolder(small); err == nil && len(text) < len(c.alive.text) {
		c.alive.text = string(text)
	}
}
