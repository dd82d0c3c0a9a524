package history

// silence judges the time until a batch, or until the end of a session (next is nil): nobody may wait for what has happened
// without being told that contact is lost. This is seen from outside: whatever keeps a reader blind, it must know.
func (r *reader) silence(until int64, next *Record) {
	if r.waiting == forever || r.stale || !r.synced || r.confirm > 0 && r.open > 0 {
		return
	}
	t := r.c.truth
	i := t.nextVisible[t.next(r.position)]
	if i == len(t.steps) {
		return
	}
	since := max(t.steps[i].at, r.waiting, r.contact)
	if r.process != nil {
		until = min(until, r.process.dead, r.process.asked)
	}
	if since >= until {
		return
	}
	r.c.checked(StaleTold)
	limit := int64(r.c.o.StaleAfter + r.c.o.Slack)
	if until-since <= limit || r.hindered(since, until) {
		return
	}
	rec := next
	if rec == nil {
		rec = t.steps[i].record
	}
	name := ""
	if len(t.steps[i].changed) > 0 {
		name = t.steps[i].changed[0].name
	}
	r.fail(StaleTold, rec, name, "revision %d was not told for %s, and nobody said stale", t.steps[i].revision, seconds(until-since))
}

// hindered says that the reader itself was kept from taking what was there.
func (r *reader) hindered(from, to int64) bool {
	p := r.process
	if p == nil {
		return false
	}
	for _, s := range []spans{p.frozen, p.starved, p.slow} {
		if _, hit := s.joined(0, 0).overlaps(from, to); hit {
			return true
		}
	}
	return false
}
