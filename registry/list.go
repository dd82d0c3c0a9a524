package registry

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
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
	keys, err := NewKeys(opts.Prefix)
	if err != nil {
		return nil, err
	}
	table, err := Load(ctx, client, keys, opts.Revision)
	if err != nil {
		return nil, fmt.Errorf("listing: %w", err)
	}
	snap := table.Snapshot(keys, opts.Filter)
	if opts.LastBeat {
		if err := AskLastBeats(ctx, client, snap.Services, opts.Now); err != nil {
			return nil, err
		}
	}
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

// beatQuestions bounds how many leases are asked about at once.
const beatQuestions = 16

// AskLastBeats asks etcd when the leases of what is present were renewed last, once for each distinct lease, and fills in UpdatedAt
// and Expiring of these rows, as ListOptions.LastBeat does. A lease that does not answer leaves its rows unknown: they are true
// without it. Now turns an age into a time; default time.Now. It returns the context's error only.
func AskLastBeats(ctx context.Context, client LeaseAsker, services []Service, now func() time.Time) error {
	if now == nil {
		now = time.Now
	}
	rows := make(map[clientv3.LeaseID][]*Service)
	for i := range services {
		s := &services[i]
		if !s.Present || s.Lease == nil {
			continue
		}
		if id, err := strconv.ParseInt(*s.Lease, 16, 64); err == nil {
			rows[clientv3.LeaseID(id)] = append(rows[clientv3.LeaseID(id)], s)
		}
	}
	var group errgroup.Group
	group.SetLimit(beatQuestions)
	for id, services := range rows {
		group.Go(func() error {
			resp, err := client.TimeToLive(ctx, id)
			if err != nil {
				resp = nil
			}
			at := now()
			for _, s := range services {
				fillLastBeat(s, resp, at)
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("asking for last beats: %w", err)
	}
	return nil
}

// fillLastBeat derives when the lease was last started: now - (granted - remaining). Right after a leader change etcd grants
// more than was asked for, and then the time is not known.
func fillLastBeat(s *Service, resp *clientv3.LeaseTimeToLiveResponse, now time.Time) {
	written := s.UpdatedAt
	s.UpdatedAt = nil
	if resp == nil || resp.GrantedTTL <= 0 || resp.TTL > resp.GrantedTTL {
		return
	}
	s.Expiring = ptr(resp.TTL <= 0)
	beat := now.Add(-time.Duration(resp.GrantedTTL-resp.TTL) * time.Second)
	if written != nil && beat.Before(*written) {
		beat = *written
	}
	if beat.After(now) {
		beat = now
	}
	s.UpdatedAt = ptr(beat.UTC())
	s.TTLSeconds = ptr(resp.GrantedTTL)
}

// FormatLease gives a lease id as hbctl and etcdctl show it.
func FormatLease(id int64) string { return strconv.FormatInt(id, 16) }
