package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-semver/semver"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

// slowAnswer is a round trip from which on renewals of short leases get tight.
const slowAnswer = 250 * time.Millisecond

// memberState is what one endpoint said.
type memberState struct {
	address string
	status  *clientv3.StatusResponse
	took    time.Duration
	err     error
}

// endpoints asks each for its state, all at once, and gives those that answered.
func (e *examination) endpoints(ctx context.Context) []memberState {
	asked := make([]memberState, len(e.p.settings.endpoints))
	var all sync.WaitGroup
	for i, endpoint := range e.p.settings.endpoints {
		all.Go(func() {
			asked[i] = e.member(ctx, endpoint)
		})
	}
	all.Wait()
	var answered []memberState
	for _, m := range asked {
		name := "endpoint " + m.address
		switch {
		case isDenied(m.err):
			e.add(levelWarn, name, "it answers, but this user may not ask for its state", "ask as a user with more rights to have it checked")
			answered = append(answered, m)
		case m.err != nil:
			e.add(levelFail, name, inWords(m.err), "start it, or take it off --endpoints")
		default:
			answered = append(answered, m)
			e.endpoint(name, m)
		}
	}
	return answered
}

// member looks at one endpoint: first whether an etcd is there at all, which the etcd client would go on trying to find out.
func (e *examination) member(ctx context.Context, at endpoint) memberState {
	if found := probe(ctx, at, &e.p.settings); found.reason != "" {
		return memberState{address: at.address, err: errors.New(found.reason)}
	}
	ctx, cancel := context.WithTimeout(ctx, e.p.settings.commandTimeout)
	defer cancel()
	begin := time.Now()
	status, err := e.client.Status(ctx, at.url())
	took := time.Since(begin)
	if err == nil { // the first call has the connection to make
		begin = time.Now()
		if again, err := e.client.Status(ctx, at.url()); err == nil {
			status, took = again, time.Since(begin)
		}
	}
	return memberState{address: at.address, status: status, took: took, err: err}
}

func (e *examination) endpoint(name string, m memberState) {
	role := "follower"
	switch {
	case m.status.Leader == 0:
		role = "without a leader"
	case m.status.IsLearner:
		role = "learner"
	case m.status.Leader == m.status.Header.MemberId:
		role = "leader"
	}
	found := fmt.Sprintf("etcd %s, %s, answered in %v", m.status.Version, role, m.took.Round(100*time.Microsecond))
	switch problem, remedy := versionProblem(m.status.Version); {
	case m.status.IsLearner:
		e.add(levelFail, name, found, "a learner serves no clients; take it off --endpoints until it is promoted")
	case problem != "":
		e.add(levelWarn, name, found+": "+problem, "%s", remedy)
	case m.took > slowAnswer:
		e.add(levelWarn, name, found, "renewals of short leases will be tight; look at its load and disk, or use longer TTLs")
	default:
		e.ok(name, "%s", found)
	}
	if quota, used := m.status.DbSizeQuota, m.status.DbSize; quota > 0 && used > quota/10*8 {
		e.add(levelWarn, name, fmt.Sprintf("its database has %d of %d MiB", used>>20, quota>>20),
			"compact and defragment it, or raise --quota-backend-bytes: when it is full nothing can register")
	}
}

// versionProblem says what is wrong with a version of etcd, as far as leases lean on it.
func versionProblem(text string) (problem, remedy string) {
	v, err := semver.NewVersion(text)
	if err != nil {
		return "it does not say which version it is", "use an etcd that does"
	}
	fixed := map[string]string{"3.5": "3.5.23", "3.6": "3.6.5", "3.7": "3.7.1"}
	series := fmt.Sprintf("%d.%d", v.Major, v.Minor)
	least, known := fixed[series]
	switch {
	case v.LessThan(semver.Version{Major: 3, Minor: 5}):
		return "it is no longer maintained", "upgrade to 3.6.5, 3.7.1 or newer"
	case known && v.LessThan(*semver.New(least)):
		if series == "3.7" {
			return "a reader of one key could watch all keys after it", "upgrade to " + least + " or newer"
		}
		return "it may confirm renewals of leases that it has revoked", "upgrade to " + least + " or newer"
	}
	return "", ""
}

// cluster checks what the endpoints say together.
func (e *examination) cluster(members []memberState) {
	ids, leaders := map[uint64]bool{}, map[uint64]bool{}
	for _, m := range members {
		if m.status != nil {
			ids[m.status.Header.ClusterId] = true
			leaders[m.status.Leader] = true
		}
	}
	switch {
	case len(ids) == 0:
	case len(ids) > 1:
		e.add(levelFail, "cluster", "the endpoints are of different clusters", "name those of one: answers come from one of them by chance")
		return
	case leaders[0]:
		e.add(levelFail, "leader", "there is none: nothing can register and nothing expires", "bring a majority of the members back")
	case len(leaders) > 1:
		e.add(levelWarn, "leader", "the members do not agree on who leads", "look again; if it stays so, look at the network between them")
	default:
		e.ok("leader", "all that answered agree on it")
	}
	e.allMembers(len(e.p.settings.endpoints))
}

// allMembers warns of a client that knows a part of the cluster only: when that part is away, so is everything.
func (e *examination) allMembers(known int) {
	ctx, cancel := context.WithTimeout(e.client.Ctx(), e.p.settings.commandTimeout)
	defer cancel()
	resp, err := e.client.MemberList(ctx)
	if err != nil {
		return // not everybody may ask
	}
	var urls []string
	voting := 0
	for _, m := range resp.Members {
		if !m.IsLearner {
			voting++
			urls = append(urls, m.ClientURLs...)
		}
	}
	switch {
	case voting > known:
		e.add(levelWarn, "members", fmt.Sprintf("the cluster has %d members and this client knows %d endpoints", voting, known),
			"name all, as --endpoints %s", strings.Join(urls, ","))
	case voting == 1:
		e.add(levelWarn, "members", "the cluster has one member", "with three, one may fail")
	case voting%2 == 0:
		e.add(levelWarn, "members", fmt.Sprintf("the cluster has %d members, which stand no more failures than %d", voting, voting-1), "use an odd number")
	default:
		e.ok("members", "%d, and this client knows as many endpoints", voting)
	}
}

func (e *examination) alarms(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.p.settings.commandTimeout)
	defer cancel()
	resp, err := e.client.AlarmList(ctx)
	switch {
	case isDenied(err):
		e.add(levelWarn, "alarms", "this user may not ask for them", "ask as a user with more rights to have them checked")
		return
	case err != nil:
		e.add(levelFail, "alarms", inWords(err), "look at etcd's log")
		return
	}
	raised := map[pb.AlarmType]bool{}
	for _, a := range resp.Alarms {
		raised[a.Alarm] = true
	}
	if raised[pb.AlarmType_NOSPACE] {
		e.add(levelFail, "alarms", "NOSPACE: what is registered stays, nothing new can register, and what restarts can't come back",
			"compact, defragment, then 'etcdctl alarm disarm'")
	}
	if raised[pb.AlarmType_CORRUPT] {
		e.add(levelFail, "alarms", "CORRUPT: a member's data differ from the others'", "replace that member")
	}
	if len(resp.Alarms) == 0 {
		e.ok("alarms", "none")
	}
}

// shortestTTL asks for the shortest lease, to learn what etcd's election timeout allows.
func (e *examination) shortestTTL(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.p.settings.commandTimeout)
	defer cancel()
	resp, err := e.client.Grant(ctx, 1)
	if err != nil {
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return // the alarm says it
		}
		e.add(levelFail, "shortest TTL", "a lease is refused: "+inWords(err), "without leases nothing can register")
		return
	}
	_, _ = e.client.Revoke(ctx, resp.ID) // else it runs out in a moment
	granted := time.Duration(resp.TTL) * time.Second
	if granted > registry.DefaultTTL {
		e.add(levelWarn, "shortest TTL", fmt.Sprintf("etcd grants no less than %v, for its election timeout is long", granted),
			"use a --ttl of at least that: a shorter one is raised to it")
		return
	}
	if granted > lease.MinTTL {
		e.ok("shortest TTL", "%v, which is what a shorter --ttl is raised to", granted)
		return
	}
	e.ok("shortest TTL", "%v", granted)
}

// permissions finds out what this user may do with each kind of key. Writes are tried in a transaction whose condition can't
// hold: etcd checks the rights to all of it and carries out nothing.
func (e *examination) permissions(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.p.settings.commandTimeout)
	defer cancel()
	keys := e.p.settings.keys
	var denied, unknown []string
	for _, family := range []registry.Family{registry.FamilyRecord, registry.FamilyAlive, registry.FamilyAdmin} {
		begin := keys.Prefix() + string(family) + "/"
		_, readErr := e.client.Get(ctx, begin, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		never := clientv3.Compare(clientv3.CreateRevision(begin), "<", 0)
		_, writeErr := e.client.Txn(ctx).If(never).Then(clientv3.OpPut(begin, "")).Commit()
		for what, err := range map[string]error{"read": readErr, "write": writeErr} {
			switch {
			case isDenied(err):
				denied = append(denied, what+" "+string(family))
			case err != nil:
				unknown = append(unknown, fmt.Sprintf("%s %s: %s", what, family, inWords(err)))
			}
		}
	}
	slices.Sort(denied)
	switch {
	case len(unknown) > 0:
		e.add(levelFail, "permissions", strings.Join(unknown, "; "), "look at etcd's log")
	case len(denied) > 0:
		e.add(levelWarn, "permissions", "this user may not "+strings.Join(denied, ", "),
			"services write instances and alive under their own names, operators write admin, watchers read all: grant what is missing for the work at hand")
	default:
		e.ok("permissions", "this user may read and write instances, alive and admin keys")
	}
}
