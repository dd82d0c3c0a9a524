package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// cleanTimeout bounds the cleaning up, with a millisecond for each instance on top.
	cleanTimeout = 30 * time.Second
	// askTimeout is how long etcd has to say a word before that: if it is away nothing can be removed, and leases run out by
	// themselves.
	askTimeout = 3 * time.Second
	// cleanPage is how many keys are deleted at once. Etcd holds up all writes meanwhile, also those of others: 2.6 ms for 1,000
	// keys, 237 ms for 50,000.
	cleanPage = 1000
	// bigDB is from which size on the file of an etcd of our own is written anew: it has a quota, and what was compacted stays in
	// the file.
	bigDB = 96 << 20
)

// ErrClean says that something could not be removed at the end.
var ErrClean = errors.New("cleaning up")

// CheckEmpty returns ErrData if there is a key under the prefix.
func CheckEmpty(ctx context.Context, client *clientv3.Client, prefix string) error {
	resp, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	if len(resp.Kvs) > 0 {
		return fmt.Errorf("%w: %s", ErrData, prefix)
	}
	return nil
}

// grant grants a lease and keeps it in mind, so that it is revoked whatever happens.
func (r *runner) grant(ttl time.Duration) (*clientv3.LeaseGrantResponse, error) {
	resp, err := r.cfg.Client.Grant(r.writing, int64(ttl/time.Second))
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leases[resp.ID] = true
	return resp, nil
}

// revokeAll revokes every lease that the plain client granted. One that has run out is none any more.
func (r *runner) revokeAll(ctx context.Context) error {
	r.mu.Lock()
	ids := make([]clientv3.LeaseID, 0, len(r.leases))
	for id := range r.leases {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	return each(ctx, len(ids), atOnce, func(ctx context.Context, i int) error {
		if _, err := r.cfg.Client.Revoke(ctx, ids[i]); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.leases, ids[i])
		return nil
	})
}

// deleteAll deletes all keys of the bench, some at a time.
func (r *runner) deleteAll(ctx context.Context) error {
	for {
		resp, err := r.cfg.Client.Get(ctx, r.cfg.Prefix, clientv3.WithPrefix(), clientv3.WithLimit(cleanPage), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		if len(resp.Kvs) == 0 {
			return nil
		}
		last := string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		if _, err := r.cfg.Client.Delete(ctx, string(resp.Kvs[0].Key), clientv3.WithRange(last)); err != nil {
			return err
		}
	}
}

// tidy leaves the prefix empty for what is measured next.
func (r *runner) tidy(ctx context.Context) error {
	if err := r.revokeAll(ctx); err != nil {
		return err
	}
	if err := r.deleteAll(ctx); err != nil {
		return err
	}
	if r.cfg.Own {
		return r.compact(ctx)
	}
	return nil
}

// compact gives room in an etcd of our own. Somebody else's history is none of our business.
func (r *runner) compact(ctx context.Context) error {
	client := r.cfg.Client
	now, err := client.Get(ctx, r.cfg.Prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if _, err := client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	for _, endpoint := range client.Endpoints() {
		status, err := client.Status(ctx, endpoint)
		if err != nil {
			return err
		}
		if status.DbSize < bigDB {
			continue
		}
		if _, err := client.Defragment(ctx, endpoint); err != nil {
			return err
		}
	}
	return nil
}

// clean removes everything that the bench has left, also after its context has ended.
func (r *runner) clean(ctx context.Context) error {
	r.cfg.Progress("cleaning up")
	ctx, cancel := r.cleaning(ctx)
	defer cancel()
	if err := errors.Join(r.revokeAll(ctx), r.deleteAll(ctx)); err != nil {
		return fmt.Errorf("%w %s: %w", ErrClean, r.cfg.Prefix, err)
	}
	return nil
}

// cleaning gives a context for what has to be done after the end of another. It has little time if etcd does not say a word
// now.
func (r *runner) cleaning(ctx context.Context) (context.Context, context.CancelFunc) {
	asking, enough := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer enough()
	if _, err := r.cfg.Client.Get(asking, r.cfg.Prefix, clientv3.WithKeysOnly()); err != nil {
		return context.WithTimeout(context.WithoutCancel(ctx), lastWrites)
	}
	return context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout+time.Duration(r.cfg.N)*time.Millisecond)
}
