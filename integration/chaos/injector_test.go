//go:build linux

package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/integration/observer"
)

// An injector carries out a plan.
type injector struct {
	t       testing.TB
	plan    *plan
	rec     *history.Recorder
	etcd    *cluster
	auditor *observer.Auditor
	holders []*actor
	rival   *actor
	readers []*actor
}

// run carries out all steps, each at its time and each lane in its order, and returns when all are undone.
func (in *injector) run(ctx context.Context) {
	start := time.Now()
	lanes := make(map[string][]step)
	for _, s := range in.plan.Steps {
		lanes[s.Lane] = append(lanes[s.Lane], s)
	}
	var all sync.WaitGroup
	for _, steps := range lanes {
		all.Go(func() {
			for _, s := range steps {
				if pause(ctx, time.Until(start.Add(s.At))); ctx.Err() != nil {
					return
				}
				in.do(ctx, s)
			}
		})
	}
	all.Wait()
}

// do carries out one step from its beginning to its end.
func (in *injector) do(ctx context.Context, s step) {
	switch s.Deed {
	case killHolder, freezeShort, freezeLong, blackhole, loseRequests, loseAnswers, slowNetwork, resetHolder, stopHolder,
		leaveName, failName, updateName:
		in.toProcess(ctx, s, in.holders[s.Actor])
	case killReader, freezeReader, cutReader, resetReader, pauseReader:
		in.toProcess(ctx, s, in.readers[s.Actor])
	case noSpace, compactStorm, compactOnce, defragment, writeBurst:
		in.toStore(ctx, s)
	case deleteAlive, deleteRecord, revokeLease, forceDown, disable, evict, takeover, duplicate, junk, unleased:
		in.asOperator(ctx, s)
	default:
		in.toMembers(ctx, s)
	}
}

// fault records the beginning of a fault, and gives what records its end.
func (in *injector) fault(s step, target string) (mended func()) {
	name := faultOf[s.Deed]
	in.rec.Record(history.Record{Kind: history.FaultOn, Fault: name, Target: target, Note: string(s.Deed)})
	return func() { in.rec.Record(history.Record{Kind: history.FaultOff, Fault: name, Target: target}) }
}

// toProcess does something to a holder or a watcher, or to its network.
func (in *injector) toProcess(ctx context.Context, s step, a *actor) {
	a.ensure()
	target := a.now()
	switch s.Deed {
	case killHolder, killReader:
		a.kill()
		pause(ctx, s.For)
		a.ensure()
	case stopHolder:
		a.stop()
		pause(ctx, s.For)
		a.ensure()
	case freezeShort, freezeLong, freezeReader:
		a.freeze()
		pause(ctx, s.For)
		a.thaw()
	case leaveName, failName, updateName:
		a.tell(order{Do: s.Deed, Name: s.Name % namesEach, For: s.For})
		pause(ctx, s.For)
	case pauseReader:
		mended := in.fault(s, target)
		a.tell(order{Do: s.Deed, For: s.For})
		pause(ctx, s.For)
		mended()
	default:
		mended := in.fault(s, target)
		in.cut(ctx, s, a.proxy)
		mended()
	}
}

// cut breaks the network of one process for a while.
func (in *injector) cut(ctx context.Context, s step, p *proxy) {
	switch s.Deed {
	case blackhole, cutReader:
		p.hold(true, true)
	case loseRequests:
		p.hold(true, false)
	case loseAnswers:
		p.hold(false, true)
	case slowNetwork:
		p.delay.Store(int64(time.Duration(20+s.Pick%100) * time.Millisecond))
	case resetHolder, resetReader:
		p.reset()
	}
	pause(ctx, s.For)
	p.heal(s.Lossy)
}

// toMembers does something to etcd's processes.
func (in *injector) toMembers(ctx context.Context, s step) {
	c := in.etcd
	leader := c.leader(ctx)
	if leader < 0 {
		return // it has trouble enough
	}
	follower := (leader + 1 + int(s.Pick%(memberCount-1))) % memberCount
	switch s.Deed {
	case followerIce:
		in.ice(ctx, s, follower)
	case leaderIce:
		in.ice(ctx, s, leader)
	case readersMember:
		in.iceOf(ctx, s)
	case leaderKill:
		in.without(ctx, s, member(leader), leader)
	case quorumLost:
		in.without(ctx, s, "", leader, follower)
	case allKilled:
		in.without(ctx, s, "", 0, 1, 2)
	case allFrozen, allFrozenLong:
		mended := in.fault(s, "")
		each(c.freeze)
		pause(ctx, s.For)
		each(c.thaw)
		mended()
	case partLeader:
		in.part(ctx, s, leader)
	case partFollower:
		in.part(ctx, s, follower)
	case rollingStart:
		mended := in.fault(s, "")
		for i := range memberCount {
			c.stop(i)
			c.start(i)
		}
		mended()
	case slowDisk:
		mended := in.fault(s, member(follower))
		c.slowDisk(ctx, follower, 400*time.Millisecond, s.For)
		mended()
	case hungDisk:
		mended := in.fault(s, member(leader))
		c.slowDisk(ctx, leader, s.For, s.For)
		mended()
	}
}

// ice freezes one member for a while. A leader that was frozen longer than the TTL and wakes is a fault of its own.
func (in *injector) ice(ctx context.Context, s step, i int) {
	mended := in.fault(s, member(i))
	in.etcd.freeze(i)
	pause(ctx, s.For)
	if s.Deed == leaderIce && s.For > 5*time.Second {
		in.rec.Record(history.Record{Kind: history.FaultOn, Fault: "F11", Target: member(i), Note: "it wakes"})
	}
	in.etcd.thaw(i)
	mended()
}

// iceOf freezes the member that a watcher is at: the one that it heard last. (An idle one hears its member each second.)
func (in *injector) iceOf(ctx context.Context, s step) {
	a := in.readers[s.Actor]
	i := a.proxy.loudest()
	mended := in.fault(s, a.now())
	in.etcd.freeze(i)
	pause(ctx, s.For)
	in.etcd.thaw(i)
	mended()
}

// without kills members and starts them again after a while.
func (in *injector) without(ctx context.Context, s step, target string, members ...int) {
	mended := in.fault(s, target)
	for _, i := range members {
		in.etcd.kill(i)
	}
	pause(ctx, s.For)
	in.etcd.start(members...)
	mended()
}

// part cuts one member off from the others, and leaves it to its clients.
func (in *injector) part(ctx context.Context, s step, i int) {
	mended := in.fault(s, member(i))
	in.etcd.peers.part(i)
	pause(ctx, s.For)
	in.etcd.peers.heal(s.Lossy)
	mended()
}

// toStore does something to etcd's data.
func (in *injector) toStore(ctx context.Context, s step) {
	switch s.Deed {
	case compactOnce:
		in.compact(ctx, s)
	case compactStorm:
		for end := time.Now().Add(s.For); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
			in.compact(ctx, s)
		}
	case defragment:
		i := int(s.Pick % memberCount)
		mended := in.fault(s, member(i))
		one, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, _ = in.etcd.single[i].Defragment(one, in.etcd.nodes.Nodes[i].Endpoint()) // it may be dead
		mended()
	case noSpace:
		mended := in.fault(s, "")
		in.etcd.alarm(ctx, pb.AlarmRequest_ACTIVATE)
		pause(ctx, s.For)
		in.etcd.alarm(ctx, pb.AlarmRequest_DEACTIVATE)
		mended()
	case writeBurst: // the revision moves on while nothing happens under the prefix
		for i := range 50 {
			one, cancel := context.WithTimeout(ctx, operatorLimit)
			_, err := in.etcd.all.Put(one, "/elsewhere", fmt.Sprint(i))
			cancel()
			if err != nil {
				return
			}
		}
	}
}

// compact drops all history that the auditor has seen.
func (in *injector) compact(ctx context.Context, s step) {
	revision := in.auditor.Seen()
	one, cancel := context.WithTimeout(ctx, operatorLimit)
	defer cancel()
	at := history.Now()
	if _, err := in.etcd.all.Compact(one, revision, clientv3.WithCompactPhysical()); err != nil {
		return // it was compacted already, or etcd is away
	}
	in.rec.Record(history.Record{Kind: history.FaultOn, Fault: faultOf[s.Deed], Revision: revision, At: at})
	in.rec.Record(history.Record{Kind: history.FaultOff, Fault: faultOf[s.Deed]})
}
