package registry

import (
	"context"
	"slices"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ListOptions says what to list. The zero value lists everything under DefaultPrefix at the newest revision.
type ListOptions struct {
	Prefix   string           // default DefaultPrefix
	Filter   Filter           // default: all
	Revision int64            // 0: the newest
	LastBeat bool             // ask etcd for the last renewal of each lease and fill in UpdatedAt and Expiring of what is up
	Now      func() time.Time // default time.Now; used for LastBeat only, to turn an age into a time
}

// Snapshot is the rows at one revision, sorted by the bytes of BINARY/HOST.
type Snapshot struct {
	Cluster  uint64
	Revision int64
	RaftTerm uint64
	Services []Service
	Warnings []Warning
}

// LeaseAsker is what asking about leases needs of an etcd client.
type LeaseAsker interface {
	TimeToLive(ctx context.Context, id clientv3.LeaseID, opts ...clientv3.LeaseOption) (*clientv3.LeaseTimeToLiveResponse, error)
}

// Lister is what List needs of an etcd client; *clientv3.Client is one.
type Lister interface {
	Getter
	LeaseAsker
}

// List reads all rows at one revision and keeps those that the filter selects. States come from presence and revisions
// alone; no clock is compared. It returns ErrInvalid for a bad prefix and etcd's error when etcd can't be read: never an
// empty list for an unreachable etcd. Data that can't be read becomes a warning. It may be called concurrently.
func List(ctx context.Context, client Lister, opts ListOptions) (*Snapshot, error) {
	l, err := Stream(ctx, client, opts)
	if err != nil {
		return nil, err
	}
	snap := &Snapshot{Cluster: l.Cluster, Revision: l.Revision, RaftTerm: l.RaftTerm, Services: []Service{}}
	if opts.Filter == (Filter{}) {
		snap.Services = make([]Service, 0, l.reading.rows) // else nobody knows
	}
	for s, err := range l.Rows(ctx) {
		if err != nil {
			return nil, err
		}
		snap.Services = append(snap.Services, *s)
	}
	snap.Warnings = l.Warnings()
	return snap, nil
}

// Snapshot derives the rows of the table and keeps those that the filter selects.
func (t *Table) Snapshot(keys Keys, filter Filter) *Snapshot {
	snap := &Snapshot{Cluster: t.Cluster, Revision: t.Revision, RaftTerm: t.RaftTerm, Services: []Service{}, Warnings: slices.Clip(t.Foreign)}
	for _, name := range t.Names() {
		e := t.Entries[name]
		snap.Warnings = append(snap.Warnings, e.Warnings(keys)...)
		if !e.Listed() {
			continue
		}
		if s := e.Service(); filter.Match(&s) {
			snap.Services = append(snap.Services, s)
		}
	}
	return snap
}

// FormatLease gives a lease id as hbctl and etcdctl show it.
func FormatLease(id int64) string { return strconv.FormatInt(id, 16) }
