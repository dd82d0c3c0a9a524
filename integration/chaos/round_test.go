//go:build linux

package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/integration/observer"
	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/registry"
)

const (
	allUpLimit   = 60 * time.Second // of the machine: the judge has a bound of his own
	caughtUp     = 30 * time.Second
	leasesLimit  = 20 * time.Second
	bookmarkSlow = 10 * time.Second // hbctl's own interval
)

// programSubscriber is the reader of what `hbctl watch -o json` prints.
const programSubscriber = "program"

// A round is one plan carried out on a cluster of its own, from which one history comes.
type round struct {
	t        testing.TB
	plan     *plan
	dir      string
	rec      *history.Recorder // the injector's
	etcd     *cluster
	auditor  *observer.Auditor
	injector *injector
	holders  []*actor
	readers  []*actor
	proxies  []*proxy
	files    []*os.File
	stop     context.CancelFunc // the auditor and the lister
	watching sync.WaitGroup
}

// newRound starts etcd and everybody.
func newRound(t testing.TB, p *plan, dir string) *round {
	t.Helper()
	r := &round{t: t, plan: p, dir: dir}
	t.Cleanup(r.shut)
	r.rec = r.recorder("injector")
	r.rec.Record(history.Record{Kind: history.Begin, Seed: p.Seed, Prefix: registry.DefaultPrefix, Note: fmt.Sprintf("mixed: %v", p.Mixed)})
	r.etcd = startCluster(t, r.rec)
	r.auditor = observer.NewAuditor(r.recorder("auditor"), r.etcd.single, func(err error) { t.Error(err) })
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	r.watching.Go(func() { r.auditor.Run(ctx) })
	lister, client := r.recorder("lister"), r.etcd.nodes.Client()
	r.watching.Go(func() { list(ctx, client, lister) })

	r.injector = &injector{t: t, plan: p, rec: r.rec, etcd: r.etcd, auditor: r.auditor}
	for i := range p.Holders {
		r.holders = append(r.holders, r.actor(fmt.Sprintf("holder%d", i), role{Holder: &p.Holders[i]}))
	}
	r.injector.rival = r.actor("rival", role{Holder: &holderPlan{Reports: -1}})
	r.injector.holders = r.holders
	r.makeReaders()
	r.injector.readers = r.readers
	for _, a := range r.everybody() {
		a.spawn()
	}
	return r
}

func (r *round) makeReaders() {
	state := func(name string) string { return filepath.Join(r.dir, name+".state") }
	plans := [programReader][]readerPlan{
		steadyReader: {{Subscriber: "steady"}, {Subscriber: "steady-confirmed", Confirm: confirmWindow}},
		viewReader: {
			{Subscriber: "view", State: state("view")},
			{Subscriber: "view-confirmed", State: state("view-confirmed"), Confirm: confirmWindow},
		},
		revisionReader: {{Subscriber: "revision", State: state("revision"), Bare: true}},
		slowReader:     {{Subscriber: "slow"}},
	}
	for i, readers := range plans {
		r.readers = append(r.readers, r.actor(fmt.Sprintf("watcher%d", i), role{Readers: readers}))
	}
	hbctl := etcdtest.Binary(r.t, "./cmd/hbctl")
	out := observer.NewProgram(programSubscriber, r.recorder, func(err error) { r.t.Error(err) })
	a := r.actor("hbctl", role{})
	a.listen = out.Listen
	a.mayEnd = func(code int) bool { return code == 4 } // etcd was not reachable when it started: it says so and ends
	a.command = func(string) *exec.Cmd {
		args := []string{"watch", "-o", "json", "--bookmarks", "--endpoints", strings.Join(a.proxy.endpoints(), ",")}
		if since := out.Since(); since > 0 {
			args = append(args, "--since", fmt.Sprint(since))
		}
		return exec.Command(hbctl, args...)
	}
	r.readers = append(r.readers, a)
}

// recorder opens the history of one source.
func (r *round) recorder(source string) *history.Recorder {
	f, err := os.OpenFile(filepath.Join(r.dir, source+".jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Error(err)
		return history.NewRecorder(failing{err}, source)
	}
	r.files = append(r.files, f)
	return history.NewRecorder(f, source)
}

// failing is where records go that can't be written.
type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func (r *round) actor(place string, what role) *actor {
	r.t.Helper()
	p, err := newProxy(r.etcd.addresses())
	if err != nil {
		r.t.Fatal(err)
	}
	r.proxies = append(r.proxies, p)
	return &actor{t: r.t, place: place, dir: r.dir, rec: r.rec, proxy: p, role: what}
}

// everybody gives all actors, holders first.
func (r *round) everybody() []*actor {
	return slices.Concat(r.holders, []*actor{r.injector.rival}, r.readers)
}

// shut ends whatever still runs.
func (r *round) shut() {
	if r.injector != nil {
		for _, a := range r.everybody() {
			a.kill()
		}
	}
	if r.stop != nil {
		r.stop()
	}
	r.watching.Wait()
	for _, p := range r.proxies {
		p.close()
	}
	for _, f := range r.files {
		_ = f.Close()
	}
}

// run carries the plan out and brings everything to a good end: mended, back, left.
func (r *round) run(ctx context.Context) {
	r.awaitAllUp(ctx)
	r.injector.run(ctx)
	r.mend(ctx)
	r.awaitAllUp(ctx)
	r.awaitReaders(ctx)
	for range 3 {
		if _, err := listOnce(ctx, r.etcd.all, r.rec); err != nil {
			r.t.Errorf("the last list: %v", err)
		}
	}
	stopAll(append(slices.Clone(r.holders), r.injector.rival))
	r.awaitReaders(ctx)
	leases := r.awaitNoLeases(ctx)
	stopAll(r.readers)
	r.rec.Record(history.Record{Kind: history.Final, Leases: leases})
}

// mend undoes all that may still be done.
func (r *round) mend(ctx context.Context) {
	r.etcd.mend(ctx)
	for _, p := range r.proxies {
		p.heal(true)
	}
	for _, a := range r.everybody() {
		a.thaw()
		a.ensure()
	}
	r.injector.lift(ctx)
	r.rec.Record(history.Record{Kind: history.Settled})
}

func stopAll(actors []*actor) {
	var all sync.WaitGroup
	for _, a := range actors {
		all.Go(a.stop)
	}
	all.Wait()
}

// awaitAllUp waits until every name is up.
func (r *round) awaitAllUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, allUpLimit)
	defer cancel()
	missing := []string{"all: no list"}
	for ; ctx.Err() == nil && len(missing) > 0; pause(ctx, listEvery) {
		one, done := context.WithTimeout(ctx, listLimit)
		snap, err := registry.List(one, r.etcd.all, registry.ListOptions{})
		done()
		if err == nil {
			missing = notUp(r.plan, snap)
		}
	}
	if len(missing) > 0 {
		r.t.Errorf("not up within %v: %s", allUpLimit, strings.Join(missing, " "))
	}
}

func notUp(p *plan, snap *registry.Snapshot) []string {
	up := make(map[registry.Name]bool)
	for i := range snap.Services {
		up[snap.Services[i].Name()] = snap.Services[i].State == registry.Up
	}
	var missing []string
	for i := range holderCount * namesEach {
		if n := p.name(i).Name; !up[n] {
			missing = append(missing, n.String())
		}
	}
	return missing
}

// awaitReaders waits until all readers were told everything that has happened so far.
func (r *round) awaitReaders(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, caughtUp+bookmarkSlow)
	defer cancel()
	put, err := r.etcd.all.Put(ctx, "/elsewhere", "mark") // so that there is something to be told up to
	if err != nil {
		r.t.Errorf("marking: %v", err)
		return
	}
	if err := r.auditor.Reach(ctx, put.Header.Revision); err != nil {
		r.t.Error(err)
	}
	late := []string{"all"}
	for ; ctx.Err() == nil && len(late) > 0; pause(ctx, listEvery) {
		for _, a := range r.readers {
			a.ensure() // the program ends by itself when it finds no etcd at its start
		}
		late = r.behind(put.Header.Revision)
	}
	if len(late) > 0 {
		r.t.Errorf("not told up to revision %d within %v: %s", put.Header.Revision, caughtUp+bookmarkSlow, strings.Join(late, ", "))
	}
}

// behind gives the readers that were not told everything up to the revision.
func (r *round) behind(revision int64) []string {
	told := make(map[string]int64)
	for _, a := range r.readers {
		for _, p := range a.role.Readers {
			told[p.Subscriber] = 0
		}
		records, err := readFile(filepath.Join(r.dir, a.now()+".jsonl"))
		if err != nil {
			r.t.Error(err)
		}
		for i := range records {
			if b := records[i].Batch; b != nil {
				told[records[i].Subscriber] = max(told[records[i].Subscriber], b.Revision)
			}
		}
	}
	told[programSubscriber] = max(told[programSubscriber], 0)
	var late []string
	for subscriber, at := range told {
		if at < revision {
			late = append(late, fmt.Sprintf("%s is at %d", subscriber, at))
		}
	}
	slices.Sort(late)
	return late
}

// awaitNoLeases waits until etcd has no lease any more, and gives those that it still has.
func (r *round) awaitNoLeases(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, leasesLimit)
	defer cancel()
	leases := []string{}
	for {
		resp, err := r.etcd.all.Leases(ctx)
		if err == nil {
			if leases = leases[:0]; len(resp.Leases) == 0 {
				return leases
			}
			for _, l := range resp.Leases {
				leases = append(leases, registry.FormatLease(int64(l.ID)))
			}
		}
		if pause(ctx, listEvery); ctx.Err() != nil {
			return leases
		}
	}
}

// history gives everything that was recorded, in the order of time.
func (r *round) history(ctx context.Context) []history.Record {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "*.jsonl"))
	if err != nil {
		r.t.Fatal(err)
	}
	var all []history.Record
	for _, name := range files {
		records, err := readFile(name)
		if err != nil {
			r.t.Fatal(err)
		}
		if filepath.Base(name) == "auditor.jsonl" {
			if err := r.crossCheck(ctx, records); err != nil {
				r.t.Error(err)
			}
		}
		all = append(all, records...)
	}
	return inTime(all)
}

func (r *round) crossCheck(ctx context.Context, records []history.Record) error {
	ctx, cancel := context.WithTimeout(ctx, caughtUp)
	defer cancel()
	return r.auditor.CrossCheck(ctx, r.etcd.all, records)
}

func readFile(name string) ([]history.Record, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := history.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return records, nil
}
