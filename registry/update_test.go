package registry_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/hbctl/hbctl/registry"
)

const (
	putsRecord  = "put /hb/instances/vol/node1"
	putsBoth    = putsRecord + "," + putsAlive
	recordOfOne = "/hb/instances/vol/node1"
)

func zoned(zone string) func(*registry.Instance) {
	return func(in *registry.Instance) { in.Zone = zone }
}

// An update that comes while the record is being written, by a put or for an update before, must not be lost, whatever becomes of
// that write: who asked is told once etcd has what was asked for, and etcd keeps it.
func TestUpdateWhileTheRecordIsWritten(t *testing.T) {
	// What becomes of the write, when the update has been asked for.
	outcomes := map[string]func(r *rig, do commit, late func(commit)) error{
		"late": func(_ *rig, do commit, _ func(commit)) error { return do() },
		"lost": func(*rig, commit, func(commit)) error {
			return rpctypes.ErrTimeout
		},
		"committed, not answered": func(_ *rig, do commit, _ func(commit)) error {
			_ = do()
			return rpctypes.ErrTimeout
		},
		"not answered, committed later": func(_ *rig, do commit, late func(commit)) error {
			late(do)
			return rpctypes.ErrTimeout
		},
		"late, and the record gone": func(r *rig, do commit, _ func(commit)) error {
			err := do()
			_, _ = r.client.Delete(context.Background(), recordOfOne)
			return err
		},
		"too late, the alive key is gone": func(r *rig, do commit, _ func(commit)) error {
			_, _ = r.client.Delete(context.Background(), "/hb/alive/vol/node1")
			return do()
		},
	}
	for _, what := range []string{putsBoth, putsRecord} {
		for name, outcome := range outcomes {
			t.Run(strings.TrimPrefix(what, putsRecord)+" "+name, func(t *testing.T) {
				inFakeTime(t, func(t *testing.T, r *rig) { updateDuring(t, r, what, outcome) })
			})
		}
	}
}

func updateDuring(t *testing.T, r *rig, what string, outcome func(*rig, commit, func(commit)) error) {
	p, m := r.meddled(t)
	g := p.register(t, "vol/node1", 10*time.Second, zoned("az1"))
	p.register(t, "vol/node2", 10*time.Second) // keeps the lease
	time.Sleep(time.Second)
	var running sync.WaitGroup
	defer running.Wait()
	update := func(zone string) {
		err := g.Update(context.Background(), zoned(zone))
		if s := r.row(t, "vol/node1"); err != nil || show(s.Zone) != "az3" {
			t.Errorf("told %v of %s, and the zone is %s", err, zone, show(s.Zone))
		}
	}
	var once atomic.Bool
	m.with(func(ops string, do commit) error {
		if ops != what || once.Swap(true) {
			return do()
		}
		running.Go(func() { update("az3") })
		time.Sleep(300 * time.Millisecond)
		return outcome(r, do, func(do commit) {
			running.Go(func() {
				time.Sleep(2 * time.Second)
				_ = do()
			})
		})
	})
	if what == putsBoth {
		r.delete(t, "/hb/alive/vol/node1")
	} else {
		running.Go(func() { update("az2") }) // it is told of what came after it, too
	}
	time.Sleep(time.Second)
	if !once.Load() {
		t.Fatal("nothing was written")
	}
	r.agrees(t, g)
	running.Wait()
	if s := r.row(t, "vol/node1"); show(s.Zone) != "az3" || s.State != registry.Up {
		t.Errorf("in the end: %s in zone %s", s.State, show(s.Zone))
	}
}

// An update whose write is lost is written again.
func TestUpdateWhoseWriteIsLost(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p, m := r.meddled(t)
		g := p.register(t, "vol/node1", 10*time.Second)
		time.Sleep(time.Second)
		var lost atomic.Bool
		m.with(func(ops string, do commit) error {
			if ops == putsRecord && !lost.Swap(true) {
				return rpctypes.ErrTimeout
			}
			return do()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := g.Update(ctx, zoned("az2")); err != nil || !lost.Load() {
			t.Fatal(err, lost.Load())
		}
		if s := r.row(t, "vol/node1"); show(s.Zone) != "az2" {
			t.Errorf("zone %s", show(s.Zone))
		}
	})
}

// A put is given up whose answer was lost, and the end comes before a change was written that was asked for meanwhile. What the
// record said must stay, and that is not what the instance is by now.
func TestEndBeforeAnUpdateIsWritten(t *testing.T) {
	for _, during := range []string{putsBoth, putsRecord, "no write"} { // what the change came into
		inFakeTime(t, func(t *testing.T, r *rig) {
			p, m := r.meddled(t)
			g := p.register(t, "vol/node1", 10*time.Second, zoned("az1"))
			time.Sleep(time.Second)
			asked := make(chan error, 2)
			update := func(zone string) { go func() { asked <- g.Update(context.Background(), zoned(zone)) }() }
			var written, ending, sealed atomic.Bool
			m.with(func(ops string, do commit) error {
				switch {
				case ops == during && !written.Swap(true):
					err := do()
					update("az3")
					time.Sleep(100 * time.Millisecond)
					return err
				case ops == putsRecord && !ending.Load():
					return rpctypes.ErrTimeout // the change is never written
				case ops == putsBoth && written.Load():
					if !ending.Swap(true) {
						go func() { _ = g.Close(context.Background()) }()
						time.Sleep(10 * time.Millisecond)
					}
					return rpctypes.ErrTimeout
				case ops == putsRecord && ending.Load():
					sealed.Store(true)
				}
				return do()
			})
			want, answers := "az1", 1
			switch during {
			case putsBoth:
				r.delete(t, "/hb/alive/vol/node1")
			case putsRecord:
				update("az2")
				want, answers = "az2", 2
			default:
				written.Store(true)
				update("az3")
			}
			time.Sleep(2 * time.Second)
			if !written.Load() || ending.Load() {
				t.Fatalf("written %v, ending %v", written.Load(), ending.Load())
			}
			r.delete(t, "/hb/alive/vol/node1")
			<-g.Done()
			if !sealed.Load() {
				t.Fatalf("%s: the lost put is not sealed off", during)
			}
			for range answers {
				if err := <-asked; !errors.Is(err, registry.ErrClosed) {
					t.Errorf("%s: an update that was never written was answered with %v", during, err)
				}
			}
			if s := r.row(t, "vol/node1"); s.State != registry.Down || show(s.Zone) != want {
				t.Errorf("%s: %s, zone %s, want %s", during, s.State, show(s.Zone), want)
			}
		})
	}
}

// A change may set a label whether there were any before or not: it runs on the registry's goroutine, and would take the process
// down with it.
func TestUpdateSetsTheFirstLabel(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		p := r.process(t)
		for name, before := range map[string]map[string]string{"vol/node1": nil, "vol/node2": {}, "vol/node3": {"rack": "r1"}} {
			g := p.register(t, name, 10*time.Second, func(in *registry.Instance) { in.Labels = before })
			for _, change := range []func(*registry.Instance){
				func(in *registry.Instance) { in.Labels["drain"] = "1" },
				func(in *registry.Instance) { clear(in.Labels) },
				func(in *registry.Instance) { in.Labels["drain"] = "2" },
			} {
				if err := g.Update(t.Context(), change); err != nil {
					t.Fatal(err)
				}
			}
			if labels := r.row(t, name).Labels; len(labels) != 1 || labels["drain"] != "2" {
				t.Errorf("%s has labels %v", name, labels)
			}
		}
	})
}

// A watchdog that was ended by a negative time is ended, and hinders no update.
func TestUpdateWithoutWatchdog(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		g := r.process(t).register(t, "vol/node1", 10*time.Second, func(in *registry.Instance) { in.Watchdog = time.Minute })
		g.SetWatchdog(-time.Second)
		if err := g.Update(t.Context(), zoned("az2")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if s := r.row(t, "vol/node1"); s.State != registry.Up || show(s.Zone) != "az2" {
			t.Errorf("%s, zone %s", s.State, show(s.Zone))
		}
	})
}
