package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// crowd is instances in etcd, written as a registry writes them, that nobody keeps alive.
type crowd struct {
	keys   registry.Keys
	n      int
	leases []clientv3.LeaseID // each for perLease instances
	each   int
	ttl    time.Duration // as granted
}

// crowdBinary is what all instances of a bench are called.
const crowdBinary = "cinder-volume"

func nameOf(i int) registry.Name {
	return registry.Name{Binary: crowdBinary, Host: fmt.Sprintf("node%06d", i)}
}

// numberOf is the inverse of nameOf.
func numberOf(n registry.Name) (int, bool) {
	digits, found := strings.CutPrefix(n.Host, "node")
	i, err := strconv.Atoi(digits)
	return i, found && err == nil && n.Binary == crowdBinary
}

// part gives the keys under a part of the prefix.
func (r *runner) part(name string) (registry.Keys, error) {
	return registry.NewKeys(r.cfg.Prefix + name + "/")
}

// instance is what is registered.
func instance(i int) registry.Instance {
	return registry.Instance{
		Name: nameOf(i), Zone: zone(i), TTL: renewTTL,
		Labels: map[string]string{"rack": "r" + strconv.Itoa(i%40)}, Endpoints: []string{"http://10.0." + strconv.Itoa(i/250%250) + "." + strconv.Itoa(i%250) + ":8776"},
	}
}

func zone(i int) string { return "az" + strconv.Itoa(1+i%3) }

// recordOf gives the value of a record. Turn changes what it says, so that putting it is news.
func recordOf(i, turn int) ([]byte, error) {
	in, at := instance(i), time.Unix(1_700_000_000+int64(i), 123456789).UTC()
	return registry.EncodeRecord(&registry.Record{
		Schema: registry.Schema, Binary: in.Name.Binary, Host: in.Name.Host, Zone: zone(i + turn), Labels: in.Labels, Endpoints: in.Endpoints,
		CreatedAt: at, UpdatedAt: at, ReportCount: 1, TTLSeconds: int64(renewTTL / time.Second),
	})
}

func holderOf(i int) ([]byte, error) {
	return registry.EncodeHolder(&registry.Holder{
		Schema: registry.Schema, Registration: fmt.Sprintf("%036x", i), PID: 1000 + i, ProcessStart: "1234567",
		MachineID: fmt.Sprintf("%032x", i/20), BootID: fmt.Sprintf("%036x", i/20), PIDNamespace: "pid:[4026531836]",
		Since: time.Unix(1_700_000_000+int64(i), 123456789).UTC(),
	})
}

// puts gives the two puts of an instance.
func puts(keys registry.Keys, i int, lease clientv3.LeaseID) ([]clientv3.Op, error) {
	record, err := recordOf(i, 0)
	if err != nil {
		return nil, err
	}
	holder, err := holderOf(i)
	if err != nil {
		return nil, err
	}
	return []clientv3.Op{
		clientv3.OpPut(keys.Record(nameOf(i)), string(record)),
		clientv3.OpPut(keys.Alive(nameOf(i)), string(holder), clientv3.WithLease(lease)),
	}, nil
}

const (
	populating   = 8  // transactions under way at once
	populateSize = 50 // instances in one, two operations each: etcd's default limit is 128
)

// populate writes a crowd. It is not measured, so it does it the fast way. Leases that might run out meanwhile are given to a
// loop.
func (r *runner) populate(ctx context.Context, part string, n, perLease int, ttl time.Duration, loop *bareLoop) (*crowd, error) {
	keys, err := r.part(part)
	if err != nil {
		return nil, err
	}
	c := &crowd{keys: keys, n: n, each: perLease, ttl: ttl, leases: make([]clientv3.LeaseID, (n+perLease-1)/perLease)}
	granted := make([]int64, len(c.leases))
	err = each(ctx, len(c.leases), atOnce, func(_ context.Context, i int) error {
		resp, err := r.grant(ttl)
		if err != nil {
			return err
		}
		c.leases[i], granted[i] = resp.ID, resp.TTL
		if loop != nil {
			loop.add(int64(resp.ID))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.ttl = time.Duration(granted[0]) * time.Second
	return c, each(ctx, (n+populateSize-1)/populateSize, populating, func(_ context.Context, batch int) error {
		var ops []clientv3.Op
		for i := batch * populateSize; i < min(n, (batch+1)*populateSize); i++ {
			two, err := puts(keys, i, c.leases[i/perLease])
			if err != nil {
				return err
			}
			ops = append(ops, two...)
		}
		_, err := r.cfg.Client.Txn(r.writing).Then(ops...).Commit()
		return err
	})
}
