package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/hbctl/hbctl/watcher"
)

// A state file has one line of a snapshot, which is a whole view and so says what it is of, and then a line for each move of that
// view. Each begins with the checksum of what follows on it, and the first with what makes the file ours:
//
//	hbctl-state 1 CHECKSUM VIEW
//	CHECKSUM MOVE
//	...
const (
	journalName   = "hbctl-state "
	journalFormat = "1"
)

// castagnoli finds every burst of errors of up to 32 bits, and processors have it built in.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksumBytes is how long a checksum is with the blank after it.
const checksumBytes = len("01234567 ")

func checksum(text []byte) string { return fmt.Sprintf("%08x ", crc32.Checksum(text, castagnoli)) }

// moveLine gives the line of a move.
func moveLine(m watcher.Move) ([]byte, error) {
	text, err := m.MarshalJSON()
	if err != nil {
		return nil, err
	}
	line := make([]byte, 0, checksumBytes+len(text)+1)
	line = append(line, checksum(text)...)
	line = append(line, text...)
	return append(line, '\n'), nil
}

// writeSnapshot writes the first line, and gives its length. It is written in pieces, because it is by far the longest.
func writeSnapshot(w io.Writer, v *watcher.View) (int64, error) {
	text, err := v.MarshalJSON()
	if err != nil {
		return 0, err
	}
	head := journalName + journalFormat + " " + checksum(text)
	for _, piece := range [][]byte{[]byte(head), text, {'\n'}} {
		if _, err := w.Write(piece); err != nil {
			return 0, err
		}
	}
	return int64(len(head) + len(text) + 1), nil
}

// lineText gives what is on a line, or false if it is not what was written.
func lineText(line []byte) ([]byte, bool) {
	text, whole := bytes.CutSuffix(line, []byte("\n"))
	if !whole || len(text) < checksumBytes {
		return nil, false
	}
	sum, text := text[:checksumBytes], text[checksumBytes:]
	return text, string(sum) == checksum(text)
}

// saved is what a state file holds.
type saved struct {
	view     *watcher.View // nil: nothing yet
	snapshot int64         // bytes of the first line
	good     int64         // bytes up to the end of the last line that is in order
}

var (
	errForeign = errors.New("it was not written by hbctl; give the name of another file")
	errNewer   = errors.New("it was written by a newer hbctl; use that, or give the name of another file")
	errDamaged = errors.New("its snapshot is damaged, so nothing in it can be relied on; remove it to begin anew with all that is there")
)

// readJournal reads a state file up to the first line that is not in order. What follows on that can't be relied on either: a move is
// worth nothing without those before it.
func readJournal(from io.Reader) (saved, error) {
	in := bufio.NewReaderSize(from, 1<<20)
	head, err := in.Peek(len(journalName))
	switch {
	case errors.Is(err, io.EOF) && len(head) == 0:
		return saved{}, nil
	case err != nil && !errors.Is(err, io.EOF):
		return saved{}, err
	case string(head) != journalName: // before more is read of what may be of any size
		return saved{}, errForeign
	}
	var s saved
	if s.view, s.snapshot, err = readSnapshot(in); err != nil {
		return saved{}, err
	}
	s.good = s.snapshot
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return saved{}, err
		}
		if !applyLine(s.view, line) {
			return s, nil
		}
		s.good += int64(len(line))
	}
}

func readSnapshot(in *bufio.Reader) (*watcher.View, int64, error) {
	line, err := in.ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	format, rest, _ := bytes.Cut(line[len(journalName):], []byte(" "))
	if number, err := strconv.Atoi(string(format)); err == nil && string(format) != journalFormat && number > 0 {
		return nil, 0, errNewer
	}
	text, inOrder := lineText(rest)
	if !inOrder || string(format) != journalFormat {
		return nil, 0, errDamaged
	}
	view := new(watcher.View)
	if err := view.UnmarshalJSON(text); err != nil {
		return nil, 0, fmt.Errorf("%w (%v)", errDamaged, err) //nolint:errorlint // that it is invalid would make it the user's fault
	}
	return view, int64(len(line)), nil
}

// applyLine moves the view by a line, or says that the line is not in order and leaves the view as it is.
func applyLine(view *watcher.View, line []byte) bool {
	text, inOrder := lineText(line)
	if !inOrder {
		return false
	}
	var move watcher.Move
	return move.UnmarshalJSON(text) == nil && view.Apply(move) == nil
}
