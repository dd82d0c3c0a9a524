package registry

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// drawOp draws an op about one name, and what etcd could answer to it.
func drawOp(t *rapid.T, i int) (*op, *pb.TxnResponse) {
	k := Keys{prefix: DefaultPrefix}.of(Name{Binary: "vol", Host: fmt.Sprint(i)})
	o := &op{keys: k, read: rapid.Bool().Draw(t, "read"), elseRead: rapid.Bool().Draw(t, "else read")}
	if rapid.Bool().Draw(t, "compares") {
		o.compare = []comparison{{k.alive, rapid.Int64().Draw(t, "alive")}, {k.record, rapid.Int64Range(0, 9).Draw(t, "record")}}
	}
	if rapid.Bool().Draw(t, "puts a record") {
		o.record = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "record")
	}
	if rapid.Bool().Draw(t, "puts a holder") {
		o.holder, o.lease = []byte("holder"), clientv3.LeaseID(rapid.Int64().Draw(t, "lease"))
	}
	o.remove = rapid.Bool().Draw(t, "removes")
	resp := &pb.TxnResponse{Succeeded: rapid.Bool().Draw(t, "succeeded")}
	if rapid.Bool().Draw(t, "has a header") {
		resp.Header = &pb.ResponseHeader{Revision: 3, ClusterId: 1 << 63}
	}
	for range rapid.IntRange(0, 2).Draw(t, "puts") {
		resp.Responses = append(resp.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponsePut{ResponsePut: &pb.PutResponse{Header: &pb.ResponseHeader{Revision: 4}}}})
	}
	if resp.Succeeded && o.read || !resp.Succeeded && o.elseRead {
		for _, key := range [][]byte{k.alive, k.record, k.admin} {
			got := &pb.RangeResponse{}
			if rapid.Bool().Draw(t, "is there") {
				got.Kvs, got.Count = []*mvccpb.KeyValue{{Key: key, Value: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value"), ModRevision: 8, Lease: -1}}, 1
			}
			resp.Responses = append(resp.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseRange{ResponseRange: got}})
		}
	}
	return o, resp
}

// Whatever etcd answers: what is found without decoding is what the messages say.
func TestAnswersAreReadAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var batch []*op
		var want []outcome
		revision := rapid.Int64().Draw(t, "revision")
		whole := &pb.TxnResponse{Header: &pb.ResponseHeader{Revision: revision, MemberId: 5, RaftTerm: 9}, Succeeded: true}
		count := rapid.IntRange(1, 5).Draw(t, "ops")
		for i := range count {
			o, resp := drawOp(t, i)
			batch, want = append(batch, o), append(want, o.keys.result(resp.Succeeded, revision, resp.Responses))
			if count == 1 {
				resp.Header, whole = whole.Header, resp
				continue
			}
			whole.Responses = append(whole.Responses, &pb.ResponseOp{Response: &pb.ResponseOp_ResponseTxn{ResponseTxn: resp}})
		}
		raw, err := proto.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&answer{message{raw: raw}}).outcomes(batch); err != nil {
			t.Fatal(err)
		}
		for i, o := range batch {
			if got := o.outcome; !sameOutcome(got, want[i]) {
				t.Fatalf("op %d got\n%+v, want\n%+v", i, got, want[i])
			}
		}
		// Nothing that is cut off or bent may be taken for something else without a word, and nothing may bring the process down.
		if cut := rapid.IntRange(0, len(raw)).Draw(t, "cut"); cut < len(raw) {
			raw[cut] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			_ = (&answer{message{raw: raw}}).outcomes(batch)
			if count > 1 && (&answer{message{raw: raw[:cut]}}).outcomes(batch) == nil {
				t.Fatalf("the first %d of %d bytes were taken for all", cut, len(raw))
			}
		}
	})
}

func sameOutcome(a, b outcome) bool {
	same := a.applied == b.applied && a.revision == b.revision && a.read == b.read
	return same && proto.Equal(a.alive, b.alive) && proto.Equal(a.record, b.record) && proto.Equal(a.admin, b.admin)
}

func TestAnswersOfTooFew(t *testing.T) {
	raw, err := proto.Marshal(&pb.TxnResponse{Header: &pb.ResponseHeader{Revision: 3}, Succeeded: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := (&answer{message{raw: raw}}).outcomes([]*op{{}, {}}); err == nil {
		t.Error("no answer was taken for two")
	}
	if err := (&answer{message{raw: []byte{0xff}}}).outcomes([]*op{{}}); !errors.Is(err, errAnswer) {
		t.Errorf("junk: %v", err)
	}
}

// What goes over the wire is what etcd's own messages would be, and just as long as it was said to be.
func TestRequests(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var batch []*op
		want := &pb.TxnRequest{}
		count := rapid.IntRange(1, 5).Draw(t, "ops")
		for i := range count {
			o, _ := drawOp(t, i)
			o.bytes = o.size()
			if n := proto.Size(plainRequest(o)); o.bytes != n {
				t.Fatalf("%d bytes, want %d", o.bytes, n)
			}
			batch = append(batch, o)
			if count == 1 {
				want = plainRequest(o)
				break
			}
			want.Success = append(want.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: plainRequest(o)}})
		}
		data, err := newTxnCodec().Marshal(request{batch})
		if err != nil {
			t.Fatal(err)
		}
		defer data.Free()
		if n := (request{batch}).size(); data.Len() != n {
			t.Fatalf("%d bytes, said to be %d", data.Len(), n)
		}
		got := &pb.TxnRequest{}
		if err := proto.Unmarshal(data.Materialize(), got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) {
			t.Fatalf("got\n%v, want\n%v", got, want)
		}
	})
}

func plainRequest(o *op) *pb.TxnRequest {
	txn := &pb.TxnRequest{}
	for _, c := range o.compare {
		txn.Compare = append(txn.Compare, &pb.Compare{Key: c.key, Target: pb.Compare_MOD, TargetUnion: &pb.Compare_ModRevision{ModRevision: c.rev}})
	}
	put := func(key, value []byte, lease int64) {
		txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{Key: key, Value: value, Lease: lease}}})
	}
	var all []*pb.RequestOp
	for _, key := range [][]byte{o.keys.alive, o.keys.record, o.keys.admin} {
		all = append(all, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}})
	}
	if o.record != nil {
		put(o.keys.record, o.record, 0)
	}
	if o.holder != nil {
		put(o.keys.alive, o.holder, int64(o.lease))
	}
	if o.remove {
		txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: o.keys.alive}}})
	}
	if o.read {
		txn.Success = append(txn.Success, all...)
	}
	if o.elseRead {
		txn.Failure = all
	}
	return txn
}

func TestKeysOfAName(t *testing.T) {
	keys := Keys{prefix: "/x/y/"}
	n := Name{Binary: "cinder-volume", Host: "a@b"}
	got := keys.of(n)
	want := nameKeys{alive: []byte(keys.Alive(n)), record: []byte(keys.Record(n)), admin: []byte(keys.Admin(n))}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	_ = append(got.alive, "more"...)
	if string(got.record) != keys.Record(n) || string(got.admin) != keys.Admin(n) {
		t.Error("one key runs into the next")
	}
}
