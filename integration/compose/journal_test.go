//go:build linux

package compose

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
)

// A journal is a history in the making. Everybody writes to it.
type journal struct {
	t testing.TB

	mu      sync.Mutex
	text    bytes.Buffer
	records []history.Record
	news    chan struct{} // closed and replaced with each record
}

func newJournal(t testing.TB) *journal { return &journal{t: t, news: make(chan struct{})} }

// recorder gives the pen of one source.
func (j *journal) recorder(source string) *history.Recorder { return history.NewRecorder(j, source) }

// Write takes one record.
func (j *journal) Write(line []byte) (int, error) {
	records, err := history.Read(bytes.NewReader(line))
	if err != nil {
		return 0, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(line)
	j.records = append(j.records, records...)
	close(j.news)
	j.news = make(chan struct{})
	return len(line), nil
}

// all gives everything so far, in the order of time.
func (j *journal) all() []history.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := slices.Clone(j.records)
	slices.SortStableFunc(out, func(x, y history.Record) int { return int(x.At - y.At) })
	return out
}

// find waits for the first record from a time on that is what is looked for, and gives it.
func (j *journal) find(limit time.Duration, what string, from int64, is func(*history.Record) bool) history.Record {
	j.t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for next := 0; ; {
		j.mu.Lock()
		fresh, news := j.records[next:], j.news
		j.mu.Unlock()
		for i := range fresh {
			if fresh[i].At >= from && is(&fresh[i]) {
				return fresh[i]
			}
		}
		next += len(fresh)
		select {
		case <-news:
		case <-deadline.C:
			j.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// keep writes the history to a file, where the test failed.
func (j *journal) keep(name string) {
	if !j.t.Failed() {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	file := filepath.Join(os.TempDir(), name+".jsonl")
	err := os.WriteFile(file, j.text.Bytes(), 0o600)
	j.t.Logf("the history is in %s (%v)", file, err)
}

// A clock turns the time of day, which logs have, into the one of histories.
type clock struct{ offset int64 }

func newClock() clock { return clock{offset: history.Now() - time.Now().UnixNano()} }

func (c clock) monotonic(t time.Time) int64 { return t.UnixNano() + c.offset }

// held says whether nobody has set the time of day meanwhile.
func (c clock) held() error {
	if d := time.Duration(newClock().offset - c.offset).Abs(); d > 100*time.Millisecond {
		return fmt.Errorf("the time of day was set by %v: the times in logs can't be compared", d)
	}
	return nil
}
