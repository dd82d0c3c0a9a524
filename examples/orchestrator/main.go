// Command orchestrator gives jobs to workers, and gives them to others when a worker has died. Workers are the instances of one
// service, see ../service; assignments are keys in etcd.
//
// It shows how to
//
//   - act on confirmed deaths only: a key that is gone is evidence, so it is told as suspect first, and nothing moves then;
//   - tell a clean stop (left: rebalanced) from a death (evacuated);
//   - miss no death over restarts of its own: what it knows and how far it has read are saved together, after it has acted;
//   - move nothing twice: an assignment names the incarnation that has the job, so what is told again finds nothing to do, and
//     each write compares what was read;
//   - be the only one of its kind: it registers too, and what it writes is refused once it is not the one any more.
//
// An etcd that can't be reached moves nothing: no death is told then. Workers that an operator has disabled keep what they have
// and get nothing new.
//
// To try it:
//
//	go run ./cmd/hbctl dev                                                       # an etcd
//	for n in 1 2 3; do go run ./examples/service --ttl 5s --host node$n & done   # in a second terminal
//	go run ./examples/orchestrator                                               # in a third; remove orchestrator.state before the next etcd
//
// Then, in the second: pkill -9 -f service.*node2
//
// What it leaves to you: the workers' side, which is to run what is assigned to their own incarnation, in a trusted period, and
// nothing else. Giving jobs back to a worker that has returned. Thousands of workers: see watcher.Config.OnMove for saving what
// has changed instead of all.
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
	"github.com/hbctl/hbctl/watcher"
)

type config struct {
	endpoints string
	workers   string
	jobs      int
	state     string
	confirm   time.Duration
	ttl       time.Duration
}

func main() {
	var c config
	flag.StringVar(&c.endpoints, "endpoints", "127.0.0.1:2379", "where etcd is; name all members")
	flag.StringVar(&c.workers, "workers", "worker", "the service whose instances get the jobs")
	flag.IntVar(&c.jobs, "jobs", 6, "how many jobs there are")
	flag.StringVar(&c.state, "state", "orchestrator.state", "the file that keeps what is known")
	flag.DurationVar(&c.confirm, "confirm", 2*time.Second, "how long what seems dead may take to come back")
	flag.DurationVar(&c.ttl, "ttl", 10*time.Second, "how long another orchestrator waits when this one has died")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, c config) (err error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(c.endpoints, ","), DialOptions: lease.DialOptions(0), Logger: zap.NewNop(),
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
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = errors.Join(err, services.Close(ctx))
	}()
	// A name that all orchestrators share, so that there is one of them. One that was killed and is started again on its machine has it
	// at once, elsewhere it waits for the TTL; while another one lives this is a registry.ErrConflict.
	self, err := services.Register(context.WithoutCancel(ctx), registry.Instance{
		Name: registry.Name{Binary: "orchestrator", Host: "the-only-one"}, TTL: c.ttl, RegisterTimeout: 2 * c.ttl,
	})
	if err != nil {
		return err
	}
	o := &orchestrator{board: board{client: client, self: self}}
	for i := range c.jobs {
		o.jobs = append(o.jobs, fmt.Sprintf("job-%d", i+1))
	}
	return o.follow(ctx, c)
}

// orchestrator follows what happens to the workers.
type orchestrator struct {
	board board
	jobs  []string
	table table
}

// follow reads what happens, and acts, until ctx ends.
func (o *orchestrator) follow(ctx context.Context, c config) error {
	known, err := load(c.state)
	if err != nil {
		return err
	}
	o.table = known.Workers
	from := watcher.Now()
	if known.View != nil {
		from = watcher.From(known.View)
	}
	var w *watcher.Watcher
	w, err = watcher.New(o.board.client, watcher.Config{
		Filter:  registry.Filter{Binary: c.workers},
		Confirm: c.confirm,
		// Called when a batch was handled, so what is saved never leads what was done. It may lag: then a batch is told again.
		OnMove: func(watcher.Move) error { return save(c.state, state{View: w.View(), Workers: o.table}) },
	})
	if err != nil {
		return err
	}
	synced := false
	for batch, err := range w.Watch(ctx, from) {
		if err != nil {
			return fmt.Errorf("watching on from %s: %w", c.state, err) // such as watcher.ErrOtherCluster: it is to be removed
		}
		switch batch.Kind {
		case watcher.Stale:
			log.Printf("etcd is not heard: %v", batch.Reason) // nothing is known, which is no reason to do anything
		case watcher.Live:
			log.Print("etcd is heard again")
		default:
			o.table.fold(&batch)
		}
		if batch.Kind == watcher.Reset {
			synced = false // the table is empty now, and that says nothing
		}
		// At the start, what happened in our absence comes first. To act halfway could move a job to a worker that is dead by now.
		if synced = synced || batch.Synced; !synced {
			continue
		}
		if batch.Kind == watcher.Snapshot || batch.Kind == watcher.Changes || batch.Synced {
			if err := o.board.arrange(ctx, o.jobs, o.table); err != nil {
				return err
			}
		}
	}
	log.Print("leaving")
	return nil
}
