// Command rivals registers as many instances by hbctl's registry, by raw etcd, by etcd's concurrency.Session and by go-zero's
// discovery, on one etcd, in turns, and prints a table of medians: registrations a second, and what the process keeps for each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// prefix is where all of it is. It must be empty, and is again at the end.
const prefix = "/hb-rivals/"

func main() {
	var b bench
	flag.StringVar(&b.endpoints, "endpoints", os.Getenv("HBCTL_ENDPOINTS"), "etcd's, with commas")
	flag.IntVar(&b.n, "n", 5000, "registrations")
	flag.IntVar(&b.atOnce, "at-once", 64, "calls under way at once")
	flag.IntVar(&b.repeats, "repeats", 3, "runs of each")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "rivals:", err)
		os.Exit(1)
	}
}

// bench is what is to be done.
type bench struct {
	endpoints          string
	n, atOnce, repeats int
	client             *clientv3.Client
}

// rival is one way to register.
type rival interface {
	// register registers one instance and returns when it is.
	register(ctx context.Context, i int) error
	// close ends all registrations.
	close(ctx context.Context) error
}

// measured is what one run brought.
type measured struct{ rate, heap, goroutines float64 }

func (b *bench) run(ctx context.Context) (err error) {
	if b.endpoints == "" || b.n < 1 || b.atOnce < 1 || b.repeats < 1 {
		return errors.New("want -endpoints, and numbers from 1 on")
	}
	b.client, err = clientv3.New(clientv3.Config{Endpoints: strings.Split(b.endpoints, ","), Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer b.client.Close()
	there, err := b.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if there.Count > 0 {
		return fmt.Errorf("there are %d keys under %s already", there.Count, prefix)
	}
	runs := make(map[string][]measured)
	for range b.repeats {
		for _, r := range rivals {
			m, err := b.measure(ctx, r.start)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			runs[r.name] = append(runs[r.name], m)
		}
	}
	return b.print(runs)
}

func (b *bench) measure(ctx context.Context, start func(*bench) (rival, error)) (m measured, err error) {
	r, err := start(b)
	if err != nil {
		return m, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_, deleteErr := b.client.Delete(ctx, prefix, clientv3.WithPrefix())
		err = errors.Join(err, r.close(ctx), deleteErr)
	}()
	if err := r.register(ctx, b.n); err != nil { // what a process needs once is not counted
		return m, err
	}
	heap, goroutines := heapNow(), runtime.NumGoroutine()
	begin := time.Now()
	var group errgroup.Group // its context would end with it, and some registrations with that
	var next atomic.Int64
	for range min(b.n, b.atOnce) {
		group.Go(func() error {
			for i := int(next.Add(1)) - 1; i < b.n; i = int(next.Add(1)) - 1 {
				if err := errors.Join(ctx.Err(), r.register(ctx, i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return m, err
	}
	n := float64(b.n)
	m.rate = n / time.Since(begin).Seconds()
	m.heap, m.goroutines = (heapNow()-heap)/n, float64(runtime.NumGoroutine()-goroutines)/n
	return m, nil
}

func heapNow() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func (b *bench) print(runs map[string][]measured) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHO\tREGISTRATIONS\tOF RAW\tHEAP OF EACH\tGOROUTINES OF EACH")
	raw := median(runs[rawName], func(m measured) float64 { return m.rate })
	for _, r := range rivals {
		list := runs[r.name]
		rate := median(list, func(m measured) float64 { return m.rate })
		fmt.Fprintf(w, "%s\t%.0f/s\t%.2f\t%.0fB\t%.2f\n", r.name, rate, rate/raw,
			median(list, func(m measured) float64 { return m.heap }), median(list, func(m measured) float64 { return m.goroutines }))
	}
	return w.Flush()
}

func median(runs []measured, of func(measured) float64) float64 {
	values := make([]float64, 0, len(runs))
	for _, m := range runs {
		values = append(values, of(m))
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
