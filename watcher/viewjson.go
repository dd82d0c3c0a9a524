package watcher

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/hbctl/hbctl/registry"
)

// viewSchema is the version of a view's JSON.
const viewSchema = 1

type viewJSON struct {
	Schema    int        `json:"schema"`
	Cluster   string     `json:"cluster"` // hexadecimal: JSON numbers are no place for 64 bits
	Prefix    string     `json:"prefix"`
	Selection string     `json:"selection"`
	Revision  int64      `json:"revision"`
	Instances []cellJSON `json:"instances"`
	Foreign   [][]byte   `json:"foreign,omitempty"` // base64: such keys need not be text
}

type cellJSON struct {
	Binary string   `json:"binary"`
	Host   string   `json:"host"`
	Record *keyJSON `json:"record,omitempty"`
	Alive  *keyJSON `json:"alive,omitempty"`
	Admin  *keyJSON `json:"admin,omitempty"`
	Owed   int64    `json:"owed,omitzero"` // the incarnation that the reader is owed a down of
}

type keyJSON struct {
	Revision int64          `json:"revision"`
	Lease    string         `json:"lease,omitempty"` // hexadecimal
	Value    jsontext.Value `json:"value,omitempty"`
	Problem  string         `json:"problem,omitempty"` // why the value can't be read
}

// MarshalJSON writes the whole view.
func (v *View) MarshalJSON() ([]byte, error) {
	out := viewJSON{
		Schema: viewSchema, Cluster: strconv.FormatUint(v.cluster, 16), Prefix: v.prefix, Selection: v.selection,
		Revision: v.revision, Instances: make([]cellJSON, 0, len(v.cells)),
	}
	for _, name := range sortedNames(v.cells) {
		c := v.cells[name]
		e := c.entry(name)
		instance := cellJSON{
			Binary: name.Binary, Host: name.Host, Owed: v.owed[name],
			Record: toJSON(c.record, e.Record.Err), Alive: toJSON(c.alive, e.Alive.Err), Admin: toJSON(c.admin, e.Admin.Err),
		}
		if c.lease != 0 {
			instance.Alive.Lease = registry.FormatLease(c.lease)
		}
		out.Instances = append(out.Instances, instance)
	}
	for _, key := range slices.Sorted(maps.Keys(v.foreign)) {
		out.Foreign = append(out.Foreign, []byte(key))
	}
	return json.Marshal(out, jsontext.AllowInvalidUTF8(true))
}

func toJSON(s stored, err error) *keyJSON {
	switch {
	case s.revision == 0:
		return nil
	case err != nil:
		return &keyJSON{Revision: s.revision, Problem: err.Error()}
	}
	return &keyJSON{Revision: s.revision, Value: jsontext.Value(s.text)}
}

// UnmarshalJSON reads what MarshalJSON wrote. It returns ErrInvalid for anything else, and then leaves the view as it is.
func (v *View) UnmarshalJSON(data []byte) error {
	var in viewJSON
	if err := json.Unmarshal(data, &in, jsontext.AllowInvalidUTF8(true)); err != nil {
		return fmt.Errorf("%w: view can't be read: %w", ErrInvalid, err)
	}
	if in.Schema != viewSchema {
		return fmt.Errorf("%w: view has schema %d; this version reads %d", ErrInvalid, in.Schema, viewSchema)
	}
	cluster, err := strconv.ParseUint(in.Cluster, 16, 64)
	if err != nil || in.Revision < 1 || in.Prefix == "" {
		return fmt.Errorf("%w: view lacks its cluster, prefix or revision", ErrInvalid)
	}
	read := View{
		cluster: cluster, prefix: in.Prefix, selection: in.Selection, revision: in.Revision,
		cells:   make(map[registry.Name]*cell, len(in.Instances)),
		foreign: make(map[string]bool, len(in.Foreign)), owed: make(map[registry.Name]int64),
	}
	for i := range in.Instances {
		if err := read.take(&in.Instances[i]); err != nil {
			return err
		}
	}
	for _, key := range in.Foreign {
		read.foreign[string(key)] = true
	}
	*v = read
	return nil
}

func (v *View) take(in *cellJSON) error {
	name := registry.Name{Binary: in.Binary, Host: in.Host}
	if err := name.Validate(); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	c := &cell{record: in.Record.stored(), alive: in.Alive.stored(), admin: in.Admin.stored()}
	if c.empty() {
		return fmt.Errorf("%w: view has no key of %s", ErrInvalid, name)
	}
	if in.Alive != nil && in.Alive.Lease != "" {
		lease, err := strconv.ParseInt(in.Alive.Lease, 16, 64)
		if err != nil {
			return fmt.Errorf("%w: view has the lease %q of %s", ErrInvalid, in.Alive.Lease, name)
		}
		c.lease = lease
	}
	v.cells[name] = c
	if in.Owed != 0 {
		v.owed[name] = in.Owed
	}
	return nil
}

func (k *keyJSON) stored() stored {
	switch {
	case k == nil:
		return stored{}
	case k.Value.Kind() == '{':
		return stored{revision: k.Revision, text: string(k.Value)}
	}
	return stored{revision: k.Revision, text: problem + k.Problem}
}
