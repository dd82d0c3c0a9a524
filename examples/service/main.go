// Command service is a service that registers by library, and works only while it may.
//
// It shows how to
//
//   - be up as long as the process lives, and leave on SIGTERM: first stop the work, then the registration;
//   - work only in trusted periods: a service that was cut off from etcd, frozen or suspended stops by itself, before anybody
//     can see it down, and goes on when it is trusted again;
//   - fence what it writes: each write carries the incarnation, and is refused once that is over, however late it arrives.
//
// To try it:
//
//	go run ./cmd/hbctl dev                       # an etcd
//	go run ./examples/service --host node1       # in a second terminal; Ctrl-Z, and fg after its TTL
//	go run ./cmd/hbctl watch                     # in a third
//
// What it leaves to you: the work, of course. TLS and users of etcd (clientv3.Config). Health checks (registry.Instance.Health) if
// a process can be alive and useless, and Registration.Fail to end with a reason that operators see.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

func main() {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	endpoints := flag.String("endpoints", "127.0.0.1:2379", "where etcd is; name all members")
	in := registry.Instance{RegisterTimeout: 30 * time.Second}
	flag.StringVar(&in.Name.Binary, "binary", "worker", "what runs")
	flag.StringVar(&in.Name.Host, "host", host, "where it runs")
	flag.DurationVar(&in.TTL, "ttl", 10*time.Second, "how long after its last sign of life it is down")
	every := flag.Duration("every", time.Second, "how often there is work to do")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*endpoints, ","), in, *every); err != nil {
		log.Fatal(err)
	}
}

// run registers, works until ctx ends, and leaves.
func run(ctx context.Context, endpoints []string, in registry.Instance, every time.Duration) (err error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   endpoints,
		DialOptions: lease.DialOptions(0), // or it takes up to two minutes to come back after an outage
		Logger:      zap.NewNop(),         // or it writes to stderr whenever etcd is away
	})
	if err != nil {
		return err
	}
	defer client.Close()
	services, err := registry.New(client, registry.Config{})
	if err != nil {
		return err
	}
	defer func() {
		// A context of its own: ctx has ended by now, and leaving takes a moment. Unannounced, it would look like a crash.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = errors.Join(err, services.Close(ctx))
	}()
	// The end of the context that Register gets is the end of the registration. It must not be ctx: at SIGTERM somebody else could
	// take over while our work still ends. So we stop working first, and then leave, above.
	g, err := services.Register(context.WithoutCancel(ctx), in)
	if err != nil {
		return err
	}
	w := &worker{client: client, g: g, every: every}
	for {
		trusted, err := g.WaitTrusted(ctx)
		switch {
		case ctx.Err() != nil:
			log.Print("leaving")
			return nil
		case err != nil: // replaced, or evicted by an operator: this process is not wanted any more
			return err
		}
		w.work(ctx, trusted, g.Incarnation())
	}
}

// worker is what you have instead.
type worker struct {
	client *clientv3.Client
	g      *registry.Registration
	every  time.Duration
	unit   int // how much was done
}

// work works until the trusted period or ctx ends.
func (w *worker) work(ctx, trusted context.Context, incarnation int64) {
	log.Printf("working as incarnation %d", incarnation)
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			log.Print("stopped working: asked to")
			return
		case <-trusted.Done():
			log.Printf("stopped working: %v", context.Cause(trusted))
			return
		case <-tick.C:
		}
		// A context ends by a timer. When a process wakes from a freeze its timers may be late, and Valid, which looks at the clock, is
		// not: ask it before each step that must not be done twice.
		if !w.g.Valid() {
			continue
		}
		w.unit++
		if err := w.write(trusted, incarnation); err != nil && trusted.Err() == nil {
			log.Printf("unit %d is not known to be done: %v", w.unit, err)
		}
	}
}

// write does one unit of work, here by writing to etcd that it was done. Even a process that asks Valid first can be frozen right
// after the answer, so what is written to has the last word. This etcd can simply be asked whether the incarnation still is.
// Something else, such as a disk array or a database, has to be told the incarnation with each request, to remember the highest
// that it has seen, and to refuse a lower one.
func (w *worker) write(ctx context.Context, incarnation int64) error {
	name := w.g.Name()
	keys, err := registry.NewKeys(registry.DefaultPrefix)
	if err != nil {
		return err
	}
	done, err := w.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(keys.Alive(name)), "=", incarnation)).
		Then(clientv3.OpPut("/example/done/"+name.String(), fmt.Sprintf(`{"incarnation":%d,"unit":%d}`, incarnation, w.unit))).
		Commit()
	if err != nil {
		return err
	}
	if !done.Succeeded {
		return fmt.Errorf("incarnation %d is over", incarnation)
	}
	return nil
}
