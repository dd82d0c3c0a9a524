package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/lease"
)

// committer is an etcd whose transactions a test answers. Names says which names one is about.
type committer struct {
	grpc.ClientConnInterface
	commit func(ctx context.Context, names []string) error

	mu  sync.Mutex
	got [][]string // the names of each transaction, in order
}

func (c *committer) transactions() [][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func (c *committer) Invoke(ctx context.Context, _ string, req, reply any, _ ...grpc.CallOption) error {
	resp := &pb.TxnResponse{Header: &pb.ResponseHeader{Revision: 9}, Succeeded: true}
	var names []string
	for _, one := range TxnOf(req).Success {
		if txn := one.GetRequestTxn(); txn != nil {
			one = txn.Success[0]
			resp.Responses = append(resp.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: &pb.TxnResponse{Succeeded: true}}})
		}
		names = append(names, string(one.GetRequestPut().GetKey()))
	}
	c.mu.Lock()
	c.got = append(c.got, names)
	c.mu.Unlock()
	if c.commit != nil {
		if err := c.commit(ctx, names); err != nil {
			return err
		}
	}
	raw, err := proto.Marshal(resp)
	reply.(*answer).raw = raw
	return err
}

// tell gives each op its answer, as a registry does.
func tell(ops []*op) {
	for _, o := range ops {
		o.answered(o.outcome, o.err)
	}
}

// results collects how ops ended, by name.
type results struct {
	mu  sync.Mutex
	err map[string][]error
}

func (r *results) submit(q *queue, name string) { r.submitUnder(q, clientv3.NoLease, name) }

func (r *results) submitUnder(q *queue, id clientv3.LeaseID, name string) {
	q.submit(&op{keys: nameKeys{record: []byte(name)}, lease: id, record: []byte("v"), answered: func(out outcome, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil && (!out.applied || out.revision != 9) {
			err = fmt.Errorf("outcome %+v", out)
		}
		r.err[name] = append(r.err[name], err)
	}})
}

// onQueue runs the test against a queue with its committers, in fake time.
func onQueue(t *testing.T, c *committer, test func(q *queue, r *results)) {
	synctest.Test(t, func(*testing.T) {
		q, r := newQueue(c, tell), &results{err: make(map[string][]error)}
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		for range committers {
			running.Go(func() { q.work(ctx) })
		}
		synctest.Wait()
		test(q, r)
		cancel()
		running.Wait()
	})
}

// judged gives every error of etcd that is judged so, as a call returns it.
func judged(t *testing.T, verdict lease.Verdict) []error {
	t.Helper()
	var all []error
	for _, err := range etcdtest.Errors(t) {
		if lease.Judge(err) == verdict {
			all = append(all, rpctypes.Error(err))
		}
	}
	return all
}

func TestOneBadOpDoesNotSinkTheRest(t *testing.T) {
	refusals := append(judged(t, lease.Refused), judged(t, lease.Gone)...)
	for _, refusal := range append(refusals, status.Error(codes.InvalidArgument, "of a proxy")) {
		c := &committer{commit: func(_ context.Context, names []string) error {
			if slices.Contains(names, "bad") {
				return refusal
			}
			return nil
		}}
		onQueue(t, c, func(q *queue, r *results) {
			names := []string{"a", "b", "bad", "c", "d"}
			for _, name := range names {
				r.submit(q, name)
			}
			q.flush()
			synctest.Wait()
			for _, name := range names {
				var want error
				if name == "bad" {
					want = refusal
				}
				if got := r.ended()[name]; len(got) != 1 || !errors.Is(got[0], want) {
					t.Errorf("%v: %s ended with %v, want once %v", refusal, name, got, want)
				}
			}
			if got := c.transactions(); len(got) != 1+len(names) || len(got[0]) != len(names) {
				t.Errorf("%v: transactions %v, want one of all and then each alone", refusal, got)
			}
		})
	}
}

// That a lease is gone is said once for all that is put under it, however many they are: to try each alone would cost those that come
// back after an outage more transactions than their return. Who is on another lease, or on none, has nothing to do with it.
func TestGoneLeaseIsToldToAllOnIt(t *testing.T) {
	for _, refusal := range judged(t, lease.Gone) {
		c := &committer{commit: func(_ context.Context, names []string) error {
			if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "gone") }) {
				return refusal
			}
			return nil
		}}
		onQueue(t, c, func(q *queue, r *results) {
			under := map[string]clientv3.LeaseID{"gone1": 1, "a": 2, "gone2": 1, "b": 2, "none": clientv3.NoLease, "gone3": 1}
			for _, name := range slices.Sorted(maps.Keys(under)) {
				r.submitUnder(q, under[name], name)
			}
			q.flush()
			synctest.Wait()
			for name, id := range under {
				var want error
				if id == 1 {
					want = refusal
				}
				if got := r.ended()[name]; len(got) != 1 || !errors.Is(got[0], want) {
					t.Errorf("%v: %s ended with %v, want once %v", refusal, name, got, want)
				}
			}
			if got := c.transactions(); len(got) != 1+3 {
				t.Errorf("%v: transactions %v, want one of all and then one a lease", refusal, got)
			}
			for _, name := range []string{"gone4", "gone5"} {
				r.submitUnder(q, 1, name)
			}
			q.flush()
			synctest.Wait()
			if got := c.transactions(); len(got) != 1+3+1 || len(r.ended()["gone4"]) != 1 || len(r.ended()["gone5"]) != 1 {
				t.Errorf("%v: transactions %v, want one more for all on one lease", refusal, got)
			}
		})
	}
}

// After such an error the batch may be committed all the same, so a second try would find its own traces and fail: whoever
// submitted it has to read.
func TestAmbiguousErrorsFailAll(t *testing.T) {
	for _, ambiguous := range append(judged(t, lease.Retry), context.DeadlineExceeded, context.Canceled, io.EOF,
		status.Error(codes.Unavailable, "transport is closing"), status.Error(codes.Unknown, "what?"), errors.New("what?")) {
		c := &committer{commit: func(context.Context, []string) error { return ambiguous }}
		onQueue(t, c, func(q *queue, r *results) {
			for _, name := range []string{"a", "b", "c"} {
				r.submit(q, name)
			}
			q.flush()
			synctest.Wait()
			for name, got := range r.ended() {
				if len(got) != 1 || !errors.Is(got[0], ambiguous) {
					t.Errorf("%v: %s ended with %v", ambiguous, name, got)
				}
			}
			if got := c.transactions(); len(got) != 1 || len(r.ended()) != 3 {
				t.Errorf("%v: transactions %v, %d answers; want one transaction and an answer for each", ambiguous, got, len(r.ended()))
			}
		})
	}
}

// An etcd that does not answer must not hold the queue for ever.
func TestTransactionsAreBounded(t *testing.T) {
	c := &committer{commit: func(ctx context.Context, _ []string) error { <-ctx.Done(); return ctx.Err() }}
	onQueue(t, c, func(q *queue, r *results) {
		begin := time.Now()
		r.submit(q, "a")
		r.submit(q, "b")
		q.flush()
		for len(r.ended()) < 2 {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(begin); took < commitTimeout || took > commitTimeout+10*time.Millisecond {
			t.Errorf("given up after %v, want %v", took, commitTimeout)
		}
		if got := r.ended()["a"]; !errors.Is(got[0], context.DeadlineExceeded) {
			t.Errorf("ended with %v", got)
		}
	})
}

func (r *results) ended() map[string][]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.err)
}

// What comes while transactions are under way goes out together.
func TestOpsGather(t *testing.T) {
	c := &committer{commit: func(context.Context, []string) error { time.Sleep(10 * time.Millisecond); return nil }}
	onQueue(t, c, func(q *queue, r *results) {
		for i := range 1000 {
			r.submit(q, fmt.Sprint(i))
			q.flush()
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Second)
		if n := len(r.ended()); n != 1000 {
			t.Errorf("%d ops ended, want 1000", n)
		}
		// 100 ms of work, 10 ms each, on two committers.
		if n := len(c.transactions()); n > 30 {
			t.Errorf("%d transactions for 1000 ops", n)
		}
	})
}

// largeOp gives an op as registrations submit them, with names of this length and values of this size.
func largeOp(name string, bytes int) *op {
	k := Keys{prefix: DefaultPrefix}.of(Name{Binary: name, Host: name})
	value := make([]byte, bytes)
	return &op{
		keys: k, record: value, holder: value, elseRead: true,
		compare: []comparison{{k.alive, 0}, {k.record, 0}, {k.admin, 0}},
	}
}

// encoded is what the op weighs in a request.
func encoded(o *op) int { return proto.Size(plainRequest(o)) }

func TestBatchesFitIntoARequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue(nil, tell)
		count := rapid.IntRange(1, 500).Draw(t, "ops")
		nameBytes, valueBytes := rapid.IntRange(1, MaxNameBytes).Draw(t, "name"), rapid.IntRange(0, MaxValueBytes).Draw(t, "value")
		for i := range count {
			name := fmt.Sprintf("%0*d", max(nameBytes, 3), i)
			q.submit(largeOp(name, valueBytes))
		}
		seen := 0
		for batch := q.next(); len(batch) > 0; batch = q.next() {
			size := 0
			for _, o := range batch {
				if !strings.HasSuffix(string(o.keys.alive), fmt.Sprintf("%03d", seen%1000)) {
					t.Fatalf("op %d is %s", seen, o.keys.alive)
				}
				seen++
				size += encoded(o)
			}
			if len(batch) > 120 || len(batch) > 1 && size >= 1<<20 {
				t.Fatalf("a batch of %d with %d bytes", len(batch), size)
			}
			if rest := len(q.items) - q.head; rest > 0 && len(batch) < 120 && size+encoded(q.items[q.head]) < 1<<19 {
				t.Fatalf("a batch of %d with %d bytes only, though there are %d more", len(batch), size, rest)
			}
		}
		if seen != count {
			t.Fatalf("%d ops came out, %d went in", seen, count)
		}
	})
}

// The limits are etcd's, so etcd itself has the last word.
func TestEtcdTakesTheLargestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := etcdtest.Fake(t).Client()
		before, err := client.Get(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		q := newQueue(client.ActiveConnection(), tell)
		const count = 500
		var mu sync.Mutex
		done := 0
		for _, bytes := range []int{0, 4 << 10, MaxValueBytes} {
			for i := range count {
				name := fmt.Sprintf("%0*d", MaxNameBytes-6, bytes*1000+i)
				o := largeOp(name, bytes)
				o.answered = func(out outcome, err error) {
					mu.Lock()
					defer mu.Unlock()
					if err != nil || !out.applied {
						t.Errorf("values of %d bytes: %+v, %v", bytes, out, err)
					}
					done++
				}
				q.submit(o)
			}
		}
		for batch := q.next(); len(batch) > 0; batch = q.next() {
			if err := q.send(t.Context(), batch); err != nil {
				t.Fatalf("a batch of %d: %v", len(batch), err)
			}
			tell(batch)
		}
		after, err := client.Get(t.Context(), "x")
		if err != nil {
			t.Fatal(err)
		}
		if n := after.Header.Revision - before.Header.Revision; done != 3*count || n > 40 {
			t.Errorf("%d of %d ops done, in %d transactions", done, 3*count, n)
		}
	})
}

// A queue that is never empty keeps no room for what has gone through it.
func TestQueueNeverEmpty(t *testing.T) {
	q := newQueue(nil, tell)
	for range 1000 {
		for len(q.items)-q.head <= maxBatch {
			q.submit(&op{})
		}
		q.next()
	}
	if room := cap(q.items); room > 8*maxBatch {
		t.Errorf("room for %d, of %d at most", room, maxBatch+1)
	}
}
