package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Now gives CLOCK_MONOTONIC in nanoseconds: the same clock in all processes of a machine.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // the clock is always there
	}
	return ts.Nano()
}

// Recorder writes records of one source, a line each. Its methods may be called concurrently.
type Recorder struct {
	source string
	mu     sync.Mutex
	out    io.Writer
	err    error
}

// NewRecorder makes a Recorder that writes each record with one call of Write, so that a process that is killed leaves whole
// lines but for the last one.
func NewRecorder(out io.Writer, source string) *Recorder {
	return &Recorder{source: source, out: out}
}

// Record writes one record. Where At is 0 it is now. After an error nothing more is written; Err tells it.
func (r *Recorder) Record(rec Record) {
	rec.Source = r.source
	if rec.At == 0 {
		rec.At = Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	line, err := json.Marshal(rec)
	if err == nil {
		_, err = r.out.Write(append(line, '\n'))
	}
	r.err = err
}

// Err gives the first error.
func (r *Recorder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// maxLine bounds one record: a batch with 10,000 events is some megabytes.
const maxLine = 256 << 20

// Read reads records, a line each. A last line without its end is what a killed process left, and is dropped.
func Read(in io.Reader) ([]Record, error) {
	var records []Record
	lines := bufio.NewReaderSize(in, 1<<20)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("line %d has %d bytes", n, len(line))
		}
		var rec Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		records = append(records, rec)
	}
}
