package schedules_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// story tells what happened: what etcd had, revision by revision, and what each reader was told.
func (w *world) story() string {
	var b strings.Builder
	for r := int64(2); r < int64(len(w.auditor.tables)); r++ {
		if line := w.changed(r); line != "" {
			fmt.Fprintf(&b, "%12v r%d %s%s\n", w.since(w.auditor.at[r]), r, w.operator.did[r], line)
		}
	}
	for _, r := range w.readers {
		fmt.Fprintf(&b, "%s reader\n", r.kind)
		for _, h := range r.log {
			if h.resumed != "" {
				fmt.Fprintf(&b, "%12v resumes from %s, %d\n", w.since(h.at), h.resumed, h.after)
				continue
			}
			fmt.Fprintf(&b, "%12v %s at %d\n", w.since(h.at), h.batch.Kind, h.batch.Revision)
			for _, e := range h.batch.Events {
				fmt.Fprintf(&b, "%12s   %s %s as %d, before %d, cause %v, synthetic %v\n", "", e.Kind, e.Name, e.Incarnation, e.PreviousIncarnation, deref(e.Cause), e.Synthetic)
			}
		}
	}
	return b.String()
}

func (w *world) since(at time.Time) time.Duration { return at.Sub(w.begin).Round(time.Millisecond) }

// changed tells what one revision did to the keys.
func (w *world) changed(r int64) string {
	was, is := w.auditor.tables[r-1].Entries, w.auditor.tables[r].Entries
	names := maps.Clone(was)
	maps.Copy(names, is)
	line := ""
	for _, name := range slices.SortedFunc(maps.Keys(names), registry.Name.Compare) {
		before, after := &registry.Entry{}, &registry.Entry{}
		if e := was[name]; e != nil {
			before = e
		}
		if e := is[name]; e != nil {
			after = e
		}
		for _, key := range []struct {
			family        string
			before, after int64
		}{
			{"record", before.Record.Rev, after.Record.Rev},
			{"alive", before.Alive.Rev, after.Alive.Rev},
			{"admin", before.Admin.Rev, after.Admin.Rev},
		} {
			switch {
			case key.before == key.after:
			case key.after == 0:
				line += fmt.Sprintf(" -%s %s", key.family, name)
			default:
				line += fmt.Sprintf(" +%s %s", key.family, name)
				if p := w.owner(after.Alive.Holder); key.family == "alive" && p != nil {
					line += fmt.Sprintf(" by process %d", p.pid-firstPID)
				}
			}
		}
	}
	return line
}
