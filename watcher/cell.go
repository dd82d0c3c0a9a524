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
	revision int64  // ModRevision; 0: the key is not there
	text     string // the value, see shorten; or why it can't be read, see problem
}

// readable says that the text is the value as etcd has it.
func (s stored) readable() bool { return !strings.HasPrefix(s.text, problem) }

// problem begins the text of a value that is not kept, because it is too long for one of ours or no JSON object; why it can't
// be read follows.
const problem = "!"

// openings are what values of ours begin with. One byte, which no value begins with, stands for each in a text: of a hundred thousand
// instances they would be five megabytes.
const (
	recordMark, recordOpening = '%', `{"schema":1,"binary":"`
	holderMark, holderOpening = '~', `{"schema":1,"registration":"`
)

// opening gives what the mark stands for; "": it is none.
func opening(mark byte) string {
	switch mark {
	case recordMark:
		return recordOpening
	case holderMark:
		return holderOpening
	}
	return ""
}

// shorten gives the text for a value.
func shorten[T string | []byte](value T) string {
	for _, mark := range [...]byte{recordMark, holderMark} {
		if opening := opening(mark); len(value) >= len(opening) && string(value[:len(opening)]) == opening {
			short := make([]byte, 0, 512) // of most values it need not be allocated
			return string(append(append(short, mark), value[len(opening):]...))
		}
	}
	return string(value)
}

// value gives the value of a text that is readable.
func (s stored) value() string {
	if s.text == "" {
		return ""
	}
	if opening := opening(s.text[0]); opening != "" {
		return opening + s.text[1:]
	}
	return s.text
}

// appendValue is value without a copy of its own.
func (s stored) appendValue(b []byte) []byte {
	rest := s.text
	if rest != "" {
		if opening := opening(rest[0]); opening != "" {
			b, rest = append(b, opening...), rest[1:]
		}
	}
	return append(b, rest...)
}

// holds says that the value is this one.
func (s stored) holds(value []byte) bool {
	if s.text != "" {
		if opening := opening(s.text[0]); opening != "" {
			n := len(opening)
			return len(value) >= n && string(value[:n]) == opening && string(value[n:]) == s.text[1:]
		}
	}
	return string(value) == s.text
}

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
	s.revision, s.text = kv.ModRevision, shorten(kv.Value)
	if len(kv.Value) > registry.MaxValueBytes || jsontext.Value(kv.Value).Kind() != '{' {
		var e registry.Entry
		e.Put(f, kv)
		s.text = problem + cmp.Or(e.Record.Err, e.Alive.Err, e.Admin.Err).Error()
	}
	if f == registry.FamilyAlive {
		c.lease, c.process = kv.Lease, 0 // see slim
	}
}

// keep takes over a key from what is known of it, if it was not written since, and says whether it did. Most keys of a list were not,
// and so need neither be copied nor decoded.
func (c *cell) keep(f registry.Family, known *cell, kv *mvccpb.KeyValue) bool {
	s := *known.of(f)
	switch {
	case s.revision != kv.ModRevision:
		return false
	case f == registry.FamilyAlive: // of whose value a part is kept
		if known.lease != kv.Lease {
			return false
		}
		c.lease, c.process = known.lease, known.process
	case !s.holds(kv.Value):
		return false
	}
	*c.of(f) = s
	return true
}

func (c *cell) delete(f registry.Family) {
	*c.of(f) = stored{}
	if f == registry.FamilyAlive {
		c.lease, c.process = 0, 0
	}
}

// A scratch is where one name after the other is looked at, without garbage.
type scratch struct {
	value       []byte
	decoder     registry.Decoder
	known, seen registry.Entry
	change      change
	events      []Event
}

// entry decodes the cell. A nil cell is an empty entry.
func (c *cell) entry(name registry.Name) *registry.Entry {
	e := new(registry.Entry)
	c.decode(e, &registry.Entry{Name: name}, &scratch{})
	return e
}

// decode makes e the entry of the cell, with what did not change since the entry before.
func (c *cell) decode(e, before *registry.Entry, b *scratch) {
	*e = registry.Entry{Name: before.Name}
	if c == nil {
		return
	}
	if s := c.record; s.revision == before.Record.Rev {
		e.Record = before.Record
	} else if s.revision != 0 {
		value, err := read(s, b, func(value []byte) (*registry.Record, error) { return b.decoder.Record(e.Name, value) })
		e.Record = registry.RecordKey{Rev: s.revision, Value: value, Err: err}
	}
	if s := c.alive; s.revision == before.Alive.Rev {
		e.Alive = before.Alive
	} else if s.revision != 0 {
		value, err := read(s, b, registry.DecodeHolder)
		e.Alive = registry.AliveKey{Rev: s.revision, Lease: c.lease, Holder: value, Err: err}
	}
	if s := c.admin; s.revision == before.Admin.Rev {
		e.Admin = before.Admin
	} else if s.revision != 0 {
		value, err := read(s, b, registry.DecodeAdmin)
		e.Admin = registry.AdminKey{Rev: s.revision, Value: value, Err: err}
	}
}

// read decodes a text. What is decoded shares nothing with the scratch.
func read[T any](s stored, b *scratch, decode func([]byte) (*T, error)) (*T, error) {
	if why, found := strings.CutPrefix(s.text, problem); found {
		return nil, unreadable(why)
	}
	b.value = s.appendValue(b.value[:0])
	return decode(b.value)
}

// slim drops what nobody asks a view for: of a holder, everything but who registered and when, and a number for the process.
func (c *cell) slim(h *registry.Holder) {
	if h == nil {
		return
	}
	if identity, known := h.ProcessIdentity(); known {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(identity)) // never fails
		c.process = sum.Sum64()
	}
	small := &registry.Holder{Schema: h.Schema, Registration: h.Registration, Since: h.Since}
	if value, err := registry.EncodeHolder(small); err == nil {
		if text := shorten(value); len(text) < len(c.alive.text) {
			c.alive.text = text
		}
	}
}
