package main

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// stragglers is how long the slower endpoints are waited for once the first has said which cluster it is of.
const stragglers = 250 * time.Millisecond

// sameCluster refuses endpoints of different clusters: requests go to one of them by chance, so answers would change from
// one call to the next. An endpoint that does not answer can't be checked and harms nothing now.
func sameCluster(ctx context.Context, client clientv3.Maintenance, endpoints []endpoint) error {
	if len(endpoints) < 2 {
		return nil
	}
	type member struct {
		endpoint
		cluster uint64
		err     error
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	members := make(chan member, len(endpoints))
	for _, e := range endpoints {
		asking.Go(func() {
			m := member{endpoint: e}
			resp, err := client.Status(ctx, e.url())
			if m.err = err; err == nil {
				m.cluster = resp.Header.ClusterId
			}
			members <- m
		})
	}
	var first *member
	var lastErr error
	var enough <-chan time.Time
	for range endpoints {
		select {
		case m := <-members:
			switch {
			case m.err != nil:
				lastErr = m.err
			case first == nil:
				first, enough = &m, time.After(stragglers)
			case m.cluster != first.cluster:
				return usagef("endpoints %s and %s are of different etcd clusters (%x and %x); name the members of one",
					first.address, m.address, first.cluster, m.cluster)
			}
		case <-enough:
			return nil
		}
	}
	if first == nil {
		return lastErr
	}
	return nil
}
