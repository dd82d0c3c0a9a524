package history

import (
	"slices"
	"strings"
	"time"
)

// process is a holder or a watcher, and what was done to it.
type process struct {
	source string
	pid    int
	dead   int64 // SIGKILL, or its end; forever if it lives
	asked  int64 // SIGTERM
	exited *Record
	killed *Record

	frozen  spans
	cut     spans // off from etcd, one way at least
	starved spans // of the CPU
	slow    spans // of its own will

	out   spans // frozen, cut or starved, joined: a moment of contact between two of them may not suffice to renew
	solid spans // and without any contact
}

// scene is the stage: who was there, and which faults fell on whom.
type scene struct {
	processes map[string]*process
	byPID     map[int]*process

	disturbed   spans // etcd had no leader, no quorum, or was not well, joined
	unable      spans // nothing could be written, joined
	revoking    spans // a leader was frozen or woke: etcd may revoke what is alive
	compactions spans
	deeds       map[string][]*Record // of operators, by name
	leases      map[string][]*Record // revoked, by lease
	junk        spans                // the injector put what is none of ours
	rewound     bool                 // a backup was restored: revisions begin anew
	settled     int64                // forever: never
	final       *Record
	end         int64 // the last record
}

// stage reads what the injector, and processes of themselves, say.
func stage(records []*Record, o Options) *scene {
	s := &scene{
		processes: make(map[string]*process), byPID: make(map[int]*process), deeds: make(map[string][]*Record),
		leases: make(map[string][]*Record), settled: forever,
	}
	members := newMembers(int64(o.Election))
	for _, rec := range records {
		s.end = max(s.end, rec.At)
		switch rec.Kind {
		case Settled:
			s.settled = min(s.settled, rec.At)
		case Final:
			s.final = rec
		case Started:
			s.process(rec.Source).runs(s, rec.PID)
		case Exited:
			s.process(rec.Source).exited = rec
		case Spawn, Killed, Stopped, Resumed, Asked, Died:
			if isMember(rec.Target) {
				members.signal(rec)
			} else {
				s.signal(rec)
			}
		case FaultOn, FaultOff:
			s.fault(members, rec)
		}
	}
	members.close()
	s.disturbed = members.disturbed.joined(int64(o.Slack), 0)
	s.unable = members.unable.joined(int64(o.Slack), 0)
	s.revoking = members.frozen.joined(0, int64(deposed))
	s.compactions = s.compactions.joined(0, 0)
	for _, p := range s.processes {
		all := slices.Concat(p.frozen, p.cut, p.starved)
		p.out, p.solid = all.joined(int64(time.Second), 0), all.joined(0, 0)
	}
	return s
}

func isMember(target string) bool { return strings.HasPrefix(target, "etcd") }

func (s *scene) process(source string) *process {
	p := s.processes[source]
	if p == nil {
		p = &process{source: source, dead: forever, asked: forever}
		s.processes[source] = p
	}
	return p
}

func (p *process) runs(s *scene, pid int) {
	if pid != 0 {
		p.pid = pid
		s.byPID[pid] = p
	}
}

func (s *scene) signal(rec *Record) {
	p := s.process(rec.Target)
	switch rec.Kind {
	case Spawn:
		p.runs(s, rec.PID)
	case Killed:
		p.dead = min(p.dead, rec.At)
		if p.killed == nil {
			p.killed = rec
		}
	case Died:
		p.dead = min(p.dead, rec.At)
	case Asked:
		p.asked = min(p.asked, rec.At)
	case Stopped:
		p.frozen.begin(rec.At)
	case Resumed:
		p.frozen.finish(rec.At)
	}
}

// fault takes down a fault, or what an operator did.
func (s *scene) fault(m *members, rec *Record) {
	switch rec.Fault {
	case OpDelete, OpDeleteRecord, OpForceDown, OpForceUp, OpDisable, OpEnable, OpEvict, OpTakeover, OpUnleased, OpRevoke:
		if rec.Kind == FaultOn {
			if rec.Name != "" || rec.Lease == "" {
				s.deeds[rec.Name] = append(s.deeds[rec.Name], rec)
			}
			if rec.Lease != "" {
				s.leases[rec.Lease] = append(s.leases[rec.Lease], rec)
			}
		}
		return
	case "F20":
		mark(&s.compactions, rec)
		return
	case "F36":
		s.rewound = true
		return
	case "F37":
		mark(&s.junk, rec)
		return
	case "F1", "F2", "F3", "F25", "F30", "F31", "F32", "F38":
		return // told by signals, or nobody is the worse for it
	}
	if rec.Target == "" || isMember(rec.Target) {
		m.fault(rec)
		return
	}
	p := s.process(rec.Target)
	switch rec.Fault {
	case "F4", "F5", "F26", "F28":
		mark(&p.starved, rec)
	case "F29":
		mark(&p.slow, rec)
	case "F35": // its member is frozen: a watcher must find out
	default:
		mark(&p.cut, rec)
	}
}

// mark opens or closes a span. What is never closed took no time.
func mark(s *spans, rec *Record) {
	if rec.Kind == FaultOn {
		*s = append(*s, span{rec.At, rec.At})
	} else if n := len(*s); n > 0 {
		(*s)[n-1].to = max((*s)[n-1].to, rec.At)
	}
}

// did says that an operator did one of these to the name, to its lease, or to all names (where none was given) in that time.
func (s *scene) did(l *life, from, to int64, faults ...string) bool {
	for _, list := range [][]*Record{s.deeds[l.name()], s.deeds[""], s.leases[formatLease(l.lease)]} {
		for _, rec := range list {
			if rec.At < from || rec.At > to {
				continue
			}
			for _, f := range faults {
				if rec.Fault == f {
					return true
				}
			}
		}
	}
	return false
}
