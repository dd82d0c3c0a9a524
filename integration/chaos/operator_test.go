//go:build linux

package chaos

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/registry"
)

const (
	// operatorLimit bounds one call of an operator.
	operatorLimit = 1500 * time.Millisecond
	// lateFor is how long a call may still be carried out whose answer did not come.
	lateFor = 9 * time.Second
)

func keysOf(n registry.Name) (record, alive, admin string) {
	keys, err := registry.NewKeys("")
	if err != nil {
		panic(err) // the default prefix is a good one
	}
	return keys.Key(registry.FamilyRecord, n), keys.Key(registry.FamilyAlive, n), keys.Key(registry.FamilyAdmin, n)
}

// asOperator does what operators do, and now and then should not.
func (in *injector) asOperator(ctx context.Context, s step) {
	n := in.plan.name(s.Name)
	record, alive, admin := keysOf(n.Name)
	switch s.Deed {
	case deleteAlive:
		in.operate(ctx, history.Record{Fault: history.OpDelete, Name: n.Name.String()}, clientv3.OpDelete(alive))
	case deleteRecord:
		in.operate(ctx, history.Record{Fault: history.OpDeleteRecord, Name: n.Name.String()}, clientv3.OpDelete(record))
	case revokeLease:
		in.revoke(ctx, alive)
	case forceDown:
		in.say(ctx, s, n, history.OpForceDown, history.OpForceUp, func(a *registry.Admin, w *registry.Word) { a.ForcedDown = w })
	case disable:
		in.say(ctx, s, n, history.OpDisable, history.OpEnable, func(a *registry.Admin, w *registry.Word) { a.Disabled = w })
	case evict:
		if kv := in.auditor.Get(alive); kv != nil && kv.Lease != 0 {
			in.change(ctx, n, history.OpEvict, func(a *registry.Admin) {
				a.Evicted = &registry.Evict{Incarnation: kv.ModRevision, Reason: "told to", By: "chaos"}
			})
		}
	case takeover:
		in.rec.Record(history.Record{Kind: history.FaultOn, Fault: history.OpTakeover, Name: n.Name.String(), Target: in.rival.now()})
		in.rival.tell(order{Do: takeover, Plan: &n, For: s.For})
		pause(ctx, s.For)
	case duplicate:
		in.rec.Record(history.Record{Kind: history.FaultOn, Fault: faultOf[s.Deed], Name: n.Name.String(), Target: in.rival.now()})
		in.rival.tell(order{Do: duplicate, Plan: &n})
	case junk:
		in.junk(ctx, s, admin)
	case unleased:
		stranger := registry.Name{Binary: "stranger", Host: n.Name.Host}
		_, alive, _ := keysOf(stranger)
		in.operate(ctx, history.Record{Fault: history.OpUnleased, Name: stranger.String()}, clientv3.OpPut(alive, `{"schema":1}`))
		pause(ctx, s.For)
		in.operate(ctx, history.Record{Fault: history.OpDelete, Name: stranger.String()}, clientv3.OpDelete(alive))
	}
}

// operate records a deed and does it. If no answer comes it may still be done later, so it is recorded again as long as that
// may be.
func (in *injector) operate(ctx context.Context, rec history.Record, op clientv3.Op) bool {
	rec.Kind = history.FaultOn
	in.rec.Record(rec)
	one, cancel := context.WithTimeout(ctx, operatorLimit)
	defer cancel()
	_, err := in.etcd.all.Do(one, op)
	if err != nil {
		in.mayComeLate(ctx, rec)
	}
	return err == nil
}

func (in *injector) mayComeLate(ctx context.Context, rec history.Record) {
	rec.Note = "the answer did not come: it may still be done"
	for end := time.Now().Add(lateFor); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, time.Second) {
		in.rec.Record(rec)
	}
}

func (in *injector) revoke(ctx context.Context, alive string) {
	kv := in.auditor.Get(alive)
	if kv == nil || kv.Lease == 0 {
		return
	}
	rec := history.Record{Kind: history.FaultOn, Fault: history.OpRevoke, Lease: registry.FormatLease(kv.Lease)}
	in.rec.Record(rec)
	one, cancel := context.WithTimeout(ctx, operatorLimit)
	defer cancel()
	if _, err := in.etcd.all.Revoke(one, clientv3.LeaseID(kv.Lease)); err != nil {
		in.mayComeLate(ctx, rec)
	}
}

// say sets a word in the admin record, and takes it back after a while.
func (in *injector) say(ctx context.Context, s step, n namePlan, on, off string, set func(*registry.Admin, *registry.Word)) {
	in.change(ctx, n, on, func(a *registry.Admin) { set(a, &registry.Word{Reason: "told to", By: "chaos", At: time.Now().UTC()}) })
	pause(ctx, s.For)
	in.change(ctx, n, off, func(a *registry.Admin) { set(a, nil) })
}

// change writes the admin record, as operators do: read, change, put if nobody else did meanwhile.
func (in *injector) change(ctx context.Context, n namePlan, what string, change func(*registry.Admin)) {
	_, _, key := keysOf(n.Name)
	rec := history.Record{Kind: history.FaultOn, Fault: what, Name: n.Name.String()}
	in.rec.Record(rec)
	for try := 0; try < 5 && ctx.Err() == nil; try++ {
		one, cancel := context.WithTimeout(ctx, operatorLimit)
		done, err := in.changeOnce(one, key, change)
		cancel()
		if done {
			return
		}
		if err != nil {
			in.mayComeLate(ctx, rec)
		}
	}
}

func (in *injector) changeOnce(ctx context.Context, key string, change func(*registry.Admin)) (bool, error) {
	resp, err := in.etcd.all.Get(ctx, key)
	if err != nil {
		return false, err
	}
	a, revision := &registry.Admin{Schema: registry.Schema}, int64(0)
	if len(resp.Kvs) > 0 {
		revision = resp.Kvs[0].ModRevision
		if was, err := registry.DecodeAdmin(resp.Kvs[0].Value); err == nil {
			a = was
		}
	}
	change(a)
	value, err := registry.EncodeAdmin(a)
	if err != nil {
		return false, err
	}
	put, err := in.etcd.all.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(clientv3.OpPut(key, string(value))).Commit()
	return err == nil && put.Succeeded, err
}

// junk puts what can't be read, and takes it away.
func (in *injector) junk(ctx context.Context, s step, admin string) {
	keys := []string{admin, "/hb/nothing", "/hb/instances/a/b/c", "/hb/instances/junk/node1", "/hb/elsewhere/vol/node1"}
	key := keys[s.Pick%uint64(len(keys))]
	value := []string{"{", "[1]", `{"schema":2,"zone":{}}`, ""}[s.Pick/8%4]
	mended := in.fault(s, "")
	in.operate(ctx, history.Record{Fault: faultOf[s.Deed], Note: key}, clientv3.OpPut(key, value))
	pause(ctx, s.For)
	in.operate(ctx, history.Record{Fault: faultOf[s.Deed], Note: key}, clientv3.OpDelete(key))
	mended()
}

// lift takes back everything that operators said, so that in the end everything has to be up.
func (in *injector) lift(ctx context.Context) {
	for i := range holderCount * namesEach {
		n := in.plan.name(i)
		_, _, admin := keysOf(n.Name)
		kv := in.auditor.Get(admin)
		if kv == nil {
			continue
		}
		a, err := registry.DecodeAdmin(kv.Value)
		if err == nil && a.ForcedDown == nil && a.Disabled == nil {
			continue
		}
		in.change(ctx, n, history.OpForceUp, func(a *registry.Admin) { a.ForcedDown, a.Disabled = nil, nil })
	}
}
