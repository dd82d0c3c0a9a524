//go:build linux

package compose

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/integration/observer"
	"github.com/hbctl/hbctl/lease"
	"github.com/hbctl/hbctl/registry"
)

// The readers: the watcher of the compose file, and one on this machine, which comes by the published ports.
var readers = []string{"watcher", "host"}

const (
	listEvery = 500 * time.Millisecond
	askLimit  = 2 * time.Second
	// soon is for what has no bound but the machine's.
	soon = time.Minute
)

// A stage is a project with everybody who looks on.
type stage struct {
	t          testing.TB
	project    *project
	journal    *journal
	clock      clock
	rec        *history.Recorder // the injector's
	auditor    *observer.Auditor
	all        *clientv3.Client
	single     []*clientv3.Client
	containers map[string]*container
	looking    sync.WaitGroup // auditor and lister
	reading    sync.WaitGroup // of logs, which end with the containers
}

// newStage brings the project up, members first: a watcher that finds no etcd ends, and compose starts another.
func newStage(t *testing.T) *stage {
	t.Helper()
	need(t) // or what follows would wait for what is not there
	s := &stage{t: t, clock: newClock(), journal: newJournal(t), containers: make(map[string]*container)}
	t.Cleanup(func() {
		s.reading.Wait()
		s.journal.keep(s.project.name)
	})
	s.project = newProject(t, "faults")
	s.rec = s.journal.recorder("injector")
	s.rec.Record(history.Record{Kind: history.Begin, Prefix: registry.DefaultPrefix, Note: "compose"})
	for _, service := range members {
		s.place(service).member = true
	}
	for _, service := range slices.Sorted(maps.Keys(instances)) {
		s.place(service).listen = s.holder
	}
	program := s.reader("watcher")
	s.place("watcher").listen = func(source string, stdout, stderr io.Reader) {
		var errors sync.WaitGroup
		errors.Go(func() { discard(stderr) })
		program.Listen(source, stdout)
		errors.Wait()
	}
	s.connect()
	s.bring(members...)
	for i := range members {
		s.awaitMember(i)
	}
	s.look()
	s.bring("watcher", "scheduler", "volume-1", "volume-2")
	return s
}

func (s *stage) reader(subscriber string) *observer.Program {
	return observer.NewProgram(subscriber, s.journal.recorder, func(err error) { s.t.Error(err) })
}

func (s *stage) place(service string) *container {
	c := &container{t: s.t, service: service, network: s.project.name + "_hbctl", rec: s.rec, reading: &s.reading}
	s.containers[service] = c
	return c
}

// bring starts services for the first time.
func (s *stage) bring(services ...string) {
	s.t.Helper()
	at := time.Now()
	for _, service := range services {
		s.containers[service].begins()
	}
	s.project.up(services...)
	for _, service := range services {
		s.containers[service].id = s.project.id[service]
		s.containers[service].follow(at)
	}
}

// holder reads what one process of a service prints: its log is on stderr.
func (s *stage) holder(source string, stdout, stderr io.Reader) {
	var out sync.WaitGroup
	out.Go(func() { discard(stdout) })
	if err := observer.HolderLog(stderr, s.journal.recorder(source), s.clock.monotonic); err != nil {
		s.t.Errorf("the log of %s: %v", source, err)
	}
	out.Wait()
}

// connect makes the clients of the test's own.
func (s *stage) connect() {
	dial := func(endpoints ...string) *clientv3.Client {
		c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialOptions: lease.DialOptions(0)})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { c.Close() })
		return c
	}
	s.all = dial(s.project.endpoints...)
	for _, e := range s.project.endpoints {
		s.single = append(s.single, dial(e))
	}
}

// look has the auditor and the lister look on until the end of the test.
func (s *stage) look() {
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(func() {
		cancel()
		s.looking.Wait()
	})
	s.auditor = observer.NewAuditor(s.journal.recorder("auditor"), s.single, func(err error) { s.t.Error(err) })
	s.looking.Go(func() { s.auditor.Run(ctx) })
	s.looking.Go(func() { s.watch(ctx) })
	lister := s.journal.recorder("lister")
	s.looking.Go(func() {
		for ticker := time.NewTicker(listEvery); ; {
			s.list(ctx, lister)
			select {
			case <-ticker.C:
			case <-ctx.Done():
				ticker.Stop()
				return
			}
		}
	})
}

// watch runs hbctl watch on this machine.
func (s *stage) watch(ctx context.Context) {
	const source = "host#1"
	cmd := s.project.command(ctx, "watch", "--output", "json", "--bookmarks")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	s.rec.Record(history.Record{Kind: history.Spawn, Target: source})
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	s.reader("host").Listen(source, out)
	if err := cmd.Wait(); ctx.Err() == nil {
		s.t.Errorf("hbctl watch ended by itself: %v", err)
	}
}

// list runs hbctl list. That nothing is known, it must say by its code: it is no list.
func (s *stage) list(ctx context.Context, rec *history.Recorder) {
	at := history.Now()
	out, err := s.project.run(ctx, "list", "--output", "json")
	switch {
	case ctx.Err() != nil:
	case err == nil:
		listed, err := observer.Listing([]byte(out), at, history.Now())
		if err != nil {
			s.t.Error(err)
			return
		}
		rec.Record(listed)
	case exitCode(err) != 4:
		s.t.Error(err)
	}
}

// awaitMember waits until a member serves, with the others.
func (s *stage) awaitMember(i int) {
	s.t.Helper()
	await(s.t, soon, members[i]+" serves", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		_, err := s.single[i].Get(ctx, "/elsewhere")
		return err == nil
	})
}

// leader waits until a member leads that is none of those, and gives its number.
func (s *stage) leader(but ...int) (leader int) {
	s.t.Helper()
	await(s.t, soon, "a member leads", func(ctx context.Context) bool {
		for i, c := range s.single {
			if slices.Contains(but, i) {
				continue
			}
			one, cancel := context.WithTimeout(ctx, askLimit)
			status, err := c.Status(one, s.project.endpoints[i])
			cancel()
			if err == nil && status.Leader == status.Header.MemberId {
				leader = i
				return true
			}
		}
		return false
	})
	return leader
}

// settle waits until everything is up and everybody was told everything, and takes down that it is.
func (s *stage) settle() {
	s.t.Helper()
	for i := range members {
		s.awaitMember(i)
	}
	var want []string
	for _, name := range slices.Sorted(maps.Values(instances)) {
		want = append(want, name+" up")
	}
	s.project.awaitStates(soon, want...)
	last := s.audited()
	for _, reader := range readers {
		await(s.t, soon, fmt.Sprintf("the %s is told of revision %d, and has contact", reader, last), func(context.Context) bool {
			told, stale := s.knows(reader)
			return told >= last && !stale
		})
	}
}

// audited waits until the auditor has seen all that has happened, and gives the last revision that brought or took a service.
func (s *stage) audited() (last int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	now, err := s.all.Get(ctx, "/elsewhere")
	if err == nil {
		err = s.auditor.Reach(ctx, now.Header.Revision)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	keys, err := registry.NewKeys("")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range s.journal.all() {
		for _, w := range r.Writes {
			if family, _, err := keys.Parse([]byte(w.Key)); err == nil && family == registry.FamilyAlive {
				last = r.Revision
			}
		}
	}
	return last
}

// knows gives the revision up to which a reader was told everything, and whether it was told that it has no contact.
func (s *stage) knows(reader string) (revision int64, stale bool) {
	for _, r := range s.journal.all() {
		if r.Kind == history.Handed && r.Subscriber == reader {
			revision, stale = max(revision, r.Batch.Revision), r.Batch.Kind == "stale" || stale && r.Batch.Kind != "live"
		}
	}
	return revision, stale
}

// told waits until the watcher is told something of a name, from a time on.
func (s *stage) told(name string, kind string, from int64) (*history.Event, int64) {
	s.t.Helper()
	var event *history.Event
	rec := s.journal.find(soon, fmt.Sprintf("the watcher is told that %s is %s", name, kind), from, func(r *history.Record) bool {
		if r.Subscriber != readers[0] {
			return false
		}
		event = eventOf(r, name, kind)
		return event != nil
	})
	return event, rec.At
}

func eventOf(r *history.Record, name, kind string) *history.Event {
	if r.Kind != history.Handed || r.Batch == nil {
		return nil
	}
	for i := range r.Batch.Events {
		if e := &r.Batch.Events[i]; e.Kind == kind && (name == "" || e.Name == name) {
			return e
		}
	}
	return nil
}

// listed waits until a list that was asked for from a time on has the name in that state.
func (s *stage) listed(name, state string, from int64) int64 {
	s.t.Helper()
	return s.journal.find(soon, fmt.Sprintf("%s is listed %s", name, state), from, func(r *history.Record) bool {
		return r.Kind == history.Listed && slices.ContainsFunc(r.Rows, func(row history.Row) bool { return row.Name == name && row.State == state })
	}).Until
}

// said waits until the holder says something of a name, from a time on.
func (s *stage) said(name string, kind history.Kind, from int64) history.Record {
	s.t.Helper()
	return s.journal.find(soon, fmt.Sprintf("the log of %s says %s", name, kind), from, func(r *history.Record) bool {
		return r.Kind == kind && r.Name == name
	})
}
