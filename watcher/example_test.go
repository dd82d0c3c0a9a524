package watcher_test

import (
	"context"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/internal/devserver"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

func ExampleWatcher_Watch() {
	ctx := context.Background()
	server, err := devserver.Start(ctx, devserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	services, err := registry.New(client, registry.Config{})
	if err != nil {
		log.Fatal(err)
	}
	volume, err := services.Register(ctx, registry.Instance{Name: registry.Name{Binary: "cinder-volume", Host: "node1"}})
	if err != nil {
		log.Fatal(err)
	}

	w, err := watcher.New(client, watcher.Config{})
	if err != nil {
		log.Fatal(err)
	}
	for batch, err := range w.Watch(ctx, watcher.Now()) {
		if err != nil {
			log.Fatal(err)
		}
		switch batch.Kind {
		case watcher.Snapshot:
			for _, service := range batch.Services {
				fmt.Println("present", service.Name(), service.State)
			}
			if err := volume.Close(ctx); err != nil { // this service stops
				log.Fatal(err)
			}
		case watcher.Changes:
			for _, event := range batch.Events {
				fmt.Println(event.Kind, event.Name, *event.Cause)
			}
		}
		if batch.Kind == watcher.Changes {
			break
		}
	}
	if err := services.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// present cinder-volume/node1 up
	// down cinder-volume/node1 left
}

// An orchestrator that acts on deaths asks for confirmation: a key that somebody deleted by a slip is no death.
func ExampleConfig_confirm() {
	ctx := context.Background()
	server, err := devserver.Start(ctx, devserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	services, err := registry.New(client, registry.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := services.Register(ctx, registry.Instance{Name: registry.Name{Binary: "cinder-volume", Host: "node1"}}); err != nil {
		log.Fatal(err)
	}

	w, err := watcher.New(client, watcher.Config{Confirm: 2 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
watching:
	for batch, err := range w.Watch(ctx, watcher.Now()) {
		if err != nil {
			log.Fatal(err)
		}
		if batch.Kind == watcher.Snapshot {
			if _, err := client.Delete(ctx, "/hb/alive/cinder-volume/node1"); err != nil {
				log.Fatal(err)
			}
		}
		for _, event := range batch.Events {
			switch event.Kind {
			case watcher.Suspect:
				fmt.Println("suspect", event.Name) // nothing to do yet
			case watcher.Cleared:
				fmt.Println("cleared", event.Name) // it lives, under another incarnation
				break watching
			case watcher.Down:
				fmt.Println("down", event.Name) // now act
			}
		}
	}
	if err := services.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// suspect cinder-volume/node1
	// cleared cinder-volume/node1
}

// A process with many readers watches etcd once.
func ExampleHub() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := devserver.Start(ctx, devserver.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	hub, err := watcher.NewHub(client, watcher.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := hub.Run(ctx); err != nil {
			log.Fatal(err)
		}
	})
	var told atomic.Int64
	for range 3 {
		running.Go(func() {
			for batch, err := range hub.Watch(ctx) {
				if err != nil {
					return // the hub has ended
				}
				if batch.Kind == watcher.Snapshot && told.Add(1) == 3 {
					cancel() // enough seen
				}
			}
		})
	}
	running.Wait()
	fmt.Println(told.Load(), "readers, one watch")
	// Output: 3 readers, one watch
}
