package watcher

import (
	"maps"

	"github.com/hbctl/hbctl/registry"
)

// View is all that a reader was told of last, and where: a position to resume from of which nothing gets lost, see From. It
// is made by a Watcher and does not change any more, unless by Apply. Its JSON form can be kept; read it with json.Unmarshal.
type View struct {
	cluster   uint64
	prefix    string
	selection string
	revision  int64
	cells     map[registry.Name]*cell // never changed in place: views share them
	foreign   map[string]bool         // keys that are none of ours and were told as warnings
	owed      map[registry.Name]int64 // see selection.keep
	suspects  map[registry.Name]*suspect
}

// Cluster gives the id of the etcd cluster that the view is of.
func (v *View) Cluster() uint64 { return v.cluster }

// Prefix gives the prefix that the view is of.
func (v *View) Prefix() string { return v.prefix }

// Revision gives the position: everything up to it was told, but for the downs of open suspects, which the view has noted.
func (v *View) Revision() int64 { return v.revision }

// maxForeign bounds how many keys that are none of ours are remembered, and so told. A prefix that is full of them is told by
// its first thousand.
const maxForeign = 1000

// Clone gives a copy that moves on its own. It costs a copy of one pointer for each instance: what these point to never changes.
func (v *View) Clone() *View {
	c := *v
	c.cells, c.foreign, c.owed, c.suspects = maps.Clone(v.cells), maps.Clone(v.foreign), maps.Clone(v.owed), maps.Clone(v.suspects)
	return &c
}

// position gives the revision after which a reader who keeps nothing else can resume, see vigil.position.
func (v *View) position() int64 {
	position := v.revision
	for _, s := range v.suspects {
		position = min(position, s.safe)
	}
	return position
}

// A patch is how a view moves from one position to the next: only what changed, so that keeping a view up to date, in memory
// or in a file, costs the same for ten instances and for a million.
type patch struct {
	revision int64
	cells    []named                    // an empty one: the name is gone
	foreign  map[string]bool            // false: gone
	owed     map[registry.Name]int64    // 0: none any more
	suspects map[registry.Name]*suspect // nil: closed
}

type named struct {
	name registry.Name
	cell *cell
}

// apply moves the view. Everything in the patch is after the view's own position.
func (v *View) apply(p *patch) {
	v.revision = max(v.revision, p.revision)
	for _, c := range p.cells {
		if c.cell.empty() {
			delete(v.cells, c.name)
		} else {
			v.cells[c.name] = c.cell
		}
	}
	for key, there := range p.foreign {
		if there {
			v.foreign[key] = true
		} else {
			delete(v.foreign, key)
		}
	}
	for name, incarnation := range p.owed {
		if incarnation != 0 {
			v.owed[name] = incarnation
		} else {
			delete(v.owed, name)
		}
	}
	for name, s := range p.suspects {
		if s != nil {
			v.suspects[name] = s
		} else {
			delete(v.suspects, name)
		}
	}
}
