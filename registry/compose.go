package registry

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// compose gives the record to write: what the instance says now, on top of what was recorded before. Fields of newer versions
// are kept.
func (s *state) compose(now time.Time, ttl time.Duration) *Record {
	rec := s.composeUnlabelled(now, ttl)
	rec.Labels = s.in.labelSet()
	return &rec
}

// composeUnlabelled leaves the labels out, for who can do without a map of them.
func (s *state) composeUnlabelled(now time.Time, ttl time.Duration) Record {
	rec := Record{
		Schema: Schema, Binary: s.name.Binary, Host: s.name.Host, Zone: s.in.zone, Endpoints: s.in.endpoints,
		TTLSeconds: int64(ttl / time.Second), CreatedAt: stamp(now), UpdatedAt: stamp(now),
	}
	rec.ReportCount, rec.Unknown = s.base.reports, s.base.unknown
	if !s.base.created.IsZero() {
		rec.CreatedAt = s.base.created
	}
	return rec
}

// base is what a record in etcd says beyond the instance itself. A whole record would be an eighth of all that a registration
// takes.
type base struct {
	known   bool
	created time.Time
	reports int64
	unknown jsontext.Value

	// Of one of ours, to tell its text:
	updated time.Time
	ttl     time.Duration
}

func baseOf(rec *Record) base {
	return base{
		known: true, created: rec.CreatedAt, reports: rec.ReportCount, unknown: rec.Unknown,
		updated: rec.UpdatedAt, ttl: time.Duration(rec.TTLSeconds) * time.Second,
	}
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

// composeText gives the text of a record, and what of it is kept. The record itself is made nowhere else than on the stack, if it can be.
func (s *state) composeText(now time.Time, ttl time.Duration) (base, []byte, error) {
	rec := s.composeUnlabelled(now, ttl)
	if text, ok := quickWrite(&rec, s.in.labels); ok && len(text) <= MaxValueBytes {
		return baseOf(&rec), text, nil
	}
	whole := rec
	whole.Labels = s.in.labelSet()
	text, err := encodeOwn(&whole)
	return baseOf(&whole), text, err
}

// oldRecord gives the value of the record as it is in etcd, as far as that is known. Of one of ours no text is kept: it would be a
// tenth of all that a registration takes. Before the instance is changed the text of what it was is kept, see update.
func (s *state) oldRecord() []byte {
	if s.recordOld != nil || s.recordRev == 0 || !s.base.known {
		return s.recordOld
	}
	_, value, err := s.composeText(s.base.updated, s.base.ttl)
	if err != nil {
		return nil // it was written, so it can be encoded
	}
	return value
}

// ifChanged gives the text of a record that was just written if it has to be kept: the instance may have been changed meanwhile.
func (s *state) ifChanged(written []byte) []byte {
	if s.dirty {
		return written
	}
	return nil // base tells it
}

// lastWords gives the record that announces an end. An end without a reason, or without labels, is still an end.
func (s *state) lastWords(how Ended) (*Record, []byte, error) {
	rec := s.compose(time.Now(), s.in.ttl)
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
	if !s.base.known {
		s.base = baseOf(old)
		return
	}
	s.base.unknown = old.Unknown
	s.base.reports = max(s.base.reports, old.ReportCount)
}

// stamp is how times are written: UTC, milliseconds.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// holder gives the value of the alive key for a new incarnation.
func (r *Registry) holder(g *Registration, now time.Time) Holder {
	p := r.cfg.Process
	return Holder{
		Schema: Schema, Registration: g.id.String(), PID: p.PID, ProcessStart: p.Start,
		MachineID: p.MachineID, BootID: p.BootID, PIDNamespace: p.PIDNamespace, Since: stamp(now),
	}
}
