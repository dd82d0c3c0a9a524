package history

import (
	"github.com/hbctl/hbctl/registry"
)

// members is what happened to the members of etcd. Who leads is not recorded, so each that comes or goes may have been, or may
// become, the leader.
type members struct {
	election  int64
	away      map[string]bool // killed or frozen
	known     map[string]bool
	noQuorum  spans
	disturbed spans
	unable    spans            // nothing can be written
	frozen    spans            // a member was
	icy       map[string]int64 // since when
	open      map[string]int64 // faults, by name and target
}

func newMembers(election int64) *members {
	return &members{
		election: election, away: make(map[string]bool), known: make(map[string]bool),
		icy: make(map[string]int64), open: make(map[string]int64),
	}
}

func (m *members) signal(rec *Record) {
	m.known[rec.Target] = true
	switch rec.Kind {
	case Spawn:
		delete(m.away, rec.Target)
	case Killed, Died, Asked:
		m.away[rec.Target] = true
		m.thaw(rec)
	case Stopped:
		m.away[rec.Target] = true
		m.icy[rec.Target] = rec.At
	case Resumed:
		delete(m.away, rec.Target)
		m.thaw(rec)
	}
	m.disturbed = append(m.disturbed, span{rec.At, rec.At + m.election})
	if rec.Kind == Killed || rec.Kind == Stopped {
		m.unable = append(m.unable, span{rec.At, rec.At + m.election})
	}
	switch {
	case 2*len(m.away) >= max(len(m.known), 1):
		m.noQuorum.begin(rec.At)
	case rec.Kind == Resumed: // the leader that was may lead on at once
		m.noQuorum.finish(rec.At)
	default:
		m.noQuorum.finish(rec.At + m.election)
	}
}

func (m *members) thaw(rec *Record) {
	if since, there := m.icy[rec.Target]; there {
		m.frozen = append(m.frozen, span{since, rec.At})
		delete(m.icy, rec.Target)
	}
}

// fault takes down a fault of etcd. Its whole time counts as disturbed, unless signals tell it better.
func (m *members) fault(rec *Record) {
	id := rec.Fault + " " + rec.Target
	if rec.Kind == FaultOn {
		m.open[id] = rec.At
		m.disturbed = append(m.disturbed, span{rec.At, rec.At + m.election})
		return
	}
	since, there := m.open[id]
	if !there {
		return
	}
	delete(m.open, id)
	switch rec.Fault {
	case "F8", "F9", "F35": // one member is away: told by signals
		m.disturbed = append(m.disturbed, span{rec.At, rec.At + m.election})
	case "F10", "F11", "F13", "F17":
		m.frozen = append(m.frozen, span{since, rec.At})
		m.disturbed = append(m.disturbed, span{since, rec.At + m.election})
	case "F15", "F18", "F19", "F21":
		m.unable = append(m.unable, span{since, rec.At})
		fallthrough
	default:
		m.disturbed = append(m.disturbed, span{since, rec.At + m.election})
	}
}

func (m *members) close() {
	for _, since := range m.icy {
		m.frozen = append(m.frozen, span{since, forever})
	}
	m.unable = append(m.unable, m.noQuorum...)
	for _, x := range m.noQuorum {
		if x.to < forever-m.election {
			x.to += m.election
		}
		m.disturbed = append(m.disturbed, x)
	}
}

// formatLease writes a lease as records have it.
func formatLease(id int64) string { return registry.FormatLease(id) }
