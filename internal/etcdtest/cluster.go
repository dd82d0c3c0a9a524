package etcdtest

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/tests/v3/framework/integration"
)

// clusterElection is how many ticks of 10 ms a member waits before it stands for
// election. With etcd's own 10 the members of a busy machine depose each other.
const clusterElection = 50

const clusterTimeout = 30 * time.Second // for what takes milliseconds

// Members is an etcd cluster inside the test process. Ticks are 10 ms and elections
// come after 0.5 s, so leases of 1 s are granted and a leader is replaced within about
// a second.
type Members struct {
	t    testing.TB
	etcd *integration.Cluster

	// sockets are the members' addresses by name, relative to the working directory. A
	// restarting member writes its own copy, without a lock.
	sockets map[string]string

	mu      sync.Mutex
	clients []*Client
}

// Cluster starts a cluster of n members. The test must not be parallel, and can have
// one cluster: etcd's test framework changes the working directory. It is skipped in
// short mode. The cluster is stopped at the end of t.
func Cluster(t testing.TB, n int) *Members {
	t.Helper()
	integration.ElectionTicks = clusterElection
	// Leaks are for the caller to look for, with goleak: the framework's own search
	// takes the caller's goroutines for its own.
	integration.BeforeTest(t, integration.WithoutGoLeakDetection())
	m := &Members{
		t:       t,
		etcd:    integration.NewCluster(t, &integration.ClusterConfig{Size: n}),
		sockets: make(map[string]string),
	}
	t.Cleanup(m.stop)
	for _, member := range m.etcd.Members {
		m.sockets[member.Name] = strings.TrimPrefix(member.GRPCURL, "unix://")
	}
	m.Leader()
	return m
}

func (m *Members) stop() {
	m.mu.Lock()
	clients := m.clients
	m.clients = nil
	m.mu.Unlock()
	for _, c := range clients {
		c.shut()
	}
	m.etcd.Terminate(m.t)
}

// Len is the number of members.
func (m *Members) Len() int { return len(m.etcd.Members) }

// Client returns a new client of all members.
func (m *Members) Client() *clientv3.Client {
	m.t.Helper()
	return m.NewClient().Client
}

// NewClient returns a new client of the given members, or of all when none is given,
// with a Gate of its own. The client is closed at the end of the test.
func (m *Members) NewClient(members ...int) *Client {
	m.t.Helper()
	var endpoints []string
	for i, member := range m.etcd.Members {
		if len(members) == 0 || slices.Contains(members, i) {
			endpoints = append(endpoints, "http://"+member.Name)
		}
	}
	c := newClient(m.t, endpoints, m.dial)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients = append(m.clients, c)
	return c
}

// dial takes a member's name for its address.
func (m *Members) dial(ctx context.Context, name string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", m.sockets[name])
}

// Leader waits until the running members agree on a leader and returns its index.
func (m *Members) Leader() int {
	m.t.Helper()
	deadline := time.Now().Add(clusterTimeout)
	for time.Now().Before(deadline) {
		if i, ok := m.agreed(); ok {
			return i
		}
		time.Sleep(10 * time.Millisecond)
	}
	m.t.Fatal("etcdtest: no leader in time")
	return 0
}

// agreed is the index of the leader that every running member names.
func (m *Members) agreed() (leader int, ok bool) {
	leader = -1
	var id uint64
	for i, member := range m.etcd.Members {
		if member.Closed {
			continue
		}
		switch lead := member.Server.Lead(); {
		case lead == 0, id != 0 && lead != id:
			return 0, false
		default:
			id = lead
		}
		if uint64(member.Server.MemberID()) == id {
			leader = i
		}
	}
	return leader, leader >= 0
}

// MoveLeader hands the lead to member i and waits until it has it. Every lease begins
// again with its full TTL.
func (m *Members) MoveLeader(i int) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), clusterTimeout)
	defer cancel()
	from, to := m.etcd.Members[m.Leader()], m.etcd.Members[i]
	if from == to {
		return
	}
	if err := from.Server.MoveLeader(ctx, uint64(from.Server.MemberID()), uint64(to.Server.MemberID())); err != nil {
		m.t.Fatalf("etcdtest: move the lead to member %d: %v", i, err)
	}
	for m.Leader() != i {
		time.Sleep(10 * time.Millisecond)
	}
}

// Stop stops member i, in an orderly way: it lets requests finish for up to two
// seconds, and hands its lead over.
func (m *Members) Stop(i int) { m.etcd.Members[i].Stop(m.t) }

// Restart starts the stopped members on the data that they had, and waits until the cluster has a leader. Without a quorum
// that is never, and the test fails: members that stopped together are to be restarted together.
func (m *Members) Restart(members ...int) {
	m.t.Helper()
	for _, i := range members {
		member := m.etcd.Members[i]
		if err := member.Restart(m.t); err != nil {
			m.t.Fatalf("etcdtest: restart member %d: %v", i, err)
		}
		member.Closed = false
	}
	m.Leader()
}

// All gives the indexes of all members.
func (m *Members) All() []int {
	all := make([]int, m.Len())
	for i := range all {
		all[i] = i
	}
	return all
}

// Part cuts member i off from every other member, and leaves it to its clients. Raft's
// messages are lost; a member still passes renewals on to the leader that it knew,
// until it notices after an election timeout that it has none.
func (m *Members) Part(i int) { m.etcd.Members[i].InjectPartition(m.t, m.others(i)...) }

// Mend undoes Part.
func (m *Members) Mend(i int) { m.etcd.Members[i].RecoverPartition(m.t, m.others(i)...) }

func (m *Members) others(i int) []*integration.Member {
	var others []*integration.Member
	for j, member := range m.etcd.Members {
		if j != i && !member.Closed {
			others = append(others, member)
		}
	}
	return others
}

// Compact drops the history before the given revision, or before the present one when
// it is 0, and waits until it is gone.
func (m *Members) Compact(revision int64) {
	m.t.Helper()
	compact(m.t, m.Client(), revision)
}

// compact drops the history before a revision, or before the present one when it is 0.
func compact(t testing.TB, c *clientv3.Client, revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clusterTimeout)
	defer cancel()
	if revision == 0 {
		resp, err := c.Get(ctx, "compact", clientv3.WithCountOnly())
		if err != nil {
			t.Fatalf("etcdtest: compact: %v", err)
		}
		revision = resp.Header.Revision
	}
	if _, err := c.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatalf("etcdtest: compact at %d: %v", revision, err)
	}
}
