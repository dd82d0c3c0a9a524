package registry

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// op is one transaction about one name. Its compares make sure that nobody else's keys are touched; when one fails, the keys
// of the name are read in the same breath, so that the next step is decided on facts.
type op struct {
	compare []clientv3.Cmp
	then    []clientv3.Op
	orElse  []clientv3.Op
	bytes   int
	done    func(outcome, error) // called once, from a goroutine of the queue
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

func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

// names of the keys of one registration, made once.
type nameKeys struct{ alive, record, admin string }

func (k Keys) of(n Name) nameKeys {
	return nameKeys{alive: k.Alive(n), record: k.Record(n), admin: k.Admin(n)}
}

// readAll reads the three keys of the name.
func (k nameKeys) readAll() []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(k.alive), clientv3.OpGet(k.record), clientv3.OpGet(k.admin)}
}

// size estimates what the op adds to a request, a little too high. Names may have 253 bytes, so the keys weigh.
func (o *op) size() int {
	const framing = 48
	n := o.bytes + framing
	for i := range o.compare {
		n += len(o.compare[i].KeyBytes()) + framing
	}
	for _, operation := range o.then {
		n += len(operation.KeyBytes()) + framing
	}
	for _, operation := range o.orElse {
		n += len(operation.KeyBytes()) + framing
	}
	return n
}

// result reads what etcd answered to the op.
func (k nameKeys) result(applied bool, revision int64, responses []*responseOp) outcome {
	out := outcome{applied: applied, revision: revision}
	for _, r := range responses {
		get := r.GetResponseRange()
		if get == nil {
			continue
		}
		out.read = true
		for _, kv := range get.Kvs {
			switch string(kv.Key) {
			case k.alive:
				out.alive = kv
			case k.record:
				out.record = kv
			case k.admin:
				out.admin = kv
			}
		}
	}
	return out
}
