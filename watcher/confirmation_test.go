package watcher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

const testWindow = 2 * time.Second

// confirming is a reader that asks for confirmation.
func confirming(t *testing.T, client *clientv3.Client, from Position) *reader {
	t.Helper()
	return watch(t, client, from, Config{Confirm: testWindow})
}

// wantSuspect wants the suspect of vol1, told at once.
func (r *reader) wantSuspect(inc, deleted int64) Batch {
	r.t.Helper()
	begin := time.Now()
	b := r.want(Changes)
	if len(b.Events) != 1 || b.Events[0].Kind != Suspect || b.Events[0].Incarnation != inc || b.Events[0].DeletedRevision != deleted {
		r.t.Fatalf("told %v, want suspect of %d deleted at %d", tell(b.Events), inc, deleted)
	}
	if took := time.Since(begin); took > 100*time.Millisecond {
		r.t.Errorf("suspect told after %v", took)
	}
	if b.Revision != deleted-1 {
		r.t.Errorf("the position is %d, want %d: right before the suspect", b.Revision, deleted-1)
	}
	return b
}

func TestConfirmedDown(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := confirming(t, s.Client(), Now())
		r.want(Snapshot)
		r.quiet(10 * time.Second)
		gone := w.txn(del(testKeys.Alive(vol1)))
		r.wantSuspect(inc, gone)
		begin := time.Now()
		elsewhere := w.txn(write{key: "/elsewhere", value: []byte("x")})
		b := r.want(Changes)
		wantLines(t, tell(b.Events), []string{fmt.Sprintf("down vol/n1 inc=%d cause=deleted deleted=%d zone=az1 state=down", inc, gone)})
		if took := time.Since(begin); took < testWindow || took > testWindow+time.Second {
			t.Errorf("confirmed after %v, want about %v", took, testWindow)
		}
		if b.Revision != elsewhere {
			t.Errorf("told at %d, want the position %d", b.Revision, elsewhere)
		}
		r.quiet(time.Minute)
	})
}

func TestSuspectComesBack(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(3600)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := confirming(t, s.Client(), Now())
		r.want(Snapshot)
		for range 5 {
			gone := w.txn(del(testKeys.Alive(vol1)))
			r.wantSuspect(inc, gone)
			r.quiet(testWindow - 100*time.Millisecond)
			back := w.txn(putAlive(vol1, lease))
			b := r.want(Changes)
			wantLines(t, tell(b.Events), []string{fmt.Sprintf("cleared vol/n1 inc=%d prev=%d zone=az1 state=up", back, inc)})
			if b.Revision != back {
				t.Errorf("the position is %d, want %d: no suspect is open", b.Revision, back)
			}
			inc = back
			r.quiet(time.Minute)
		}
	})
}

// The window runs only while etcd is heard: what cut the reader off may have cut off those that want to come back.
func TestWindowStandsStillWithoutContact(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		c := s.NewClient()
		lease := w.grant(36000)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := confirming(t, c.Client, Now())
		r.want(Snapshot)
		gone := w.txn(del(testKeys.Alive(vol1)))
		r.wantSuspect(inc, gone)
		r.quiet(time.Second)
		c.Cut()
		if b := r.want(Stale); b.Revision != gone-1 {
			t.Errorf("stale at %d, want %d", b.Revision, gone-1)
		}
		r.quiet(10 * time.Minute)
		c.Heal()
		r.want(Live)
		// A second of the window is left, or a little more.
		begin := time.Now()
		r.quiet(500 * time.Millisecond)
		back := w.txn(putAlive(vol1, lease))
		wantLines(t, r.events(), []string{fmt.Sprintf("cleared vol/n1 inc=%d prev=%d zone=az1 state=up", back, inc)})
		gone = w.txn(del(testKeys.Alive(vol1)))
		r.wantSuspect(back, gone)
		s.Restart() // a short break counts against nobody, and a down comes of it all the same
		wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d cause=deleted deleted=%d zone=az1 state=down", back, gone)})
		if took := time.Since(begin); took < testWindow || took > 2*testWindow+3*time.Second {
			t.Errorf("confirmed after %v", took)
		}
	})
}

// A break that is too short to be told as Stale does not count either.
func TestShortBreakDoesNotCount(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		c := s.NewClient()
		lease := w.grant(36000)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := confirming(t, c.Client, Now())
		r.want(Snapshot)
		r.quiet(10 * time.Second)
		gone := w.txn(del(testKeys.Alive(vol1)))
		r.wantSuspect(inc, gone)
		c.Cut()
		c.Break()
		time.Sleep(1500 * time.Millisecond)
		c.Heal()
		time.Sleep(time.Second) // after 2.5 s
		back := w.txn(putAlive(vol1, lease))
		wantLines(t, r.events(), []string{fmt.Sprintf("cleared vol/n1 inc=%d prev=%d zone=az1 state=up", back, inc)})
	})
}

// A reader whose connection breaks again and again is told all the same.
func TestConfirmedBetweenBreaks(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		c := s.NewClient()
		inc := w.txn(putRecord(vol1), putAlive(vol1, w.grant(36000)))
		r := confirming(t, c.Client, Now())
		r.want(Snapshot)
		gone := w.txn(del(testKeys.Alive(vol1)))
		r.wantSuspect(inc, gone)
		begin := time.Now()
		stop := make(chan struct{})
		var breaking sync.WaitGroup
		breaking.Go(func() {
			for every := time.NewTicker(700 * time.Millisecond); ; {
				select {
				case <-every.C:
					c.Break()
				case <-stop:
					every.Stop()
					return
				}
			}
		})
		wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d cause=deleted deleted=%d zone=az1 state=down", inc, gone)})
		close(stop)
		breaking.Wait()
		if took := time.Since(begin); took > 4*testWindow {
			t.Errorf("confirmed after %v", took)
		}
	})
}

// proofs stands between a watcher and what it asks a quorum.
type proofs struct {
	refuse atomic.Bool
	ahead  atomic.Int64  // the cluster is further than the member that serves the stream
	term   atomic.Uint64 // by how much the cluster's leader is another one
}

func (p *proofs) client(s *etcdtest.FakeServer) *clientv3.Client {
	return s.NewClient(func(c *clientv3.Config) {
		c.DialOptions = append(c.DialOptions, grpc.WithChainUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if _, read := req.(*pb.RangeRequest); read && p.refuse.Load() {
					return errors.New("no quorum")
				}
				err := invoke(ctx, method, req, reply, cc, opts...)
				if answer, read := reply.(*pb.RangeResponse); read && err == nil {
					answer.Header.Revision += p.ahead.Load()
					answer.Header.RaftTerm += p.term.Load()
				}
				return err
			}))
	}).Client
}

// A member that was cut off from the others answers for an old state in good faith, until it notices. So a down needs a quorum's
// word on how far the cluster is, and a stream that got there.
func TestDownNeedsAQuorum(t *testing.T) {
	for name, trouble := range map[string]func(p *proofs, on bool){
		"nobody answers": func(p *proofs, on bool) { p.refuse.Store(on) },
		"the stream is behind": func(p *proofs, on bool) {
			if on {
				p.ahead.Store(1)
			} else {
				p.ahead.Store(0)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
				var p proofs
				lease := w.grant(36000)
				inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
				r := confirming(t, p.client(s), Now())
				r.want(Snapshot)
				gone := w.txn(del(testKeys.Alive(vol1)))
				r.wantSuspect(inc, gone)
				trouble(&p, true)
				r.quiet(10 * time.Minute)
				trouble(&p, false)
				// For "behind" it takes a write for the stream to get there.
				w.txn(write{key: "/elsewhere", value: []byte("x")})
				begin := time.Now()
				wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d cause=deleted deleted=%d zone=az1 state=down", inc, gone)})
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("confirmed %v after a quorum answered", took)
				}
			})
		})
	}
}

// While the cluster elects a leader nobody can come back, and the stream may run on as if nothing had happened.
func TestElectionBeginsTheWindowAgain(t *testing.T) {
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		var p proofs
		lease := w.grant(36000)
		inc := w.txn(putRecord(vol1), putAlive(vol1, lease))
		r := confirming(t, p.client(s), Now())
		r.want(Snapshot)
		gone := w.txn(del(testKeys.Alive(vol1)))
		r.wantSuspect(inc, gone)
		p.refuse.Store(true)
		r.quiet(testWindow + time.Second)
		p.term.Add(1)
		p.refuse.Store(false)
		r.quiet(time.Second)
		back := w.txn(putAlive(vol1, lease))
		wantLines(t, r.events(), []string{fmt.Sprintf("cleared vol/n1 inc=%d prev=%d zone=az1 state=up", back, inc)})
		gone = w.txn(del(testKeys.Alive(vol1)))
		r.wantSuspect(back, gone)
		begin := time.Now()
		wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d cause=deleted deleted=%d zone=az1 state=down", back, gone)})
		if took := time.Since(begin); took > testWindow+time.Second {
			t.Errorf("confirmed after %v: the same leader counts once", took)
		}
	})
}

// Everything that can become of a suspect that was open when the reader stopped.
var resumptions = map[string]func(t *testing.T, s *etcdtest.FakeServer, w writer, o opened){
	"the window begins again": func(t *testing.T, s *etcdtest.FakeServer, _ writer, o opened) {
		r := confirming(t, s.Client(), From(o.view))
		if b := r.want(Bookmark); !b.Synced || b.Revision != o.gone-1 {
			t.Errorf("synced at %d, want %d", b.Revision, o.gone-1)
		}
		r.quiet(testWindow - 100*time.Millisecond)
		wantLines(t, r.events(), []string{o.down})
		r.quiet(time.Minute)
		if v := r.w.View(); v.position() != v.Revision() {
			t.Error("the position is held back although no suspect is open")
		}
	},
	"for a reader that wants it raw it is down at once": func(t *testing.T, s *etcdtest.FakeServer, _ writer, o opened) {
		r := watch(t, s.Client(), From(o.view))
		r.want(Bookmark)
		begin := time.Now()
		wantLines(t, r.events(), []string{o.down})
		if took := time.Since(begin); took > time.Second {
			t.Errorf("told after %v", took)
		}
	},
	"after the bare position nothing is lost": func(t *testing.T, s *etcdtest.FakeServer, _ writer, o opened) {
		r := confirming(t, s.Client(), After(o.gone-1))
		if b := r.want(Changes); len(b.Events) != 1 || b.Events[0].Kind != Suspect {
			t.Errorf("told %v, want the suspect", tell(b.Events))
		}
		r.want(Bookmark)
		wantLines(t, r.events(), []string{fmt.Sprintf("down vol/n1 inc=%d deleted=%d zone=az1 state=down", o.inc, o.gone)})
	},
	"it came back meanwhile": func(t *testing.T, s *etcdtest.FakeServer, w writer, o opened) {
		back := w.txn(putAlive(vol1, o.lease))
		r := confirming(t, s.Client(), From(o.view))
		wantLines(t, r.events(), []string{fmt.Sprintf("cleared vol/n1 inc=%d prev=%d zone=az1 state=up", back, o.inc)})
		r.want(Bookmark)
		r.quiet(time.Minute)
	},
	"it came back meanwhile, and history was compacted": func(t *testing.T, s *etcdtest.FakeServer, w writer, o opened) {
		back := w.txn(putAlive(vol1, o.lease))
		s.Compact(0)
		r := confirming(t, s.Client(), From(o.view))
		wantLines(t, r.events(), []string{fmt.Sprintf("cleared vol/n1 inc=%d prev=%d synthetic=true zone=az1 state=up", back, o.inc)})
		r.want(Bookmark)
		r.quiet(time.Minute)
	},
}

// opened is a suspect that was open when its reader stopped, an hour ago.
type opened struct {
	view             *View
	inc, gone, lease int64
	down             string
}

func TestSuspectsOfAView(t *testing.T) {
	for name, test := range resumptions {
		t.Run(name, func(t *testing.T) {
			fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
				o := opened{lease: w.grant(36000)}
				o.inc = w.txn(putRecord(vol1), putAlive(vol1, o.lease))
				r := confirming(t, s.Client(), Now())
				r.want(Snapshot)
				o.gone = w.txn(del(testKeys.Alive(vol1)))
				r.wantSuspect(o.inc, o.gone)
				r.quiet(time.Second) // acknowledged
				o.view = throughJSON(t, r.w.View())
				r.stop()
				time.Sleep(time.Hour)
				o.down = fmt.Sprintf("down vol/n1 inc=%d cause=deleted deleted=%d zone=az1 state=down", o.inc, o.gone)
				test(t, s, w, o)
			})
		})
	}
}

// A thousand keys that a fault of etcd deletes at once, and that come back one after the other: nobody was down.
func TestMassFalseDelete(t *testing.T) {
	const n = 500 // more watches to catch up than that make etcd panic in fake time
	fake(t, func(t *testing.T, s *etcdtest.FakeServer, w writer) {
		lease := w.grant(36000)
		var records, puts, deletes []write
		for i := range n {
			puts = append(puts, putAliveBy(name(i), lease, fmt.Sprint(i), 0))
			records = append(records, putRecord(name(i)))
			deletes = append(deletes, del(testKeys.Alive(name(i))))
		}
		for i := 0; i < n; i += 100 {
			w.txn(records[i : i+100]...)
			w.txn(puts[i : i+100]...)
		}
		r := confirming(t, s.Client(), Now())
		r.want(Snapshot)
		for i := 0; i < n; i += 100 {
			w.txn(deletes[i : i+100]...)
		}
		suspects, cleared := 0, 0
		take := func(b Batch) {
			for _, e := range b.Events {
				switch e.Kind {
				case Suspect:
					suspects++
				case Cleared:
					cleared++
				default:
					t.Errorf("told %v", tell([]Event{e}))
				}
			}
		}
		for suspects < n {
			take(r.want(Changes))
		}
		for i := range n { // 2.4 s in all: without the growth of the window the last would be down
			time.Sleep(4800 * time.Microsecond)
			w.txn(puts[i])
			take(r.want(Changes))
		}
		if cleared != n {
			t.Errorf("%d cleared, want %d", cleared, n)
		}
		r.quiet(time.Minute)
	})
}
