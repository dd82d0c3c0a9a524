package registry_test

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/devserver"
	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

// connect connects to etcd as a service should: coming back soon after an outage. The etcd is one of the example's own.
func connect(ctx context.Context) (client *clientv3.Client, disconnect func(), err error) {
	server, err := devserver.Start(ctx, devserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		return nil, nil, err
	}
	client, err = clientv3.New(clientv3.Config{
		Endpoints:   []string{server.Endpoint()},
		DialOptions: lease.DialOptions(0),
	})
	if err != nil {
		_ = server.Close()
		return nil, nil, err
	}
	return client, func() { _ = client.Close(); _ = server.Close() }, nil
}

// A service registers, acts only while it is trusted, and leaves.
func ExampleRegistry_Register() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, disconnect, err := connect(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer disconnect()

	services, err := registry.New(client, registry.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer services.Close(ctx)

	volume, err := services.Register(ctx, registry.Instance{
		Name:   registry.Name{Binary: "cinder-volume", Host: "node1@lvm"},
		Zone:   "az1",
		Labels: map[string]string{"rack": "r1"},
	})
	if err != nil {
		fmt.Println(err) // a *registry.ConflictError says who holds the name
		return
	}

	for {
		// The context ends when the process may no longer act: cut off from etcd, replaced, forced out, or closed.
		trusted, err := volume.WaitTrusted(ctx)
		if err != nil {
			fmt.Println("ended:", err)
			return
		}
		fmt.Println("acting as", volume.Name())
		go volume.Close(ctx) // what a signal would do
		<-trusted.Done()
		fmt.Println("may act:", volume.Valid())
	}
	// Output:
	// acting as cinder-volume/node1@lvm
	// may act: false
	// ended: closed
}

// An operator looks at what is up and what is down, and why.
func ExampleList() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, disconnect, err := connect(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer disconnect()

	services, err := registry.New(client, registry.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer services.Close(ctx)
	for _, host := range []string{"node1", "node2"} {
		api, err := services.Register(ctx, registry.Instance{Name: registry.Name{Binary: "nova-api", Host: host}})
		if err != nil {
			fmt.Println(err)
			return
		}
		if host == "node2" {
			if err := api.Fail(ctx, "disk is full"); err != nil {
				fmt.Println(err)
				return
			}
		}
	}

	list, err := registry.List(ctx, client, registry.ListOptions{Filter: registry.Filter{Binary: "nova-api"}})
	if err != nil {
		fmt.Println(err) // never an empty list for an etcd that can't be read
		return
	}
	for _, s := range list.Services {
		fmt.Print(s.Name(), " ", s.State)
		if s.Cause != nil { // what is not known is nil
			fmt.Print(": ", *s.Cause)
		}
		if s.CauseReason != nil {
			fmt.Print(", ", *s.CauseReason)
		}
		fmt.Println()
	}
	// Output:
	// nova-api/node1 up
	// nova-api/node2 down: failed, disk is full
}
