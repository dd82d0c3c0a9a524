package registry

import (
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// op is one transaction about one name. Its compares make sure that nobody else's keys are touched; when one fails, the keys
// of the name are read in the same breath, if that is asked for, so that the next step is decided on facts.
type op struct {
	keys    nameKeys
	compare []comparison

	// what it does when all compares hold:
	record []byte           // to be put as the record; nil: not
	holder []byte           // to be put as the alive key; nil: not
	lease  clientv3.LeaseID // under this lease
	remove bool             // delete the alive key
	read   bool             // read the three keys

	elseRead bool // read the three keys if one does not hold

	bytes    int                  // see size; set when it is submitted
	answered func(outcome, error) // called once, on the registry's loop
	outcome  outcome
	err      error
}

// comparison wants a key to have a ModRevision; 0: not to be there.
type comparison struct {
	key []byte
	rev int64
}

// outcome is what an op found or did.
type outcome struct {
	applied  bool // the compares held
	revision int64
	read     bool // the three keys were read
	alive    *mvccpb.KeyValue
	record   *mvccpb.KeyValue
	admin    *mvccpb.KeyValue
}

// rev is the ModRevision that etcd compares with; 0 for an absent key.
func rev(kv *mvccpb.KeyValue) int64 {
	if kv == nil {
		return 0
	}
	return kv.ModRevision
}

// nameKeys is the keys of one name. Nobody may change them.
type nameKeys struct{ alive, record, admin []byte }

func (k Keys) of(n Name) nameKeys {
	length := 3*(len(k.prefix)+len(n.Binary)+len(n.Host)+2) + len(FamilyAlive) + len(FamilyRecord) + len(FamilyAdmin)
	all := make([]byte, 0, length) // in one piece
	next := func(f Family) []byte {
		begin := len(all)
		all = append(append(append(append(all, k.prefix...), f...), '/'), n.Binary...)
		all = append(append(all, '/'), n.Host...)
		return all[begin:len(all):len(all)]
	}
	return nameKeys{alive: next(FamilyAlive), record: next(FamilyRecord), admin: next(FamilyAdmin)}
}

// result reads what etcd answered to the op.
func (k nameKeys) result(applied bool, revision int64, responses []*pb.ResponseOp) outcome {
	out := outcome{applied: applied, revision: revision}
	for _, r := range responses {
		get := r.GetResponseRange()
		if get == nil {
			continue
		}
		out.read = true
		for _, kv := range get.Kvs {
			switch string(kv.Key) {
			case string(k.alive):
				out.alive = kv
			case string(k.record):
				out.record = kv
			case string(k.admin):
				out.admin = kv
			}
		}
	}
	return out
}
