package history

import (
	"fmt"
	"slices"
	"strings"
)

// ends judges what etcd was told of ends: announced by who left, and by nobody else; and that every key has a lease.
func (c *checker) ends() {
	for _, l := range c.truth.lives {
		c.checked(NoGhosts)
		if l.lease == 0 {
			_, junk := c.scene.junk.joined(0, int64(c.o.Slack)).overlaps(l.begin-2e9, l.begin)
			if !junk && !c.scene.did(l, l.begin-2e9, l.begin+int64(c.o.Slack), OpUnleased) {
				c.fail(NoGhosts, evidence{record: l.record, name: l.name(), problem: fmt.Sprintf("the alive key of %s is bound to no lease", l.name())})
			}
		}
		c.left(l)
	}
}

// left judges the end of one incarnation against what its holder said.
func (c *checker) left(l *life) {
	if l.left != nil {
		c.checked(RightCause)
		switch {
		case l.endRevision == 0:
			c.fail(RightCause, evidence{record: l.left, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s has left, says its holder, but its key is there", l.incarnation, l.name())})
		case l.how == gone && l.endAt > l.left.At+int64(c.o.Slack):
			c.fail(RightCause, evidence{record: l.endRecord, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s has left, says its holder, but ended unannounced", l.incarnation, l.name())})
		}
	}
	if l.how != announced {
		return
	}
	c.checked(RightCause)
	if !slices.Contains(announcedCauses, l.cause) {
		c.fail(RightCause, evidence{record: l.endRecord, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s was announced to end for %q, which nobody can announce", l.incarnation, l.name(), l.cause)})
	}
	if p := l.owner; p != nil && p.dead < l.endAt-int64(c.o.Slack) && !c.unanswered(p, l) {
		c.fail(RightCause, evidence{record: l.endRecord, name: l.name(), problem: fmt.Sprintf("incarnation %d of %s was announced to end as %s by a process that was dead", l.incarnation, l.name(), l.cause)})
	}
}

// unanswered says that the announcement may have been on its way when the process died: etcd was disturbed.
func (c *checker) unanswered(p *process, l *life) bool {
	_, disturbed := c.scene.disturbed.overlaps(p.dead-int64(c.o.Slack), l.endAt)
	_, cut := p.cut.joined(0, 0).overlaps(p.dead-int64(c.o.Slack), l.endAt)
	return disturbed || cut
}

// resources judges what processes leave behind, and how big they get.
func (c *checker) resources() {
	biggest := int64(0)
	for _, rec := range c.memory {
		c.checked(Bounded)
		biggest = max(biggest, rec.Bytes)
		if rec.Bytes > c.o.Memory {
			c.fail(Bounded, evidence{record: rec, problem: fmt.Sprintf("%s has %d MiB in memory; the bound is %d", rec.Source, rec.Bytes>>20, c.o.Memory>>20)})
		}
	}
	if biggest > 0 {
		c.results[Bounded].Figure = fmt.Sprintf("at most %d MiB", biggest>>20)
	}
	for _, source := range sortedKeys(c.scene.processes) {
		p := c.scene.processes[source]
		if p.exited != nil {
			c.checked(CleanExit)
			if p.exited.Leaks > 0 {
				c.fail(CleanExit, evidence{record: p.exited, problem: fmt.Sprintf("%s left %d goroutines over", source, p.exited.Leaks)})
			}
		}
	}
	c.leases()
}

// leases judges that all leases at the end are held by somebody who is up.
func (c *checker) leases() {
	final := c.scene.final
	if final == nil || final.Leases == nil {
		return
	}
	c.checked(CleanExit)
	held := make(map[int64]bool)
	for _, l := range c.truth.lives {
		if l.endRevision == 0 {
			held[l.lease] = true
		}
	}
	var over []string
	for _, lease := range final.Leases {
		if !held[leaseOf(lease)] {
			over = append(over, lease)
		}
	}
	if len(over) > 0 {
		c.fail(CleanExit, evidence{record: final, problem: fmt.Sprintf("%d leases are left over that no alive key is bound to: %s", len(over), strings.Join(over, ", "))})
	}
}
