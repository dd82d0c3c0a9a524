//go:build linux

package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/internal/etcdtest"
)

// cluster is etcd: three processes with real fsyncs, which talk to each other through a proxy. What is done to them is
// recorded here. One goroutine at a time may do it.
type cluster struct {
	t       testing.TB
	nodes   *etcdtest.Nodes
	rec     *history.Recorder
	peers   *proxy
	all     *clientv3.Client   // of all members
	single  []*clientv3.Client // of one each
	callers callers
	state   [memberCount]memberState
}

type memberState int

const (
	runs memberState = iota
	frozen
	dead
)

func startCluster(t testing.TB, rec *history.Recorder) *cluster {
	t.Helper()
	c := &cluster{t: t, rec: rec}
	t.Cleanup(func() { c.peers.close() }) // after etcd
	c.nodes = etcdtest.StandaloneClusterVia(t, memberCount, func(i int, peer string) string {
		if i == 0 { // the first, or another try with other ports
			if c.peers != nil {
				c.peers.close()
			}
			c.peers, _ = newProxy(nil)
			c.peers.callers = &c.callers
		}
		address, err := c.peers.add(peer)
		if err != nil {
			t.Fatal(err)
		}
		return address
	}, "--unsafe-no-fsync=false")
	c.all = c.nodes.Client()
	for i, node := range c.nodes.Nodes {
		c.single = append(c.single, c.nodes.NewClient(node).Client)
		c.callers.pids[i].Store(int64(node.PID()))
		rec.Record(history.Record{Kind: history.Spawn, Target: member(i), PID: node.PID()})
	}
	c.peers.reset() // so that all connect again, now that it is known who is who
	return c
}

// member names one in histories.
func member(i int) string { return fmt.Sprintf("etcd%d", i) }

// addresses are the members' as HOST:PORT.
func (c *cluster) addresses() []string {
	var out []string
	for _, e := range c.nodes.Endpoints() {
		out = append(out, strings.TrimPrefix(e, "http://"))
	}
	return out
}

// leader gives the member that leads, or -1 if none says so in time.
func (c *cluster) leader(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		for i, client := range c.single {
			if c.state[i] != runs {
				continue
			}
			one, done := context.WithTimeout(ctx, 500*time.Millisecond)
			status, err := client.Status(one, c.nodes.Nodes[i].Endpoint())
			done()
			if err == nil && status.Leader == status.Header.MemberId {
				return i
			}
		}
		pause(ctx, 100*time.Millisecond)
	}
	return -1
}

func (c *cluster) freeze(i int) {
	if c.state[i] != runs {
		return
	}
	c.state[i] = frozen
	c.rec.Record(history.Record{Kind: history.Stopped, Target: member(i)})
	c.nodes.Nodes[i].Freeze()
}

func (c *cluster) thaw(i int) {
	if c.state[i] != frozen {
		return
	}
	c.state[i] = runs
	c.rec.Record(history.Record{Kind: history.Resumed, Target: member(i)})
	c.nodes.Nodes[i].Thaw()
}

// kill ends a member with SIGKILL, stop with SIGTERM.
func (c *cluster) kill(i int) { c.end(i, history.Killed, c.nodes.Nodes[i].Kill) }
func (c *cluster) stop(i int) { c.end(i, history.Asked, c.nodes.Nodes[i].Stop) }

func (c *cluster) end(i int, kind history.Kind, how func()) {
	if c.state[i] == dead {
		return
	}
	c.state[i] = dead
	c.rec.Record(history.Record{Kind: kind, Target: member(i)})
	how()
	c.rec.Record(history.Record{Kind: history.Died, Target: member(i)})
}

// start starts members that are dead, and waits until they are well.
func (c *cluster) start(members ...int) {
	var started []int
	for _, i := range members {
		if c.state[i] != dead {
			continue
		}
		at := history.Now()
		c.nodes.Nodes[i].Start()
		c.state[i] = runs
		c.callers.pids[i].Store(int64(c.nodes.Nodes[i].PID()))
		c.rec.Record(history.Record{Kind: history.Spawn, Target: member(i), PID: c.nodes.Nodes[i].PID(), At: at})
		started = append(started, i)
	}
	for _, i := range started {
		c.nodes.Nodes[i].WaitHealthy()
	}
}

// mend undoes whatever is still done, and waits until all members are well.
func (c *cluster) mend(ctx context.Context) {
	c.peers.heal(true)
	for i := range memberCount {
		c.thaw(i)
	}
	c.start(0, 1, 2)
	for _, node := range c.nodes.Nodes {
		node.WaitHealthy()
	}
	c.alarm(ctx, pb.AlarmRequest_DEACTIVATE)
}

// each does something to all members at once.
func each(do func(i int)) {
	var all sync.WaitGroup
	for i := range memberCount {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

// alarm raises or ends the alarm of a full data base.
func (c *cluster) alarm(ctx context.Context, action pb.AlarmRequest_AlarmAction) {
	for try := 0; try < 10 && ctx.Err() == nil; try++ {
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		status, err := c.all.Status(one, c.nodes.Nodes[try%memberCount].Endpoint())
		if err == nil {
			_, err = pb.NewMaintenanceClient(c.all.ActiveConnection()).Alarm(one, &pb.AlarmRequest{
				Action: action, MemberID: status.Header.MemberId, Alarm: pb.AlarmType_NOSPACE,
			})
		}
		if err == nil && action == pb.AlarmRequest_DEACTIVATE {
			_, err = c.all.AlarmDisarm(one, &clientv3.AlarmMember{}) // whichever member it was raised for
		}
		cancel()
		if err == nil {
			return
		}
	}
}

// slowDisk makes each fsync of a member take longer, for a while. It gives false where this machine can't do that.
func (c *cluster) slowDisk(ctx context.Context, i int, by, during time.Duration) bool {
	undo, err := c.nodes.Nodes[i].DelaySync(by)
	if err != nil {
		return false
	}
	defer undo()
	timer := time.NewTimer(during)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}
