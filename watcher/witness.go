package watcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// errRestored is a history that is not the one that the reader was told: a store that was restored from a backup, or lost and
// filled anew, keeps its cluster id, and may have grown past the position meanwhile.
var errRestored = errors.New("etcd's history is another one, as after a restore from a backup")

// A witness is a key that proves, by what it held at the view's revision, that a store still has the history of the view.
type witness struct {
	key      string
	revision int64
	text     string // its value; empty: not kept as it was
}

// witness gives the key that was written last, as far as the view knows: what a backup is most likely to lack. Of an empty view it is
// the prefix, which proves nothing and is asked nothing.
func (v *View) witness(keys registry.Keys) witness {
	w := witness{key: keys.Prefix()}
	for name, c := range v.cells {
		for _, f := range []registry.Family{registry.FamilyRecord, registry.FamilyAlive, registry.FamilyAdmin} {
			s := c.of(f)
			if s.revision <= w.revision || s.revision > v.revision {
				continue
			}
			w = witness{key: keys.Key(f, name), revision: s.revision}
			if f != registry.FamilyAlive && s.readable() { // of an alive key only a part is kept, see slim
				w.text = s.value()
			}
		}
	}
	return w
}

// proves says whether the key as etcd has it at the view's revision is what the view knows.
func (w witness) proves(resp *pb.RangeResponse) bool {
	if w.revision == 0 {
		return true
	}
	if len(resp.Kvs) != 1 || resp.Kvs[0].ModRevision != w.revision {
		return false
	}
	return w.text == "" || sameJSON(w.text, string(resp.Kvs[0].Value))
}

// sameJSON says that two values mean the same: white space and escapes do not survive that a view is kept as JSON.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	x, y := jsontext.Value(a), jsontext.Value(b)
	return x.Canonicalize() == nil && y.Canonicalize() == nil && string(x) == string(y)
}

// sameHistory returns errRestored if the store has another history than the head, as far as that can be told: what was compacted
// proves nothing, and is found by comparing. Where the witness is still as it was nobody need ask: one more call is one more that
// a frozen member can hold up.
func (s *session) sameHistory(ctx context.Context, w witness) error {
	// Asked again when no answer comes: calls go to the members in turn, and of an even number one that follows a look each time
	// would meet the same frozen one for ever.
	got, err := patient{s.client, s.patience}.Get(ctx, w.key, clientv3.WithRev(s.head.revision))
	switch err = etcdError(err); {
	case errors.Is(err, rpctypes.ErrCompacted):
		return nil
	case err != nil:
		return fmt.Errorf("asking etcd for what was at revision %d: %w", s.head.revision, err)
	case !w.proves((*pb.RangeResponse)(got)):
		return fmt.Errorf("%w: at revision %d %s was written at %d, and now it was not", errRestored, s.head.revision, w.key, w.revision)
	}
	return nil
}
