package lease_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/lease"
)

// clocks is one moment on the clock that stands still in suspend and on the one that does not.
type clocks struct{ mono, boot time.Duration }

func (c clocks) add(d time.Duration) clocks { return clocks{c.mono + d, c.boot + d} }

func (c clocks) before(other clocks) bool { return c.mono < other.mono && c.boot < other.boot }

// A witness sits on the wire of one client and knows, independently of the code under test, until when its leases are certain
// to live: send time of the last answered renewal + TTL.
type witness struct {
	now func() clocks

	mu      sync.Mutex
	granted map[clientv3.LeaseID]clocks // when the first try of the grant was sent
	certain map[clientv3.LeaseID]clocks
}

func (w *witness) dialOptions(c *clientv3.Config) {
	c.DialOptions = append(c.DialOptions, grpc.WithChainUnaryInterceptor(w.unary), grpc.WithChainStreamInterceptor(w.stream))
}

func (w *witness) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	grant, ok := req.(*pb.LeaseGrantRequest)
	if ok {
		w.mu.Lock()
		id := clientv3.LeaseID(grant.ID)
		if _, again := w.granted[id]; !again {
			w.granted[id] = w.now()
			w.certain[id] = w.now().add(time.Duration(grant.TTL) * time.Second)
		}
		w.mu.Unlock()
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

func (w *witness) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, desc, cc, method, opts...)
	return &witnessed{ClientStream: s, w: w}, err
}

// witnessed is one stream. etcd answers in the order of the requests.
type witnessed struct {
	grpc.ClientStream
	w    *witness
	sent []clocks
}

func (s *witnessed) SendMsg(m any) error {
	if _, ok := m.(*pb.LeaseKeepAliveRequest); ok {
		s.w.mu.Lock()
		s.sent = append(s.sent, s.w.now())
		s.w.mu.Unlock()
	}
	return s.ClientStream.SendMsg(m)
}

func (s *witnessed) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	answer, ok := m.(*pb.LeaseKeepAliveResponse)
	if err != nil || !ok {
		return err
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	sent := s.sent[0]
	s.sent = s.sent[1:]
	until := sent.add(time.Duration(answer.TTL) * time.Second)
	if id := clientv3.LeaseID(answer.ID); answer.TTL > 0 && !until.before(s.w.certain[id]) {
		s.w.certain[id] = until
	}
	return nil
}

func (w *witness) until(id clientv3.LeaseID) clocks {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.certain[id]
}

// world is one run of the property: a holder with some leases, a network and a server that come and go.
type world struct {
	*rapid.T
	server  *etcdtest.FakeServer
	running bool
	asker   *clientv3.Client
	holder  *etcdtest.Client
	witness *witness
	begin   time.Time
	suspend atomic.Int64
	leases  []*lease.Lease
	log     []string

	mu       sync.Mutex
	answered []lease.Event // Answered events whose keys are not read back yet
	periods  map[*lease.Lease]context.Context
	distrust map[*lease.Lease]clocks // when Valid first said no since the period began
}

func (w *world) now() clocks {
	mono := time.Since(w.begin)
	return clocks{mono, mono + time.Duration(w.suspend.Load())}
}

// check asks each lease whether it may be trusted, and holds the answer against what is certain.
func (w *world) check() {
	now := w.now()
	for _, l := range w.leases {
		valid := l.Valid()
		margin := max(250*time.Millisecond, l.TTL()/10)
		if until := w.witness.until(l.ID()).add(-margin); valid && !now.before(until) {
			w.Fatalf("%v\nat %v: Valid, although nothing is certain after %v (TTL %v)", w.log, now, until, l.TTL())
		}
		period := w.periods[l]
		since, distrusted := w.distrust[l]
		switch {
		case valid && (period == nil || period.Err() != nil):
			w.periods[l] = l.Trusted()
			delete(w.distrust, l)
		case valid && distrusted:
			w.Fatalf("%v\nat %v: one trusted period goes on over %v, when Valid said no", w.log, now, since)
		case !valid && !distrusted:
			w.distrust[l] = now
		case !valid && period != nil && period.Err() == nil && now.mono-since.mono > 1100*time.Millisecond:
			w.Fatalf("%v\nat %v: Valid says no since %v, and the trusted period has not ended", w.log, now, since)
		}
		if !valid && l.Expires() != (time.Time{}) {
			w.Fatalf("%v\nat %v: not Valid, but it expires at %v", w.log, now, l.Expires())
		}
	}
}

// ask asks etcd itself, at the same moment.
func (w *world) ask() {
	if !w.running {
		return
	}
	for _, l := range w.leases {
		valid := l.Valid()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		resp, err := w.asker.TimeToLive(ctx, l.ID())
		cancel()
		if valid && err == nil && resp.GrantedTTL == 0 {
			w.Fatalf("%v\nat %v: Valid, although etcd does not have the lease", w.log, w.now())
		}
	}
}

// readBack does what a holder does once its lease was answered, now or later.
func (w *world) readBack() {
	w.mu.Lock()
	answered := w.answered
	w.answered = nil
	w.mu.Unlock()
	for _, e := range answered {
		late := e.Lease.Stats().Fences != e.Fence
		if restored := e.Lease.Restore(e.Fence); restored && (late || !e.Lease.Valid()) {
			w.Fatalf("%v\nat %v: restored, by a read from before the last fence: %v, Valid: %v", w.log, w.now(), late, e.Lease.Valid())
		}
	}
}

// pass lets time pass and checks all along.
func (w *world) pass(d time.Duration, readBack bool) {
	const step = 20 * time.Millisecond
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(step) {
		if readBack {
			w.readBack()
		}
		w.check()
	}
	w.ask()
}

func (w *world) act(action string) {
	switch action {
	case "cut":
		w.holder.Cut()
	case "cut answers":
		w.holder.CutAnswers()
	case "cut requests":
		w.holder.CutRequests()
	case "heal":
		w.holder.Heal()
	case "break":
		w.holder.Break()
	case "stop":
		w.server.Stop()
		w.running = false
	case "start":
		if !w.running {
			w.server.Start()
			w.running = true
		}
	case "suspend":
		w.suspend.Add(int64(rapid.SampledFrom([]time.Duration{30 * time.Millisecond, time.Second, time.Minute}).Draw(w.T, "for")))
		w.check()
	}
}

// Whatever happens to network, server and machine: Valid never says yes when it is not certain that etcd has the lease.
func TestValidIsNeverWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := etcdtest.Fake(t)
		asker := server.Client()
		// The deadline of a test is a time outside of the bubble.
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) {
			w := &world{
				T: rt, server: server, running: true, asker: asker, begin: time.Now(),
				periods: make(map[*lease.Lease]context.Context), distrust: make(map[*lease.Lease]clocks),
			}
			w.witness = &witness{now: w.now, granted: make(map[clientv3.LeaseID]clocks), certain: make(map[clientv3.LeaseID]clocks)}
			w.holder = server.NewClient(w.witness.dialOptions)
			renewer := lease.New(w.holder.Client, lease.Config{
				Boottime: func() time.Duration { return w.now().boot },
				OnEvent: func(e lease.Event) {
					w.mu.Lock()
					defer w.mu.Unlock()
					if e.Kind == lease.Answered {
						w.answered = append(w.answered, e)
					}
				},
			})
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- renewer.Run(ctx) }()
			defer func() {
				cancel()
				t.Logf("ended: %v", <-ended)
				w.act("start")
				_ = w.holder.Close()
				w.holder.Break()
			}()
			for _, ttl := range []time.Duration{2 * time.Second, 5 * time.Second, 11 * time.Second} {
				l, err := renewer.Grant(ctx, ttl)
				if err != nil {
					w.Fatal(err)
				}
				w.leases = append(w.leases, l)
			}
			for range rapid.IntRange(1, 12).Draw(rt, "actions") {
				action := rapid.SampledFrom([]string{
					"nothing", "cut", "cut answers", "cut requests", "heal", "break", "stop", "start", "suspend",
				}).Draw(rt, "action")
				d := time.Duration(rapid.IntRange(0, 6000).Draw(rt, "ms")) * time.Millisecond
				w.log = append(w.log, fmt.Sprintf("%v: %s", w.now().mono, action))
				w.act(action)
				w.pass(d, rapid.IntRange(0, 3).Draw(rt, "reads back") > 0)
			}
			w.recover()
		})
	})
}

// recover ends all faults: what etcd still has must be trusted again soon, and what it has not must be told.
func (w *world) recover() {
	w.act("start")
	w.act("heal")
	w.log = append(w.log, fmt.Sprintf("%v: all is well again", w.now().mono))
	w.pass(10*time.Second, true)
	for i, l := range w.leases {
		select {
		case <-l.Gone():
		default:
			if !l.Valid() {
				w.Fatalf("%v\nlease %d is neither trusted nor gone 10s later: %+v", w.log, i, l.Stats())
			}
		}
	}
	if slices.ContainsFunc(w.leases, func(l *lease.Lease) bool { return l.Valid() && l.Trusted().Err() != nil }) {
		w.Fatalf("%v\na Valid lease has no trusted period", w.log)
	}
}
