package bench

import (
	"time"

	"github.com/hbctl/hbctl/registry"
)

// Plan is what a bench will do to etcd, roughly: whoever runs it on a cluster that others use wants to know before.
type Plan struct {
	Keys   int // there at once, at most
	Leases int // likewise
	Writes int // all together: puts, deletes, grants and revokes
	Time   time.Duration
}

// Estimate says what Run will do, or RunCurve.
func Estimate(cfg Config, curve bool) Plan {
	var p Plan
	if curve {
		for _, n := range CurveSizes(cfg.N) {
			p.add(planPoint(cfg, n))
		}
		return p
	}
	for _, w := range works {
		if cfg.does(w.name) {
			p.add(w.plan(cfg))
		}
	}
	return p
}

func (p *Plan) add(other Plan) {
	p.Keys, p.Leases = max(p.Keys, other.Keys), max(p.Leases, other.Leases)
	p.Writes += other.Writes
	p.Time += other.Time
}

// times is the plan done several times.
func (p Plan) times(n int) Plan {
	p.Writes *= n
	p.Time *= time.Duration(n)
	return p
}

// What a small cluster does, or a big one that has something else to do: writes a second, one at a time and many in one
// transaction.
const (
	plainWrites  = 6000
	nestedWrites = 20_000
)

func timeFor(writes, rate int) time.Duration {
	return time.Duration(float64(writes) / float64(rate) * float64(time.Second))
}

func leasesFor(n, perLease int) int { return (n + perLease - 1) / perLease }

// planCrowd is to write n instances, and to remove them.
func planCrowd(n, perLease int) Plan {
	leases := leasesFor(n, perLease)
	writes := 4*n + 2*leases
	return Plan{Keys: 2 * n, Leases: leases, Writes: writes, Time: timeFor(writes, nestedWrites)}
}

func planRegister(cfg Config) Plan {
	once := planCrowd(cfg.N, crowdLease)
	once.add(Plan{Keys: cfg.N, Leases: cfg.N, Writes: 4 * cfg.N, Time: timeFor(4*cfg.N, plainWrites)})
	p := once.times(cfg.Repeats)
	p.add(Plan{Keys: 3, Leases: min(cfg.N, singles), Writes: 8 * min(cfg.N, singles), Time: timeFor(8*min(cfg.N, singles), 500)})
	return p
}

func planRenew(cfg Config) Plan {
	window := renewWindow(cfg.Duration)
	return Plan{Leases: cfg.N, Writes: 2 * cfg.N, Time: timeFor(2*cfg.N, plainWrites) + window + min(window, renewInterval)}.times(2 * cfg.Repeats)
}

func planList(cfg Config) Plan {
	p := planCrowd(cfg.N, crowdLease)
	p.Time += timeFor(cfg.N*6*cfg.Repeats, 150_000)
	p.add(Plan{Leases: min(cfg.N, askedLeases), Writes: 2 * min(cfg.N, askedLeases), Time: time.Second})
	return p
}

func planWatch(cfg Config) Plan {
	p := planCrowd(min(cfg.N, watchNames), crowdLease)
	d := min(cfg.Duration, watchTime)
	p.add(Plan{Writes: int(d.Seconds() * plainWrites * 2), Time: d}.times(2 * cfg.Repeats))
	p.add(Plan{Writes: int(d.Seconds() * plainWrites), Time: d}.times(2 * cfg.Repeats))
	return p
}

func planCatchup(cfg Config) Plan {
	p := planCrowd(max(1, cfg.N/2), crowdLease)
	p.add(Plan{Writes: cfg.N, Time: timeFor(cfg.N, plainWrites)})
	p.Time += timeFor(cfg.N, plainWrites) * time.Duration(cfg.Repeats)
	return p
}

func planReaders(cfg Config) Plan {
	p := planCrowd(max(2, min(cfg.N, watchNames)), crowdLease)
	ours, raw := min(cfg.N, readEvents), max(1, min(cfg.N, readEvents)/fewerEvents)
	told := min(cfg.N, manyReaders) * raw
	p.add(Plan{Writes: ours + raw, Time: timeFor(ours+raw, plainWrites) + timeFor(told, 100_000)}.times(cfg.Repeats))
	return p
}

func planDetect(cfg Config) Plan {
	p := planCrowd(min(cfg.N, deaths), 1)
	p.Time += deathTTL + 3*time.Second
	return p
}

func planMassDeath(cfg Config) Plan {
	p := planCrowd(min(cfg.N, massDeaths), deathLease)
	p.Time += deathTTL + time.Second
	return p.times(cfg.Repeats)
}

func planReturn(cfg Config) Plan {
	p := planCrowd(min(cfg.N, massDeaths), deathLease).times(4)
	p.Time += registry.DefaultTTL + 2*time.Second
	return p.times(cfg.Repeats)
}

func planPoint(cfg Config, n int) Plan {
	cfg.N = n
	p := planRegister(cfg)
	p.add(planRenew(cfg))
	p.add(planList(cfg))
	return p
}
