package faults_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// wallClock are the places where a library leaves the monotonic clock, all of them to make or show times for people. A wall
// clock that is stepped changes what these write, and nothing else.
var wallClock = map[string]string{
	"registry/compose.go stamp":      "times in records",
	"registry/entry.go knownIn":      "times in rows; what no clock can have meant is not shown",
	"registry/quick.go time":         "times in records, read",
	"registry/quick.go daysIn":       "the length of a month, for that",
	"registry/beats.go fillLastBeat": "UPDATED_AT, from an age that etcd tells",
	"registry/quickwrite.go time":    "times in records, written",
}

// leavesMonotonic are the methods and functions of package time by which a time loses its monotonic reading, or never had one.
var leavesMonotonic = []string{"UTC", "Local", "In", "Unix", "UnixNano", "UnixMilli", "UnixMicro", "Format", "AppendFormat", "Year", "YearDay", "Date", "Clock"}

// Nothing is concluded from a wall clock. A real one can't be stepped in a test, it is everybody's, so this shows both halves of why
// a step would change nothing: the libraries read it in few places, all listed, and whatever the times in records say, the
// states are those of the leases.
func TestF25WallClockStep(t *testing.T) {
	found := map[string]bool{}
	for _, pkg := range []string{"lease", "registry", "watcher"} {
		files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pkg, len(files), err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				readsWall(t, pkg, file, found)
			}
		}
	}
	for place := range found {
		if wallClock[place] == "" {
			t.Errorf("%s leaves the monotonic clock: nothing may be concluded from what it gives", place)
		}
	}
	for place := range wallClock {
		if !found[place] {
			t.Errorf("%s does not read a wall clock any more", place)
		}
	}
	wrong := wrongTimes(t)
	t.Logf("F25: %d places read a wall clock, all for people: %v; records of the years %v: each up while its lease lived, down (expired) within TTL + 0.5 s",
		len(found), slices.Sorted(maps.Keys(found)), wrong)
}

func readsWall(t *testing.T, pkg, file string, found map[string]bool) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if s, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(leavesMonotonic, s.Sel.Name) {
					found[fmt.Sprintf("%s/%s %s", pkg, filepath.Base(file), f.Name.Name)] = true
				}
			}
			return true
		})
	}
}

// wrongTimes lets services of wrong clocks live and die, in fake time.
func wrongTimes(t *testing.T) (years []int) {
	t.Helper()
	const ttl = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		server := etcdtest.Fake(t)
		client := server.Client()
		w := hbtest.Watch(t, client, watcher.Now())
		for i, year := range []int{1, 1969, 1970, 2000, 2001, 2262, 9999} {
			years = append(years, year)
			name := hbtest.Node(i)
			inc := putByHand(t, client, name, ttl, time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC))
			w.Event(time.Second, watcher.Up, name, inc-1)
			if s := hbtest.List(t, client)[name]; s.State != registry.Up {
				t.Errorf("year %d: %s, want up", year, s.State)
			}
			_, err := hbtest.NewRegistry(t, client).Register(t.Context(), registry.Instance{Name: name, OnConflict: registry.Fail})
			if !errors.Is(err, registry.ErrConflict) {
				t.Errorf("year %d: the name is held, and Register says %v", year, err)
			}
			put := time.Now()
			if cause := w.Down(ttl+2*time.Second, name, inc); cause != "expired" {
				t.Errorf("year %d: cause %s", year, cause)
			}
			if late := time.Since(put) - ttl; late < 0 || late > 600*time.Millisecond {
				t.Errorf("year %d: down %v after the TTL", year, late)
			}
		}
		w.Stop()
	})
	return years
}

// putByHand registers a name as a service of another clock would, once, without renewing.
func putByHand(t *testing.T, client *clientv3.Client, name registry.Name, ttl time.Duration, at time.Time) (incarnation int64) {
	t.Helper()
	keys, err := registry.NewKeys("")
	if err != nil {
		t.Fatal(err)
	}
	grant, err := client.Grant(t.Context(), int64(ttl/time.Second))
	if err != nil {
		t.Fatal(err)
	}
	stamp := at.Format(time.RFC3339)
	put, err := client.Txn(t.Context()).Then(
		clientv3.OpPut(keys.Record(name), fmt.Sprintf(`{"schema":1,"binary":%q,"host":%q,"zone":"z","created_at":%q,"updated_at":%q}`, name.Binary, name.Host, stamp, stamp)),
		clientv3.OpPut(keys.Alive(name), fmt.Sprintf(`{"schema":1,"registration":"by hand","since":%q}`, stamp), clientv3.WithLease(grant.ID)),
	).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return put.Header.Revision
}

// The machine sleeps for longer than the TTL: its monotonic clock stands still, the one that counts suspend does not. At the first
// question after it the registration may not act, its trusted context ends, and etcd's word is needed before it may again.
// (What a lease knows of it is tested in package lease, TestSuspendFences; here it is the whole registration.)
func TestF26Suspend(t *testing.T) {
	const ttl, rounds = 10 * time.Second, 20
	synctest.Test(t, func(t *testing.T) {
		server := etcdtest.Fake(t)
		begin := time.Now()
		var slept atomic.Int64
		net := server.NewClient()
		r := hbtest.NewRegistry(t, net.Client, func(cfg *registry.Config) {
			cfg.Boottime = func() time.Duration { return time.Since(begin) + time.Duration(slept.Load()) }
		})
		g := hbtest.Register(t, r, hbtest.Node(1), ttl)
		was := g.Incarnation()
		var back []time.Duration
		for range rounds {
			hbtest.Sleep(t, ttl)
			trusted := g.Trusted()
			if !g.Valid() || trusted.Err() != nil {
				t.Fatal("it may not act before the suspend")
			}
			net.Cut() // the renewals under way are answered no sooner than it has been asked
			slept.Add(int64(ttl))
			if g.Valid() {
				t.Fatal("the first question after the suspend was answered with yes")
			}
			select {
			case <-trusted.Done():
			case <-time.After(ttl / 2):
				t.Fatal("the trusted period outlives a suspend")
			}
			if !errors.Is(context.Cause(trusted), lease.ErrFenced) {
				t.Errorf("it ended for %v, want ErrFenced", context.Cause(trusted))
			}
			net.Heal()
			back = append(back, hbtest.Eventually(t, ttl, "it may act again", g.Valid))
		}
		if g.Incarnation() != was {
			t.Errorf("incarnation %d, was %d: etcd did not lose it", g.Incarnation(), was)
		}
		t.Logf("F26: %d suspends of a TTL (%v): Valid false at the first question each time, the trusted context over, trusted again with the same incarnation after %s",
			rounds, ttl, spread(back))
		_ = hbtest.CloseWithin(5*time.Second, r.Close)
	})
}
