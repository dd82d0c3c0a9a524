package bench

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// list measures how long it takes to know all of n instances.
func (r *runner) list(ctx context.Context) error {
	n := r.cfg.N
	r.cfg.Progress(fmt.Sprintf("list: writing %d instances", n))
	var c *crowd
	err := r.measure(ctx, func(ctx context.Context) (err error) {
		c, err = r.populate(ctx, "list", n, crowdLease, crowdTTL, nil)
		return err
	})
	if err != nil {
		return err
	}
	memory := r.row("list", "list to a snapshot in memory", Seconds, Less, n)
	ours := func(ctx context.Context) (time.Duration, error) { return r.listOurs(ctx, c) }
	raw := func(ctx context.Context) (time.Duration, error) { return r.listRaw(ctx, c) }
	if err := r.inTurns(ctx, "list", timing(&memory.OursEach, ours), timing(&memory.RawEach, raw)); err != nil {
		return err
	}
	if r.cfg.List != nil {
		if err := r.listProgram(ctx, c); err != nil {
			return err
		}
	}
	return r.lastBeats(ctx)
}

func (r *runner) listOurs(ctx context.Context, c *crowd) (time.Duration, error) {
	start := time.Now()
	snap, err := registry.List(ctx, r.cfg.Client, registry.ListOptions{Prefix: c.keys.Prefix()})
	took := time.Since(start)
	if err == nil && len(snap.Services) != c.n {
		err = fmt.Errorf("%d instances listed, %d were written", len(snap.Services), c.n)
	}
	return took, err
}

func (r *runner) listRaw(ctx context.Context, c *crowd) (time.Duration, error) {
	start := time.Now()
	resp, err := r.cfg.Client.Get(ctx, c.keys.Prefix(), clientv3.WithPrefix())
	took := time.Since(start)
	if err == nil && len(resp.Kvs) != 2*c.n {
		err = fmt.Errorf("%d keys read, %d were written", len(resp.Kvs), 2*c.n)
	}
	return took, err
}

// listProgram measures the program, from its start to its end, and the memory it took.
func (r *runner) listProgram(ctx context.Context, c *crowd) error {
	took := r.row("list", "hbctl list -o json, from start to end", Seconds, Less, c.n)
	resident := r.row("list", "its resident memory", Bytes, Less, c.n)
	return r.inTurns(ctx, "list -o json", func(ctx context.Context) error {
		cmd := r.cfg.List(c.keys.Prefix())
		start := time.Now()
		if err := runBounded(ctx, cmd); err != nil {
			return err
		}
		took.OursEach = append(took.OursEach, time.Since(start).Seconds())
		if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			resident.OursEach = append(resident.OursEach, maxResident(usage))
		}
		return nil
	}, timing(&took.RawEach, func(ctx context.Context) (time.Duration, error) { return r.listRaw(ctx, c) }))
}

// runBounded runs a command, and kills it when the context ends.
func runBounded(ctx context.Context, cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // fails if it has ended
	defer unwatch()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", cmd.Args[1], err)
	}
	return nil
}

// maxResident gives bytes; most systems count in KiB.
func maxResident(usage *syscall.Rusage) float64 {
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return float64(usage.Maxrss)
	}
	return float64(usage.Maxrss) * 1024
}

// lastBeats measures how long it takes to know when each of many leases was renewed last.
func (r *runner) lastBeats(ctx context.Context) error {
	n := min(r.cfg.N, askedLeases)
	row := r.row("list", "last beats, a lease each", Seconds, Less, n)
	ids := make([]clientv3.LeaseID, n)
	services := make([]registry.Service, n)
	err := r.measure(ctx, func(ctx context.Context) error {
		return each(ctx, n, atOnce, func(_ context.Context, i int) error {
			resp, err := r.grant(crowdTTL)
			if err != nil {
				return err
			}
			text := registry.FormatLease(int64(resp.ID))
			ids[i], services[i] = resp.ID, registry.Service{Present: true, Lease: &text}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return r.inTurns(ctx, "last beats", timing(&row.OursEach, func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		err := registry.AskLastBeats(ctx, r.cfg.Client, services, nil)
		return time.Since(start), err
	}), timing(&row.RawEach, func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		err := each(ctx, n, askedAtOnce, func(ctx context.Context, i int) error {
			_, err := r.cfg.Client.TimeToLive(ctx, ids[i])
			return err
		})
		return time.Since(start), err
	}))
}

// askedAtOnce is how many leases the plain client asks about at once.
const askedAtOnce = 16
