package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/watcher"
)

// stateFile is where a watch keeps what was seen; nil without --state-file.
type stateFile struct {
	name    string
	journal *journal
	view    *watcher.View // what was seen before; nil: nothing
}

// stateError is an end that came of the state file.
type stateError struct {
	name string
	err  error
}

func (e *stateError) Error() string {
	text := fmt.Sprintf("state file %s: %v", e.name, e.err)
	for _, where := range []error{fs.ErrPermission, fs.ErrNotExist, syscall.EROFS} {
		if errors.Is(e.err, where) {
			text += "; choose a folder that is there and that you may write to"
		}
	}
	return text
}

func (e *stateError) Unwrap() error { return e.err }

// openState opens the state file, if one is asked for, before anything is asked of etcd, and has the watch keep its moves there.
func (p *program) openState(c *cli.Context, config *watcher.Config) (*stateFile, error) {
	name := c.String("state-file")
	switch {
	case !c.IsSet("state-file"):
		return nil, nil
	case name == "":
		return nil, usageIn("watch", "--state-file is empty; leave it out to keep nothing")
	case c.IsSet("since"):
		return nil, usageIn("watch", "--since and --state-file both say where to begin; give one of them")
	}
	journal, saved, cut, err := openJournal(name)
	if err != nil {
		return nil, stateProblem(name, err)
	}
	s := &stateFile{name: name, journal: journal, view: saved.view}
	if s.view != nil {
		if err := s.view.Check(*config); err != nil {
			return nil, s.end(stateProblem(name, err))
		}
	}
	if cut > 0 {
		p.log.Warn().Str("file", name).Int64("bytes", cut).
			Msg("the end of the state file was not in order and has been cut off; what was written there is told again")
	}
	config.OnMove = func(m watcher.Move) error {
		if err := journal.append(m); err != nil {
			return &stateError{name: name, err: plainFileError(err)}
		}
		return nil
	}
	return s, nil
}

// stateProblem tells what is wrong with the command line from what is wrong with the machine.
func stateProblem(name string, err error) error {
	err = plainFileError(err)
	for _, usage := range []error{errForeign, errNewer, errDirectory, errIrregular, watcher.ErrInvalid} {
		if errors.Is(err, usage) {
			return usageIn("watch", "--state-file %s: %s", name, invalid(err))
		}
	}
	return &stateError{name: name, err: err}
}

// plainFileError drops the names from an error: the message around it names the file, and of the one beside it nobody knows.
func plainFileError(err error) error {
	var linkErr *os.LinkError
	var pathErr *fs.PathError
	switch {
	case errors.As(err, &linkErr):
		return linkErr.Err
	case errors.As(err, &pathErr):
		return pathErr.Err
	}
	return err
}

// position gives where to begin: after what was seen, or else where the command line says.
func (s *stateFile) position(otherwise watcher.Position) watcher.Position {
	if s == nil || s.view == nil {
		return otherwise
	}
	return watcher.From(s.view)
}

// follow tells the file whose moves it will be told.
func (s *stateFile) follow(w *watcher.Watcher) {
	if s != nil {
		s.journal.view = w.View
	}
}

// end closes the file. That it failed is worth telling if nothing worse happened.
func (s *stateFile) end(err error) error {
	if s == nil {
		return err
	}
	closeErr := s.journal.close()
	if closeErr == nil || err != nil && !errors.As(err, new(stopped)) {
		return err
	}
	return &stateError{name: s.name, err: plainFileError(closeErr)}
}

// refused says what it means that etcd does not know the saved position, and what can be done; nil if that is not the matter.
func (s *stateFile) refused(err error) error {
	for reason, text := range map[error]string{
		watcher.ErrOtherCluster: "--state-file %s is of another etcd cluster: %s; keep one file for each cluster",
		watcher.ErrFuture:       "--state-file %s is ahead of etcd: it is at revision %s; etcd was restored from a backup, or lost its data: remove the file to begin anew",
	} {
		if s != nil && errors.Is(err, reason) {
			return usageIn("watch", text, s.name, detail(err, reason))
		}
	}
	return nil
}
