package registry

import "time"

// compose gives the record to write: what the instance says now, on top of what was recorded before. Fields of newer versions
// are kept.
func (s *state) compose(now time.Time, ttl time.Duration) *Record {
	rec := s.in.record()
	rec.TTLSeconds = int64(ttl / time.Second)
	rec.CreatedAt, rec.UpdatedAt = stamp(now), stamp(now)
	if s.base != nil {
		rec.ReportCount, rec.Unknown = s.base.ReportCount, s.base.Unknown
		if !s.base.CreatedAt.IsZero() {
			rec.CreatedAt = s.base.CreatedAt
		}
	}
	return rec
}

// inherit keeps what a record in etcd says that this process must go on with: Cinder's count of reports goes on over restarts
// too.
func (s *state) inherit(old *Record) {
	if s.base == nil {
		s.base = old
		return
	}
	s.base.Unknown = old.Unknown
	s.base.ReportCount = max(s.base.ReportCount, old.ReportCount)
}

// stamp is how times are written: UTC, milliseconds.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// holder gives the value of the alive key for a new incarnation.
func (r *Registry) holder(g *Registration, now time.Time) *Holder {
	p := r.cfg.Process
	return &Holder{
		Schema: Schema, Registration: g.id, PID: p.PID, ProcessStart: p.Start,
		MachineID: p.MachineID, BootID: p.BootID, PIDNamespace: p.PIDNamespace, Since: stamp(now),
	}
}
