package watcher

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/hbctl/hbctl/registry"
)

// moveJSON is a move. Its instances are as in a view, each with all that there is of it now; one without anything is gone.
type moveJSON struct {
	Revision  int64          `json:"revision,omitzero"`
	View      jsontext.Value `json:"view,omitempty"` // it begins anew; nothing else is set then
	Instances []cellJSON     `json:"instances,omitempty"`
	Foreign   [][]byte       `json:"foreign,omitempty"`
	Cleared   [][]byte       `json:"foreign_gone,omitempty"`
}

// MarshalJSON writes the move, on one line.
func (m Move) MarshalJSON() ([]byte, error) {
	if m.part == nil {
		return nil, fmt.Errorf("%w: the move is empty", ErrInvalid)
	}
	var out moveJSON
	if m.whole {
		view, err := m.part.MarshalJSON()
		if err != nil {
			return nil, err
		}
		out.View = view
		return json.Marshal(out, jsontext.AllowInvalidUTF8(true))
	}
	out.Revision = m.part.revision
	for _, name := range m.names {
		out.Instances = append(out.Instances, m.part.instanceJSON(name))
	}
	for _, key := range slices.Sorted(maps.Keys(m.foreign)) {
		if m.foreign[key] {
			out.Foreign = append(out.Foreign, []byte(key))
		} else {
			out.Cleared = append(out.Cleared, []byte(key))
		}
	}
	return json.Marshal(out, jsontext.AllowInvalidUTF8(true))
}

// UnmarshalJSON reads what MarshalJSON wrote. It returns ErrInvalid for anything else, and then leaves the move as it is.
func (m *Move) UnmarshalJSON(data []byte) error {
	var in moveJSON
	if err := json.Unmarshal(data, &in, jsontext.AllowInvalidUTF8(true)); err != nil {
		return fmt.Errorf("%w: move can't be read: %w", ErrInvalid, err)
	}
	if len(in.View) > 0 {
		view := new(View)
		if err := view.UnmarshalJSON(in.View); err != nil {
			return err
		}
		*m = Move{whole: true, part: view}
		return nil
	}
	if in.Revision < 1 {
		return fmt.Errorf("%w: move lacks its revision", ErrInvalid)
	}
	read := Move{part: (&View{revision: in.Revision}).only(nil), foreign: make(map[string]bool)}
	for i := range in.Instances {
		name, err := read.part.takeMoved(&in.Instances[i])
		if err != nil {
			return err
		}
		read.names = append(read.names, name)
	}
	for _, key := range in.Foreign {
		read.foreign[string(key)] = true
	}
	for _, key := range in.Cleared {
		read.foreign[string(key)] = false
	}
	*m = read
	return nil
}

// takeMoved reads an instance, which may have nothing left.
func (v *View) takeMoved(in *cellJSON) (registry.Name, error) {
	name := registry.Name{Binary: in.Binary, Host: in.Host}
	if in.Record == nil && in.Alive == nil && in.Admin == nil && in.Suspect == nil {
		if err := name.Validate(); err != nil {
			return name, fmt.Errorf("move: %w", err)
		}
		return name, nil
	}
	return name, v.take(in)
}
