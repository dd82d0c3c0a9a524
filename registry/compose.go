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

// encodeOwn encodes a record of ours. Fields that we don't know are kept unless they are what makes it too large: a stranger
// who filled the record up must not keep it from ever being written again.
func encodeOwn(rec *Record) ([]byte, error) {
	value, err := EncodeRecord(rec)
	if err != nil && len(rec.Unknown) > 0 {
		rec.Unknown = nil
		value, err = EncodeRecord(rec)
	}
	return value, err
}

// lastWords gives the record that announces an end. An end without a reason, or without labels, is still an end.
func (s *state) lastWords(how Ended) (*Record, []byte, error) {
	rec := s.compose(time.Now(), s.in.TTL)
	rec.Ended = &how
	value, err := encodeOwn(rec)
	if err != nil {
		rec.Labels, rec.Endpoints, rec.Ended.Reason = nil, nil, ""
		value, err = encodeOwn(rec)
	}
	return rec, value, err
}

// mendsOnly says that the record is to be written for no other reason than that somebody else wrote or deleted it.
func (s *state) mendsOnly() bool { return s.mend && !s.report && len(s.waiting) == 0 }

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
