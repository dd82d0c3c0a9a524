package faults_test

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
)

func init() { roles["hold"] = hold }

// hold registers names until SIGTERM, and says what happens to them:
//
//	up NAME INCARNATION           once, when all are registered
//	KIND NAME INCARNATION         each event of the registry
//	resumed VALID                 the first answer of Valid after the process did not run for a while
//	no YES                        Valid says no; YES is when it was last asked and said yes
//	untrusted AT                  the context of the trusted period has ended
//	gap LONGEST                   at the end: the longest time between two answered renewals
//
// Times are nanoseconds of CLOCK_MONOTONIC, which is the same for every process of the machine. After SIGUSR1 its network is
// silent.
func hold(ctx context.Context, args []string, say func(string, ...any)) error {
	flags := flag.NewFlagSet("hold", flag.ContinueOnError)
	endpoints := flags.String("endpoints", "", "of etcd")
	ttl := flags.Duration("ttl", 0, "of the lease")
	names, first := flags.Int("names", 1, "how many"), flags.Int("first", 0, "number of the first")
	spin := flags.Int("spin", 0, "goroutines that take all the processor they get")
	garbage := flags.Int("garbage", 0, "MiB of live heap, under a limit that is hardly above it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	client, err := etcdtest.Dial(strings.Split(*endpoints, ","))
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	r, err := registry.New(client.Client, registry.Config{ReportInterval: -1, OnEvent: func(e registry.Event) {
		say("%s %s %d", e.Kind, e.Name, e.Incarnation)
	}})
	if err != nil {
		return err
	}
	defer func() { _ = hbtest.CloseWithin(2*time.Second, r.Close) }()

	var regs []*registry.Registration
	for i := range *names {
		g, err := r.Register(context.Background(), registry.Instance{Name: hbtest.Node(*first + i), TTL: *ttl, RegisterTimeout: 30 * time.Second})
		if err != nil {
			return err
		}
		regs = append(regs, g)
	}
	context.AfterFunc(regs[0].Trusted(), func() { say("untrusted %d", history.Now()) })

	cut := make(chan os.Signal, 1)
	signal.Notify(cut, syscall.SIGUSR1)
	var running sync.WaitGroup
	defer running.Wait()
	for range *spin {
		asks := make(chan struct{})
		running.Go(func() { ask(ctx, regs[0], say, asks) })
		<-asks
	}
	if *garbage > 0 {
		running.Go(func() { litter(ctx, *garbage) })
	}
	for _, g := range regs {
		say("up %s %d", g.Name(), g.Incarnation())
	}
	for {
		select {
		case <-cut:
			client.Cut()
			say("cut %d", history.Now())
		case <-ctx.Done():
			say("gap %d", regs[0].Status().LongestGap)
			return nil
		}
	}
}

// ask asks without a pause whether the process may act, as a service does that asks before each thing it does.
func ask(ctx context.Context, g *registry.Registration, say func(string, ...any), asks chan<- struct{}) {
	const away = time.Second // longer than a busy machine keeps a process waiting
	was, yes, last := true, history.Now(), history.Now()
	first := false // the next call is the first since
	close(asks)
	for ctx.Err() == nil {
		begin := history.Now()
		valid := g.Valid()
		end := history.Now()
		if first || begin-last > int64(away) {
			say("resumed %v", valid)
		}
		if valid {
			yes = begin
		} else if was {
			say("no %d", yes)
		}
		// A call that was under way when the process was stopped began before: its answer may be of then.
		first = end-begin > int64(away)
		was, last = valid, end
	}
}

// litter makes garbage as fast as it can beside a live heap of many small objects, so that the collector never rests.
func litter(ctx context.Context, mebibytes int) {
	debug.SetMemoryLimit(int64(mebibytes) << 20 * 5 / 4)
	live := make([][]*[64]byte, mebibytes)
	for i := range live {
		live[i] = make([]*[64]byte, 1<<20/64/2)
	}
	for n := 0; ctx.Err() == nil; n++ {
		row := live[n%len(live)]
		for i := range row {
			row[i] = new([64]byte)
		}
	}
}
