package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hbctl/hbctl/watcher"
)

// journalInstance is an instance as a view or a move has it.
func journalInstance(i int, revision int64) string {
	return fmt.Sprintf(`{"binary":"vol","host":"n%06d","record":{"revision":%d,"value":{"schema":1,"binary":"vol","host":"n%06d","zone":"az%d","labels":{"rack":"r%d"},"endpoints":["http://10.0.0.1:8776"],"created_at":"2026-11-23T10:00:00Z","updated_at":"2026-11-23T10:00:00Z","report_count":1,"ttl_seconds":10}},"alive":{"revision":%d,"lease":"1f","value":{"schema":1,"registration":"%032x"}}}`,
		i, revision, i, revision%7, i%40, 1+i, i)
}

func journalView(t testing.TB, instances int) *watcher.View {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(`{"schema":1,"cluster":"abc","prefix":"/hb/","selection":"","revision":1000000,"instances":[`)
	for i := range instances {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(journalInstance(i, 1))
	}
	b.WriteString("]}")
	v := new(watcher.View)
	if err := v.UnmarshalJSON(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	return v
}

func journalMove(t interface{ Fatal(args ...any) }, i int, revision int64) watcher.Move {
	var m watcher.Move
	if err := m.UnmarshalJSON(fmt.Appendf(nil, `{"revision":%d,"instances":[%s]}`, revision, journalInstance(i, revision))); err != nil {
		t.Fatal(err)
	}
	return m
}

func wholeMove(t testing.TB, v *watcher.View) watcher.Move {
	t.Helper()
	var m watcher.Move
	text := textOfView(v)
	if err := m.UnmarshalJSON([]byte(`{"view":` + text + `}`)); err != nil {
		t.Fatal(err)
	}
	return m
}

func textOfView(v *watcher.View) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// keptView is a view and the journal that keeps it.
type keptView struct {
	*journal
	t     testing.TB
	v     *watcher.View
	moves int64
}

func keep(t testing.TB, path string, instances int) *keptView {
	t.Helper()
	j, s, _, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	k := &keptView{journal: j, t: t, v: s.view}
	j.view = func() *watcher.View { return k.v.Clone() }
	if k.v == nil {
		k.v = journalView(t, instances)
		if err := j.append(wholeMove(t, k.v)); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// move moves the view, and keeps that.
func (k *keptView) move(i int) {
	k.t.Helper()
	k.moves++
	m := journalMove(k.t, i, k.v.Revision()+1)
	if err := k.v.Apply(m); err != nil {
		k.t.Fatal(err)
	}
	if err := k.append(m); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keptView) ends() {
	k.t.Helper()
	if err := k.close(); err != nil {
		k.t.Fatal(err)
	}
}

// Many moves, so that snapshots follow each other, with and without a clean end: what is read back is the view, and the file
// stays small.
func TestJournalKeepsTheView(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	random := rand.New(rand.NewPCG(1, 1))
	k := keep(t, path, 200)
	for range 3 {
		for range 5000 {
			k.move(random.IntN(200))
		}
		if random.IntN(2) == 0 {
			k.ends()
		} else { // killed: nothing is ended, and the lock goes with the process
			if k.next != nil {
				_ = k.next.wait()
			}
			k.file.Close()
		}
		want := textOfView(k.v)
		k = keep(t, path, 0)
		if got := textOfView(k.v); got != want {
			t.Fatalf("read back\n%.2000s\nwant\n%.2000s", got, want)
		}
	}
	k.ends()
	now, err := os.Stat(path)
	if err != nil || now.Size() > 3*minJournal {
		t.Errorf("after 15,000 moves of some 500 bytes the file has %d bytes (%v)", now.Size(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// Whatever is cut off from the end, or changed anywhere, what is read is a view that there was: that of the last line before it.
func TestJournalSurvivesDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := keep(t, filepath.Join(dir, "state"), 3)
	views, ends := []string{textOfView(k.v)}, []int64{k.size}
	for i := range 50 {
		k.move(i % 3)
		views, ends = append(views, textOfView(k.v)), append(ends, k.size)
	}
	k.ends()
	whole, err := os.ReadFile(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(whole)-1).Draw(t, "at")
		text := bytes.Clone(whole)
		if rapid.Bool().Draw(t, "cut") {
			text = text[:at]
		} else {
			text[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
		}
		if rapid.Bool().Draw(t, "junk") {
			text = append(text, rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "junk behind")...)
		}
		path := filepath.Join(dir, "damaged")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		j, s, cut, err := openJournal(path)
		if int64(at) < ends[0] { // the snapshot
			if len(text) > 0 && !errors.Is(err, errDamaged) && !errors.Is(err, errForeign) && !errors.Is(err, errNewer) {
				t.Fatalf("a damaged snapshot: %v", err)
			}
			if err == nil {
				_ = j.close()
			}
			if now, _ := os.ReadFile(path); !bytes.Equal(now, text) {
				t.Fatal("what could not be read was changed")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = j.close() }()
		good := 0
		for good+1 < len(ends) && ends[good+1] <= int64(at) {
			good++
		}
		if got := textOfView(s.view); got != views[good] || cut != int64(len(text))-ends[good] {
			t.Fatalf("damaged at %d, line %d: read the view at %d and cut %d bytes", at, good, s.view.Revision(), cut)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != ends[good] {
			t.Fatalf("after cutting: %v %v", info, err)
		}
	})
}

// A new history replaces the file at once: what is of another one must never be told to a reader as what he knew.
func TestJournalBeginsAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	k := keep(t, path, 100)
	for i := 0; k.next == nil; i++ { // until a snapshot is under way
		k.move(i % 100)
	}
	k.v = journalView(t, 5)
	if err := k.append(wholeMove(t, k.v)); err != nil {
		t.Fatal(err)
	}
	k.move(1)
	want := textOfView(k.v)
	k.ends()
	again := keep(t, path, 0)
	defer again.ends()
	if got := textOfView(again.v); got != want {
		t.Errorf("read back\n%s\nwant\n%s", got, want)
	}
}

// The lock goes over to the file's successor, so that there is no moment for a second user.
func TestJournalStaysLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	k := keep(t, path, 10)
	stop, tried := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { tried <- n }()
		for ; ; n++ {
			if j, _, _, err := openJournal(path); !errors.Is(err, errInUse) {
				t.Errorf("opened a second time: %v %v", j, err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for i := range 12_000 {
		k.move(i % 10)
	}
	close(stop)
	t.Logf("refused %d times during 12,000 moves", <-tried)
	k.ends()
	again := keep(t, link, 0) // by a link too, and it is the file that is replaced
	for again.next == nil {
		again.move(1)
	}
	again.ends()
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("the link is gone: %s %v", target, err)
	}
}

// BenchmarkJournal measures what a batch costs to keep, snapshots and all: it must not depend on how many instances there are. CPU
// is that of the process, so it has what is done beside the reader too.
func BenchmarkJournal(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			k := keep(b, filepath.Join(b.TempDir(), "state"), n)
			random := rand.New(rand.NewPCG(1, uint64(n)))
			moves := make([]watcher.Move, 1000)
			for i := range moves {
				moves[i] = journalMove(b, random.IntN(n), k.v.Revision()+1)
			}
			snapshots, longest := 0, time.Duration(0)
			cpu, i := cpuTime(b), 0
			for b.Loop() {
				begin, was := time.Now(), k.file
				m := moves[i%len(moves)]
				if err := k.v.Apply(m); err != nil {
					b.Fatal(err)
				}
				if err := k.append(m); err != nil {
					b.Fatal(err)
				}
				i++
				longest = max(longest, time.Since(begin))
				if k.file != was {
					snapshots++
				}
			}
			b.ReportMetric(float64(cpuTime(b)-cpu)/float64(i), "cpu-ns/op")
			b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
			b.ReportMetric(float64(snapshots), "snapshots")
			k.t = b
			k.ends()
		})
	}
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
