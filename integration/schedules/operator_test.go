package schedules_test

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// An operator says what is wanted, and makes mistakes. What it did is noted by revision.
type operator struct {
	w       *world
	keys    registry.Keys
	said    map[registry.Name]*registry.Admin
	did     map[int64]string
	evicted map[registry.Name]int64 // newest incarnation that was evicted
}

func newOperator(w *world) *operator {
	keys, err := registry.NewKeys("")
	if err != nil {
		w.t.Fatal(err)
	}
	return &operator{
		w: w, keys: keys, did: make(map[int64]string),
		said: make(map[registry.Name]*registry.Admin), evicted: make(map[registry.Name]int64),
	}
}

// do commits a transaction.
func (o *operator) do(what string, ops ...clientv3.Op) {
	o.w.present()
	resp, err := o.w.client.Txn(context.Background()).Then(ops...).Commit()
	if err != nil {
		o.w.t.Fatalf("%s: %v", what, err)
	}
	changed := false
	for _, r := range resp.Responses {
		deleted := r.GetResponseDeleteRange()
		changed = changed || deleted == nil || deleted.Deleted > 0
	}
	if changed {
		o.did[resp.Header.Revision] = what
	}
}

// say changes what is said of a name.
func (o *operator) say(name registry.Name, change func(*registry.Admin)) {
	admin := o.said[name]
	if admin == nil {
		admin = &registry.Admin{Schema: registry.Schema}
		o.said[name] = admin
	}
	change(admin)
	value, err := registry.EncodeAdmin(admin)
	if err != nil {
		o.w.t.Fatal(err)
	}
	o.do("admin", clientv3.OpPut(o.keys.Admin(name), string(value)))
}

// holder gives incarnation and lease of who holds the name; zeros for nobody.
func (o *operator) holder(name registry.Name) (incarnation, lease int64) {
	o.w.present()
	resp, err := o.w.client.Get(context.Background(), o.keys.Alive(name))
	if err != nil {
		o.w.t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return 0, 0
	}
	return resp.Kvs[0].ModRevision, resp.Kvs[0].Lease
}

func (o *operator) evict(name registry.Name) {
	incarnation, _ := o.holder(name)
	if incarnation == 0 {
		return
	}
	o.evicted[name] = max(o.evicted[name], incarnation)
	o.say(name, func(a *registry.Admin) { a.Evicted = &registry.Evict{Incarnation: incarnation} })
}

func (o *operator) revoke(name registry.Name) {
	_, lease := o.holder(name)
	if lease == 0 {
		return
	}
	resp, err := o.w.client.Revoke(context.Background(), clientv3.LeaseID(lease))
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound): // it ran out in this moment
	case err != nil:
		o.w.t.Fatal(err)
	default:
		o.did[resp.Header.Revision] = "revoke"
	}
}

func (o *operator) deletePrefix() {
	clear(o.said)
	o.do("delete", clientv3.OpDelete(o.keys.Prefix(), clientv3.WithPrefix()))
}

// junk writes what can't be read.
func (o *operator) junk(name registry.Name, how int) {
	switch how % 5 {
	case 0:
		o.do("junk", clientv3.OpPut(o.keys.Record(name), "junk"))
	case 1:
		o.do("junk", clientv3.OpPut(o.keys.Record(name), `{"schema":99,"zone":"of another age"}`))
	case 2:
		o.do("junk", clientv3.OpPut(o.keys.Admin(name), "[]"))
	case 3:
		o.do("junk", clientv3.OpPut(o.keys.Prefix()+fmt.Sprintf("foreign/%d", how), "x"))
	case 4:
		o.do("junk", clientv3.OpPut(o.keys.Record(registry.Name{Binary: "vol", Host: "nobody"}), `{"schema":1,"zone":"z"}`))
	}
}

// compact drops all history, once the auditor has read it.
func (o *operator) compact() {
	o.w.present()
	revision := o.w.auditor.catchUp()
	if _, err := o.w.client.Compact(context.Background(), revision); err != nil {
		o.w.t.Fatal(err)
	}
	o.w.auditor.compacted(revision)
}
