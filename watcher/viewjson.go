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

	Suspect *suspectJSON `json:"suspect,omitempty"`
}

// suspectJSON is an open suspect: the alive key that went, and what is known of that.
type suspectJSON struct {
	keyJSON
	Deleted int64           `json:"deleted,omitzero"`
	Safe    int64           `json:"safe"`
	Cause   *registry.Cause `json:"cause,omitempty"`
}

type keyJSON struct {
	Revision int64          `json:"revision"`
	Lease    string         `json:"lease,omitempty"`   // hexadecimal
	Process  string         `json:"process,omitempty"` // hexadecimal, see cell
	Value    jsontext.Value `json:"value,omitempty"`
	Problem  string         `json:"problem,omitempty"` // why the value can't be read
}

// MarshalJSON writes the whole view.
func (v *View) MarshalJSON() ([]byte, error) {
	out := viewJSON{
		Schema: viewSchema, Cluster: strconv.FormatUint(v.cluster, 16), Prefix: v.prefix, Selection: v.selection,
		Revision: v.revision, Instances: make([]cellJSON, 0, len(v.cells)),
	}
	for _, name := range v.names() {
		out.Instances = append(out.Instances, v.instanceJSON(name))
	}
	for _, key := range slices.Sorted(maps.Keys(v.foreign)) {
		out.Foreign = append(out.Foreign, []byte(key))
	}
	return json.Marshal(out, jsontext.AllowInvalidUTF8(true))
}

// names gives all names of which there is a key or an open suspect.
func (v *View) names() []registry.Name {
	names := sortedNames(v.cells)
	for name := range v.suspects {
		if v.cells[name] == nil {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, registry.Name.Compare)
	return names
}

func (v *View) instanceJSON(name registry.Name) cellJSON {
	out := cellJSON{Binary: name.Binary, Host: name.Host, Owed: v.owed[name]}
	if c := v.cells[name]; c != nil {
		e := c.entry(name)
		out.Record, out.Admin = toJSON(c.record, e.Record.Err), toJSON(c.admin, e.Admin.Err)
		out.Alive = c.aliveJSON(name)
	}
	if s := v.suspects[name]; s != nil {
		out.Suspect = &suspectJSON{keyJSON: *s.cell().aliveJSON(name), Deleted: s.deleted, Safe: s.safe, Cause: s.cause.Load()}
	}
	return out
}

func (c *cell) aliveJSON(name registry.Name) *keyJSON {
	k := toJSON(c.alive, c.entry(name).Alive.Err)
	if k == nil {
		return nil
	}
	if c.lease != 0 {
		k.Lease = registry.FormatLease(c.lease)
	}
	if c.process != 0 {
		k.Process = strconv.FormatUint(c.process, 16)
	}
	return k
}

func toJSON(s stored, err error) *keyJSON {
	switch {
	case s.revision == 0:
		return nil
	case err != nil:
		return &keyJSON{Revision: s.revision, Problem: err.Error()}
	}
	return &keyJSON{Revision: s.revision, Value: jsontext.Value(s.value())}
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
		suspects: make(map[registry.Name]*suspect),
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
	c := &cell{record: in.Record.stored(), admin: in.Admin.stored()}
	if err := c.readAlive(name, in.Alive); err != nil {
		return err
	}
	switch {
	case !c.empty():
		v.cells[name] = c
	case in.Suspect == nil:
		return fmt.Errorf("%w: view has no key of %s", ErrInvalid, name)
	}
	if in.Suspect != nil {
		s, err := in.Suspect.read(name)
		if err != nil {
			return err
		}
		v.suspects[name] = s
	}
	if in.Owed != 0 {
		v.owed[name] = in.Owed
	}
	return nil
}

// readAlive reads the alive key; nil for none.
func (c *cell) readAlive(name registry.Name, in *keyJSON) error {
	if in == nil {
		return nil
	}
	c.alive = in.stored()
	var err error
	if in.Lease != "" {
		if c.lease, err = strconv.ParseInt(in.Lease, 16, 64); err != nil {
			return fmt.Errorf("%w: view has the lease %q of %s", ErrInvalid, in.Lease, name)
		}
	}
	if in.Process != "" {
		if c.process, err = strconv.ParseUint(in.Process, 16, 64); err != nil {
			return fmt.Errorf("%w: view has the process %q of %s", ErrInvalid, in.Process, name)
		}
	}
	return nil
}

func (in *suspectJSON) read(name registry.Name) (*suspect, error) {
	var c cell
	if err := c.readAlive(name, &in.keyJSON); err != nil {
		return nil, err
	}
	if in.Revision < 1 || c.lease == 0 || in.Safe < 1 {
		return nil, fmt.Errorf("%w: view has a suspect %s without revision, lease or position", ErrInvalid, name)
	}
	s := suspectOf(&c)
	s.deleted, s.safe = in.Deleted, in.Safe
	s.cause.Store(in.Cause)
	return s, nil
}

func (k *keyJSON) stored() stored {
	switch {
	case k == nil:
		return stored{}
	case k.Value.Kind() == '{':
		return stored{revision: k.Revision, text: shorten(string(k.Value))}
	}
	return stored{revision: k.Revision, text: problem + k.Problem}
}
