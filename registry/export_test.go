package registry

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// TxnOf gives the transaction that a call of etcd asks for, as etcd reads it; nil of any other call.
func TxnOf(req any) *pb.TxnRequest {
	r, ok := req.(request)
	if !ok {
		return nil
	}
	txn := &pb.TxnRequest{}
	if err := proto.Unmarshal(r.append(nil), txn); err != nil {
		panic(err)
	}
	return txn
}
