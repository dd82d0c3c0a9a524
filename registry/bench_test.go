package registry

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

func benchKeys(b *testing.B) Keys {
	b.Helper()
	keys, err := NewKeys("")
	if err != nil {
		b.Fatal(err)
	}
	return keys
}

func benchName(i int) Name {
	return Name{Binary: "cinder-volume", Host: fmt.Sprintf("node%06d@lvm", i)}
}

// benchPair gives the two keys of an instance, as a registry writes them.
func benchPair(b *testing.B, keys Keys, i int) (record, alive *mvccpb.KeyValue) {
	b.Helper()
	at, name := time.Unix(1_700_000_000+int64(i), 123456789).UTC(), benchName(i)
	text, err := EncodeRecord(&Record{
		Schema: Schema, Binary: name.Binary, Host: name.Host, Zone: "az1", Labels: map[string]string{"rack": fmt.Sprint(i % 40)},
		Endpoints: []string{fmt.Sprintf("http://10.0.%d.%d:8776", i/250%250, i%250)}, CreatedAt: at, UpdatedAt: at, ReportCount: 7, TTLSeconds: 10,
	})
	if err != nil {
		b.Fatal(err)
	}
	holder, err := EncodeHolder(&Holder{
		Schema: Schema, Registration: fmt.Sprintf("%036x", i), PID: 4711, ProcessStart: "1234567", MachineID: fmt.Sprintf("%032x", i/20),
		BootID: fmt.Sprintf("%036x", i/20), PIDNamespace: "pid:[4026531836]", Since: at,
	})
	if err != nil {
		b.Fatal(err)
	}
	return &mvccpb.KeyValue{Key: []byte(keys.Record(name)), Value: text, ModRevision: 7},
		&mvccpb.KeyValue{Key: []byte(keys.Alive(name)), Value: holder, ModRevision: 8, Lease: int64(1 + i/1000)}
}

// BenchmarkParse reads a key.
func BenchmarkParse(b *testing.B) {
	keys := benchKeys(b)
	_, alive := benchPair(b, keys, 7)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := keys.Parse(alive.Key); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode reads the values of one instance.
func BenchmarkDecode(b *testing.B) {
	record, alive := benchPair(b, benchKeys(b), 7)
	b.Run("record", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeRecord(record.Value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("holder", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeHolder(alive.Value); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRow derives the row of one instance from its keys.
func BenchmarkRow(b *testing.B) {
	record, alive := benchPair(b, benchKeys(b), 7)
	b.ReportAllocs()
	for b.Loop() {
		e := Entry{Name: benchName(7)}
		e.Put(FamilyRecord, record)
		e.Put(FamilyAlive, alive)
		if s := e.Service(); s.State != Up {
			b.Fatal("it is not up")
		}
	}
}

// BenchmarkList lists a crowd, with the etcd in this process: its share is in the figures, and raw beside ours has only that.
func BenchmarkList(b *testing.B) {
	client, keys := etcdtest.Fake(b).Client(), benchKeys(b)
	for id := range int64(10) {
		if _, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseGrant(b.Context(), &pb.LeaseGrantRequest{ID: 1 + id, TTL: 3600}); err != nil {
			b.Fatal(err)
		}
	}
	const batch = 50
	written := 0
	for _, n := range []int{1000, 10_000} {
		for ; written < n; written += batch {
			var ops []clientv3.Op
			for i := written; i < written+batch; i++ {
				record, alive := benchPair(b, keys, i)
				for _, kv := range []*mvccpb.KeyValue{record, alive} {
					ops = append(ops, clientv3.OpPut(string(kv.Key), string(kv.Value), clientv3.WithLease(clientv3.LeaseID(kv.Lease))))
				}
			}
			if _, err := client.Txn(b.Context()).Then(ops...).Commit(); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if snap, err := List(b.Context(), client, ListOptions{}); err != nil || len(snap.Services) != n {
					b.Fatalf("%d rows, %v", len(snap.Services), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(n), "ns/row")
		})
		b.Run(fmt.Sprintf("%d raw", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if resp, err := client.Get(b.Context(), keys.Prefix(), clientv3.WithPrefix()); err != nil || len(resp.Kvs) != 2*n {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(n), "ns/row")
		})
	}
}

// BenchmarkGroupCommit takes an op through the queue, a thousand at a time as when a process registers them all, with an etcd that
// answers at once.
func BenchmarkGroupCommit(b *testing.B) {
	c := &committer{}
	q := newQueue(c, tell)
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	for range committers {
		running.Go(func() { q.work(ctx) })
	}
	defer running.Wait()
	defer cancel()
	const crowd = 1000
	names := make([]string, crowd)
	for i := range names {
		names[i] = benchName(i).String()
	}
	b.ReportAllocs()
	for b.Loop() {
		c.mu.Lock()
		c.got = nil
		c.mu.Unlock()
		var open sync.WaitGroup
		open.Add(crowd)
		for _, name := range names {
			q.submit(&op{keys: nameKeys{record: []byte(name)}, record: []byte("v"), answered: func(_ outcome, err error) {
				if err != nil {
					b.Error(err)
				}
				open.Done()
			}})
		}
		q.flush()
		open.Wait()
	}
	b.ReportMetric(float64(crowd)/float64(len(c.transactions())), "ops/txn")
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/crowd, "ns/instance")
}
