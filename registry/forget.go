package registry

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrUp refuses to forget what is there.
var ErrUp = errors.New("its holder is there")

// Forgetting says what may be forgotten.
type Forgetting struct {
	// Admin forgets what operators said too. A mark of an eviction stays: without it the evicted could come back.
	Admin bool
	// Evict ends an instance that is present: its incarnation is evicted for good, and its holder ends. Nothing of that
	// incarnation or of one before it comes back; the service may register again when it is started anew.
	Evict bool
	// Reason is kept beside an eviction.
	Reason string
}

// Forget removes the row of an instance, in one transaction: its record, what is left of its alive key, and what else is asked for.
// One that is present, forced down or not, is ErrUp, unless it is to be evicted. It gives the row as it was.
func (o *Operator) Forget(ctx context.Context, name Name, what Forgetting) (*Service, error) {
	var was Service
	err := o.retry(ctx, name, func(e *Entry) (clientv3.Txn, error) {
		was = e.Service()
		switch {
		case !e.Listed() && (e.Admin.Rev == 0 || !what.Admin):
			return nil, fmt.Errorf("%s: %w", name, ErrNotFound)
		case o.selected(e) != nil:
			return nil, o.selected(e)
		case e.Present() && !what.Evict:
			return nil, fmt.Errorf("%s: %w, as incarnation %d; stop the service, or evict it", name, ErrUp, e.Alive.Rev)
		}
		then, err := o.forgetting(e, what)
		if err != nil {
			return nil, err
		}
		return o.client.Txn(ctx).If(
			unchanged(o.keys.Record(name), e.Record.Rev), unchanged(o.keys.Alive(name), e.Alive.Rev), unchanged(o.keys.Admin(name), e.Admin.Rev),
		).Then(then...), nil
	})
	if err != nil {
		return nil, err
	}
	return &was, nil
}

// forgetting gives the writes.
func (o *Operator) forgetting(e *Entry, what Forgetting) ([]clientv3.Op, error) {
	ops := []clientv3.Op{clientv3.OpDelete(o.keys.Record(e.Name)), clientv3.OpDelete(o.keys.Alive(e.Name))}
	if !what.Admin && !e.Present() {
		return ops, nil
	}
	admin, err := o.admin(e)
	if err != nil && !what.Admin {
		return nil, err
	}
	if what.Admin {
		kept := &Admin{Schema: Schema}
		if admin != nil {
			kept.Evicted = admin.Evicted
		}
		admin = kept
	}
	if e.Present() {
		admin.Evicted = &Evict{Incarnation: e.Alive.Rev, Reason: what.Reason, By: o.by, At: stamp(o.now())}
	}
	if what.Admin && admin.Evicted == nil {
		return append(ops, clientv3.OpDelete(o.keys.Admin(e.Name))), nil
	}
	value, err := EncodeAdmin(admin)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	return append(ops, clientv3.OpPut(o.keys.Admin(e.Name), string(value))), nil
}
