package history

import (
	"testing"
	"time"

	"github.com/hbctl/hbctl/registry"
)

// script is a history written by hand: one service, its holder, and readers.
type script struct {
	records  []Record
	revision int64
}

const (
	svc     = "svc/node"
	svcTTL  = 2 * sec
	svcKeys = "/svc/node"
)

func (s *script) add(at float64, source string, rec Record) {
	rec.At, rec.Source = int64(at*1e9), source
	s.records = append(s.records, rec)
}

func (s *script) inject(at float64, kind Kind, rec Record) {
	rec.Kind = kind
	s.add(at, "injector", rec)
}

func (s *script) audit(at float64, writes ...Write) int64 {
	s.revision++
	s.add(at, "auditor", Record{Kind: Audit, Revision: s.revision, Writes: writes})
	return s.revision
}

// up puts the service, as the holder's.
func (s *script) up(at float64, lease string) int64 {
	record, _ := registry.EncodeRecord(&registry.Record{Schema: 1, Binary: "svc", Host: "node", Zone: "az1", TTLSeconds: 2})
	alive, _ := registry.EncodeHolder(&registry.Holder{Schema: 1, Registration: "r", PID: 7})
	n := s.audit(at, Write{Key: "/hb/instances" + svcKeys, Value: string(record)}, Write{Key: "/hb/alive" + svcKeys, Value: string(alive), Lease: lease})
	s.add(at+0.001, "holder", Record{Kind: Registered, Name: svc, Incarnation: n, Lease: lease, TTL: svcTTL})
	return n
}

func (s *script) gone(at float64) int64 {
	return s.audit(at, Write{Key: "/hb/alive" + svcKeys, Delete: true})
}

func (s *script) zone(at float64, zone string) int64 {
	record, _ := registry.EncodeRecord(&registry.Record{Schema: 1, Binary: "svc", Host: "node", Zone: zone, TTLSeconds: 2})
	return s.audit(at, Write{Key: "/hb/instances" + svcKeys, Value: string(record)})
}

func row(incarnation int64, zone string) Row {
	enabled := "enabled"
	r := Row{Name: svc, Zone: &zone, Status: &enabled, State: "down"}
	if incarnation != 0 {
		r.State, r.Present, r.Incarnation = "up", true, incarnation
	}
	return r
}

func (s *script) watch(at float64, reader, from string, revision int64) {
	s.add(at, reader, Record{Kind: Watching, Subscriber: reader, From: from, Revision: revision})
}

func (s *script) hand(at float64, reader string, b Batch) {
	s.add(at, reader, Record{Kind: Handed, Subscriber: reader, Batch: &b})
	if b.Kind != "reset" {
		s.add(at+0.0001, reader, Record{Kind: Acked, Subscriber: reader, Revision: b.Revision})
	}
}

func (s *script) tell(at float64, reader, kind string, incarnation int64, cause string) {
	r := row(incarnation, "az1")
	if kind == "down" {
		r = row(0, "az1")
	}
	s.hand(at, reader, Batch{Kind: "changes", Revision: s.revision, Events: []Event{{Kind: kind, Name: svc, Incarnation: incarnation, Cause: cause, Row: &r}}})
}

// start is a service that is up as incarnation 1, which the reader a was told.
func start() *script {
	s := &script{}
	s.inject(0, Begin, Record{Prefix: "/hb/"})
	s.inject(0, Spawn, Record{Target: "holder", PID: 7})
	s.inject(0, Spawn, Record{Target: "a", PID: 8})
	s.watch(0.1, "a", "now", 0)
	s.hand(0.2, "a", Batch{Kind: "snapshot", Synced: true})
	s.up(1, "abc")
	s.tell(1.01, "a", "up", 1, "")
	return s
}

// until lets time pass.
func (s *script) until(at float64) { s.inject(at, Final, Record{}) }

// dies kills the holder, and lets its key expire.
func (s *script) dies(at float64) {
	s.inject(at, Killed, Record{Target: "holder"})
	s.gone(at + 2)
}

// broken are histories in which one promise is broken.
var broken = map[Invariant]func(s *script){
	Detected: func(s *script) {
		s.inject(5, Killed, Record{Target: "holder"})
		s.until(9)
	},
	OneDown: func(s *script) {
		s.dies(5)
		s.tell(7.01, "a", "down", 1, "expired")
		s.audit(8, Write{Key: "/hb/admin" + svcKeys, Value: "{}"})
		s.tell(8.01, "a", "down", 1, "expired")
	},
	FencedFirst: func(s *script) {
		s.inject(5, FaultOn, Record{Fault: "F6", Target: "holder"})
		s.gone(7)
		s.tell(7.01, "a", "down", 1, "expired")
		s.add(7.02, "holder", Record{Kind: Fenced, Name: svc, Incarnation: 1})
		s.inject(9, FaultOff, Record{Fault: "F6", Target: "holder"})
	},
	NeverValid: func(s *script) {
		s.inject(5, FaultOn, Record{Fault: "F6", Target: "holder"})
		s.add(6.7, "holder", Record{Kind: Fenced, Name: svc, Incarnation: 1})
		s.gone(7)
		s.tell(7.01, "a", "down", 1, "expired")
		s.add(7.02, "holder", Record{Kind: Valid, Name: svc, Incarnation: 1, Yes: true})
		s.inject(9, FaultOff, Record{Fault: "F6", Target: "holder"})
	},
	InOrder: func(s *script) {
		s.hand(1.02, "a", Batch{Kind: "changes", Revision: 1, Events: []Event{{Kind: "updated", Name: svc, Incarnation: 1}}})
	},
	MissesNothing: func(s *script) {
		s.inject(2, Killed, Record{Target: "a"})
		s.zone(3, "az2")
		s.zone(3.1, "az1")
		s.watch(4, "a", "view", 1)
		r := row(1, "az1")
		s.hand(4.01, "a", Batch{Kind: "changes", Revision: 3, Events: []Event{{Kind: "updated", Name: svc, Incarnation: 1, Row: &r}}})
	},
	AddsUp: func(s *script) {
		s.add(2, "lister", Record{Kind: Listed, Revision: 1, Rows: []Row{row(1, "az2")}})
	},
	NoGhosts: func(s *script) {
		s.audit(2, Write{Key: "/hb/alive/svc/other", Value: "{}"})
	},
	RightCause: func(s *script) {
		s.dies(5)
		s.tell(7.01, "a", "down", 1, "left")
	},
	NoFalseDown: func(s *script) {
		s.gone(5)
		s.tell(5.01, "a", "down", 1, "expired")
		s.up(5.1, "abc")
		s.tell(5.11, "a", "up", 3, "")
	},
	MendedSoon: func(s *script) {
		s.inject(5, FaultOn, Record{Fault: OpDelete, Name: svc})
		s.gone(5.01)
		s.tell(5.02, "a", "down", 1, "deleted")
		s.up(8, "abc")
		s.tell(8.01, "a", "up", 3, "")
	},
	NoFlap: func(s *script) {
		s.zone(2, "az1")
		s.tell(2.01, "a", "up", 1, "")
	},
	Agreement: func(s *script) {
		r := row(1, "az1")
		s.watch(0.1, "b", "now", 0)
		s.hand(0.2, "b", Batch{Kind: "snapshot", Synced: true})
		s.hand(1.01, "b", Batch{Kind: "changes", Revision: 1, Events: []Event{{Kind: "up", Name: svc, Incarnation: 1, Previous: 7, Row: &r}}})
	},
	StaleTold: func(s *script) {
		s.dies(5)
		s.tell(12, "a", "down", 1, "expired")
	},
	Bounded: func(s *script) {
		s.add(2, "a", Record{Kind: Memory, Bytes: 1 << 30})
	},
	NoLapse: func(s *script) {
		s.add(6, "holder", Record{Kind: Fenced, Name: svc, Incarnation: 1})
		s.until(9)
	},
	CleanExit: func(s *script) {
		s.add(6, "a", Record{Kind: Exited, Leaks: 1})
	},
	BackAgain: func(s *script) {
		s.hand(5, "a", Batch{Kind: "stale", Revision: 1})
		s.inject(6, Settled, Record{})
		s.until(20)
	},
}

// Every invariant has a history that breaks it, and the report shows where.
func TestBrokenHistories(t *testing.T) {
	good := start()
	good.until(3)
	if report := Check(good.records, Options{}); report.Verdict != Pass {
		t.Fatalf("the beginning of all of them does not pass:\n%s", report)
	}
	for _, i := range Invariants() {
		t.Run(string(i), func(t *testing.T) {
			s := start()
			broken[i](s)
			report := Check(s.records, Options{})
			result := report.Of(i)
			if result.Verdict != Fail || result.First == nil || len(result.First.Context) == 0 {
				t.Fatalf("not caught:\n%s", report)
			}
			for _, other := range report.Failed() {
				if other != i && other != InOrder {
					t.Logf("%s fails too: %s", other, report.Of(other).First.Problem)
				}
			}
		})
	}
}

// A history that lacks what is needed is neither good nor bad.
func TestUnknown(t *testing.T) {
	s := start()
	s.until(3)
	if report := Check(s.records, Options{Required: []Invariant{Detected}}); report.Verdict != Unknown || report.Of(Detected).Verdict != Unknown {
		t.Errorf("nobody was killed:\n%s", report)
	}
	if report := Check(nil, Options{Required: []Invariant{AddsUp}}); report.Verdict != Unknown {
		t.Errorf("nothing was recorded:\n%s", report)
	}
}

// A long history is judged in little time: a million records take some seconds.
func BenchmarkCheck(b *testing.B) {
	records := goodHistory(1, 8*time.Hour)
	for b.Loop() {
		Check(records, Options{})
	}
	b.ReportMetric(float64(len(records)), "records")
}
