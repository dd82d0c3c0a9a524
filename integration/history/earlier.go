package history

import (
	"math"

	"github.com/hbctl/hbctl/registry"
)

// auditorLag is by how much the auditor may be late: when its own way to etcd is broken it hears of a revision after others do.
const auditorLag = int64(5e9)

// earlier gives when revisions came about: no later than somebody knew of what they did, who can only have it from etcd. What is
// known of one revision is known of those before it.
func (c *checker) earlier(audits []*Record) map[int64]int64 {
	known := c.evidence(audits)
	out := make(map[int64]int64, len(audits))
	soonest := int64(math.MaxInt64)
	for i := len(audits) - 1; i >= 0; i-- {
		rec := audits[i]
		if at, found := known[rec.Revision]; found {
			soonest = min(soonest, at)
		}
		out[rec.Revision] = rec.At
		if soonest < rec.At && rec.At-soonest <= auditorLag {
			out[rec.Revision] = soonest
		}
		soonest = min(soonest, out[rec.Revision])
	}
	return out
}

// evidence gives when a holder or a reader first knew of a revision: by the incarnation that it made, or the one that it ended.
func (c *checker) evidence(audits []*Record) map[int64]int64 {
	type deed struct {
		revision int64
		name     string
		put      bool
	}
	deeds := make(map[deed]bool)
	for _, rec := range audits {
		for i := range rec.Writes {
			if family, name, err := c.keys.Parse([]byte(rec.Writes[i].Key)); err == nil && family == registry.FamilyAlive {
				deeds[deed{rec.Revision, name.String(), !rec.Writes[i].Delete}] = true
			}
		}
	}
	known := make(map[int64]int64)
	note := func(d deed, at int64) {
		if first, found := known[d.revision]; deeds[d] && (!found || at < first) {
			known[d.revision] = at
		}
	}
	for _, rec := range c.all {
		switch {
		case rec.Kind == Registered:
			note(deed{rec.Incarnation, rec.Name, true}, rec.At)
		case rec.Kind == Handed && rec.Batch != nil:
			for i := range rec.Batch.Events {
				e := &rec.Batch.Events[i]
				switch e.Kind {
				case "up", "cleared":
					note(deed{e.Incarnation, e.Name, true}, rec.At)
				case "down", "suspect":
					note(deed{e.DeletedRevision, e.Name, false}, rec.At)
				}
			}
		}
	}
	return known
}
