package lease_test

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/devserver"
	"github.com/hbctl/hbctl/lease"
)

// A holder binds a key to a lease, acts while the lease is valid, and gives it back.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	server, err := devserver.Start(ctx, devserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	renewer := lease.New(client, lease.Config{})
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = renewer.Run(running) // ends with the context
	}()
	defer func() { stop(); <-done }()

	l, err := renewer.Grant(ctx, 10*time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := client.Put(ctx, "leader", "me", clientv3.WithLease(l.ID())); err != nil {
		fmt.Println(err)
		return
	}
	trusted := l.Trusted() // ends when the lease may have run out, for whatever reason
	fmt.Println("may act:", l.Valid(), trusted.Err())

	if err := renewer.Revoke(ctx, l); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := client.Get(ctx, "leader")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("may act:", l.Valid(), trusted.Err())
	fmt.Println("keys left:", len(resp.Kvs))
	// Output:
	// may act: true <nil>
	// may act: false context canceled
	// keys left: 0
}

// A loop runs at once and then every interval, until it is stopped from within or from elsewhere.
func ExampleLoopingCall() {
	runs := 0
	var loop *lease.LoopingCall
	loop, err := lease.NewLoopingCall(lease.LoopConfig{
		Interval:  10 * time.Millisecond,
		OnOverrun: func(time.Duration) {}, // a run that outlasts its interval is told, and the next starts at once
	}, func(context.Context) error {
		runs++
		fmt.Println("run", runs)
		if runs == 3 {
			loop.Stop()
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ended:", loop.Run(context.Background()))
	// Output:
	// run 1
	// run 2
	// run 3
	// ended: <nil>
}
