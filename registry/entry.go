package registry

import (
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Entry is what the three keys of one name hold at one revision. It is the only thing that a row is derived from, so a
// list and a watch can't disagree. The zero value means that no key is there.
type Entry struct {
	Name   Name
	Record RecordKey
	Alive  AliveKey
	Admin  AdminKey
}

// RecordKey is the state of the instances key. Rev 0 means that it is absent; Err is set when its value can't be read.
type RecordKey struct {
	Rev   int64 // ModRevision
	Value *Record
	Err   error
}

// AliveKey is the state of the alive key.
type AliveKey struct {
	Rev    int64 // ModRevision: the incarnation
	Lease  int64 // 0: bound to none
	Holder *Holder
	Err    error
}

// AdminKey is the state of the admin key.
type AdminKey struct {
	Rev   int64
	Value *Admin
	Err   error
}

// Put takes over one key of the name as etcd holds it. A value that can't be read is kept as an error: it makes fields
// unknown, it never makes a row vanish.
func (e *Entry) Put(f Family, kv *mvccpb.KeyValue) {
	switch f {
	case FamilyRecord:
		value, err := DecodeRecord(kv.Value)
		e.Record = RecordKey{Rev: kv.ModRevision, Value: value, Err: err}
	case FamilyAlive:
		holder, err := DecodeHolder(kv.Value)
		e.Alive = AliveKey{Rev: kv.ModRevision, Lease: kv.Lease, Holder: holder, Err: err}
	case FamilyAdmin:
		value, err := DecodeAdmin(kv.Value)
		e.Admin = AdminKey{Rev: kv.ModRevision, Value: value, Err: err}
	}
}

// Delete takes over that one key of the name is gone.
func (e *Entry) Delete(f Family) {
	switch f {
	case FamilyRecord:
		e.Record = RecordKey{}
	case FamilyAlive:
		e.Alive = AliveKey{}
	case FamilyAdmin:
		e.Admin = AdminKey{}
	}
}

// Empty says that no key of the name is there.
func (e *Entry) Empty() bool { return e.Record.Rev == 0 && e.Alive.Rev == 0 && e.Admin.Rev == 0 }

// Listed says that the name is a row: an admin record alone is none.
func (e *Entry) Listed() bool { return e.Record.Rev != 0 || e.Alive.Rev != 0 }

// Present says that the alive key is there and bound to a lease.
func (e *Entry) Present() bool { return e.Alive.Rev != 0 && e.Alive.Lease != 0 }

// Forced says that an operator's word is "down".
func (e *Entry) Forced() bool { return e.Admin.Value != nil && e.Admin.Value.ForcedDown != nil }

// State derives up or down: up is a present instance that nobody forced down.
func (e *Entry) State() State {
	if e.Present() && !e.Forced() {
		return Up
	}
	return Down
}

// Ended gives the announced end that explains why the name is not present, or nil.
func (e *Entry) Ended() *Ended {
	if e.Alive.Rev != 0 || e.Record.Value == nil {
		return nil
	}
	return e.Record.Value.Ended
}

// Incarnation gives the ModRevision of the alive key of a present instance, else the incarnation that announced its end,
// else 0: not known.
func (e *Entry) Incarnation() int64 {
	if e.Present() {
		return e.Alive.Rev
	}
	if ended := e.Ended(); ended != nil {
		return ended.Incarnation
	}
	return 0
}

// details are what most rows point to, in one piece: to make each alone would be most of what a list costs.
type details struct {
	zone, lease               string
	status                    Status
	forced                    bool
	created, updated, since   time.Time
	reports, ttl, incarnation int64
}

// Service derives the row. Times of the last beat need a question to etcd and are filled in by List.
func (e *Entry) Service() Service {
	d := new(details)
	s := Service{Binary: e.Name.Binary, Host: e.Name.Host, State: e.State(), Present: e.Present()}
	e.describeRecord(&s, d)
	e.describeAdmin(&s, d)
	if e.Alive.Lease != 0 {
		d.lease = FormatLease(e.Alive.Lease)
		s.Lease = &d.lease
	}
	if d.incarnation = e.Incarnation(); d.incarnation != 0 {
		s.Incarnation = &d.incarnation
	}
	e.describeState(&s, d)
	return s
}

func (e *Entry) describeRecord(s *Service, d *details) {
	r := e.Record.Value
	if r == nil {
		return
	}
	if d.zone = r.Zone; d.zone != "" {
		s.Zone = &d.zone
	}
	s.CreatedAt, s.UpdatedAt = knownIn(&d.created, r.CreatedAt), knownIn(&d.updated, r.UpdatedAt)
	d.reports = r.ReportCount
	s.ReportCount = &d.reports
	if d.ttl = r.TTLSeconds; d.ttl > 0 {
		s.TTLSeconds = &d.ttl
	}
	s.Labels, s.Endpoints = r.Labels, r.Endpoints
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	if s.Endpoints == nil {
		s.Endpoints = []string{}
	}
}

func (e *Entry) describeAdmin(s *Service, d *details) {
	if e.Admin.Err != nil {
		return // unknown: neither enabled nor disabled may be claimed
	}
	d.status = Enabled
	if a := e.Admin.Value; a != nil {
		if w := a.Disabled; w != nil {
			d.status = Disabled
			s.DisabledReason, s.DisabledBy, s.DisabledAt = nonempty(w.Reason), nonempty(w.By), known(w.At)
		}
		if f := a.ForcedDown; f != nil {
			d.forced = true
			s.ForcedReason, s.ForcedBy, s.ForcedAt = nonempty(f.Reason), nonempty(f.By), known(f.At)
		}
	}
	s.Status, s.ForcedDown = &d.status, &d.forced
}

// describeState says since when and why, as far as somebody wrote it down.
func (e *Entry) describeState(s *Service, d *details) {
	switch ended := e.Ended(); {
	case s.State == Up:
		if e.Alive.Holder != nil {
			s.Since = knownIn(&d.since, e.Alive.Holder.Since)
		}
	case e.Forced():
		s.Cause, s.CauseReason, s.Since = ptr(CauseForced), s.ForcedReason, s.ForcedAt
	case e.Alive.Rev != 0:
		s.Cause, s.CauseReason = ptr(CauseUnleased), ptr("the alive key is bound to no lease, so it proves nothing")
	case ended != nil:
		s.Cause, s.CauseReason, s.Since = ptr(ended.Cause), nonempty(ended.Reason), knownIn(&d.since, ended.At)
		if s.UpdatedAt == nil || (s.Since != nil && s.Since.After(*s.UpdatedAt)) {
			s.UpdatedAt = s.Since
		}
	case e.Record.Value != nil && !e.Record.Value.CreatedAt.IsZero():
		// A registration writes record and alive key at once, so this one was up, and its end went unseen. Of a record that
		// no registration wrote not even that is known.
		s.Cause = ptr(CauseLost)
	}
}

// Warnings gives what is wrong with the keys of the name.
func (e *Entry) Warnings(k Keys) []Warning {
	var w []Warning
	add := func(f Family, problem string) { w = append(w, Warning{Key: k.Key(f, e.Name), Problem: problem}) }
	if e.Record.Err != nil {
		add(FamilyRecord, e.Record.Err.Error())
	}
	if r := e.Record.Value; r != nil && (r.Binary != e.Name.Binary || r.Host != e.Name.Host) {
		add(FamilyRecord, fmt.Sprintf("the value names %s; the key is believed", quote(r.Binary+"/"+r.Host)))
	}
	if e.Alive.Err != nil {
		add(FamilyAlive, e.Alive.Err.Error())
	}
	if e.Alive.Rev != 0 && e.Alive.Lease == 0 {
		add(FamilyAlive, "bound to no lease, so it would never go away and proves nothing; delete it")
	}
	if e.Alive.Rev != 0 && e.Record.Rev == 0 {
		add(FamilyAlive, "there is no record beside it, so zone and labels are unknown")
	}
	if e.Admin.Err != nil {
		add(FamilyAdmin, e.Admin.Err.Error())
	}
	return w
}

func ptr[T any](v T) *T { return &v }

func nonempty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// known drops times that nobody can mean: the zero time, those before 1970, and those after the year 9999 in UTC, which JSON
// can't say, so that one of them would keep a whole list from being written.
func known(t time.Time) *time.Time { return knownIn(new(time.Time), t) }

// knownIn is known, with a place for the time.
func knownIn(place *time.Time, t time.Time) *time.Time {
	*place = t.UTC()
	if place.Unix() <= 0 || place.Year() > 9999 {
		return nil
	}
	return place
}
