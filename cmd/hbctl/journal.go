package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"github.com/hbctl/hbctl/watcher"
)

const (
	// minJournal is what a journal may have at least before a new snapshot is made.
	minJournal = 1 << 20

	// syncInterval is how often at most a journal is synced to the disk. The end of a process, however violent, takes nothing of
	// what was written, so what syncing decides is how much is told again after the machine itself went down: about a second of it.
	// Syncing each batch would let a disk, at a hundred or so a second, say how fast a death is told. A clean end syncs.
	syncInterval = time.Second
)

// A journal keeps a view in a file: a snapshot, and the moves since. A move is one write, so that the end of the process, at any
// moment, loses no more than what was not acknowledged.
//
// When the moves have outgrown the snapshot a new one is written beside it, with the moves meanwhile, and takes the file's name:
// each byte that is appended causes at most one of a snapshot, so a batch costs the same in a crowd as among few. That, and
// syncing, is done by goroutines of its own, because the reader must not wait for a disk; the journal's methods are for one goroutine.
type journal struct {
	path string
	view func() *watcher.View // as of the last move

	file     *fileutil.LockedFile
	snapshot int64 // bytes of the first line
	size     int64 // bytes of all
	next     *successor

	dirty    bool // something was not synced
	renamed  bool // nor was the folder
	syncedAt time.Time
	syncing  *task
}

// A successor is a file that is to take the journal's name.
type successor struct {
	*task
	file   *fileutil.LockedFile
	size   int64
	missed []byte // lines of moves since its view was taken
}

// openJournal opens a state file for this process alone, reads it and cuts off what is not in order, and says how much that was.
// The file is created if it is not there. A nil view in what it gives says that there is nothing yet.
func openJournal(path string) (_ *journal, s saved, cut int64, err error) {
	path, err = journalPath(path)
	if err != nil {
		return nil, saved{}, 0, err
	}
	file, err := lockFile(path)
	if err != nil {
		return nil, saved{}, 0, err
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if s, err = readJournal(file); err != nil {
		return nil, saved{}, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, saved{}, 0, err
	}
	if cut = info.Size() - s.good; cut > 0 {
		if err = file.Truncate(s.good); err != nil {
			return nil, saved{}, 0, err
		}
	}
	j := &journal{path: path, file: file, snapshot: s.snapshot, size: s.good, dirty: cut > 0, syncedAt: time.Now()}
	if err = j.tryBeside(); err != nil {
		return nil, saved{}, 0, err
	}
	return j, s, cut, nil
}

// journalPath checks what is there, before opening it can do any harm, and follows links: it is the file that is replaced.
func journalPath(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", err
	case info.IsDir():
		return "", errDirectory
	case !info.Mode().IsRegular():
		return "", errIrregular
	}
	return filepath.EvalSymlinks(path)
}

var (
	errDirectory = errors.New("it is a directory; give the name of a file")
	errIrregular = errors.New("it is no regular file")
	errInUse     = errors.New("another process is using it")
)

// lockFile opens a file and locks it. The lock is on the file and not on its name, and its holder may just be giving the name to
// a successor: so the name is looked at again.
func lockFile(path string) (*fileutil.LockedFile, error) {
	for {
		file, err := fileutil.TryLockFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, fileutil.PrivateFileMode)
		if errors.Is(err, fileutil.ErrLocked) {
			return nil, errInUse
		}
		if err != nil {
			return nil, err
		}
		locked, err := file.Stat()
		if err != nil {
			file.Close()
			return nil, err
		}
		if named, err := os.Stat(path); err == nil && os.SameFile(named, locked) {
			return file, nil
		}
		file.Close()
	}
}

// beside is the name of a file on its way to become the journal. Who holds the lock of the journal may overwrite it.
func (j *journal) beside() string { return j.path + ".hbctl-new" }

// tryBeside finds out now, and not in the middle of the night, whether files can be made there.
func (j *journal) tryBeside() error {
	file, err := j.createBeside()
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(j.beside()))
}

// createBeside makes a file that is locked before it takes the name, so that the name always leads to a locked one.
func (j *journal) createBeside() (*fileutil.LockedFile, error) {
	mode := fs.FileMode(fileutil.PrivateFileMode)
	if info, err := j.file.Stat(); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.Remove(j.beside()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := fileutil.TryLockFile(j.beside(), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, mode)
	if err != nil {
		return nil, err
	}
	return file, file.Chmod(mode)
}

// append keeps a move. The view must be that after it.
func (j *journal) append(m watcher.Move) error {
	if view := m.View(); view != nil {
		return j.begin(view)
	}
	if j.next != nil && j.next.over() {
		if err := j.adopt(); err != nil {
			return err
		}
	}
	line, err := moveLine(m)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(line); err != nil {
		_ = j.file.Truncate(j.size) // half a line would only have to be cut off later
		return err
	}
	j.size += int64(len(line))
	j.dirty = true
	if j.next != nil {
		j.next.missed = append(j.next.missed, line...)
	} else if j.size-j.snapshot > max(minJournal, j.snapshot) {
		j.succeed(j.view())
	}
	return j.tend()
}

// begin replaces what there is by a view that has nothing to do with it.
func (j *journal) begin(view *watcher.View) error {
	if j.next != nil {
		_ = j.next.wait() // it does not matter any more
		j.next.discard()
	}
	j.succeed(view)
	return errors.Join(j.adopt(), j.tend())
}

// succeed begins to write a successor.
func (j *journal) succeed(view *watcher.View) {
	next := &successor{}
	next.task = inBackground(func() (err error) {
		if next.file, err = j.createBeside(); err != nil {
			return err
		}
		if next.size, err = writeSnapshot(next.file, view); err != nil {
			return err
		}
		// The name must never lead to a file whose content did not get to the disk.
		return next.file.Sync()
	})
	j.next = next
}

// adopt waits for the successor and gives it the name.
func (j *journal) adopt() error {
	next := j.next
	j.next = nil
	err := next.wait()
	if err == nil {
		_, err = next.file.Write(next.missed)
	}
	if err == nil {
		err = os.Rename(j.beside(), j.path)
	}
	if err != nil {
		next.discard()
		_ = os.Remove(j.beside()) // what there is stays in order without it
		return err
	}
	j.file.Close()
	j.file, j.snapshot, j.size = next.file, next.size, next.size+int64(len(next.missed))
	j.dirty, j.renamed = true, true
	return nil
}

func (s *successor) discard() {
	if s.file != nil {
		s.file.Close()
	}
}

// tend syncs what was written now and then, without waiting for it.
func (j *journal) tend() error {
	if j.syncing != nil {
		if !j.syncing.over() {
			return nil
		}
		err := j.syncing.wait()
		j.syncing = nil
		if err != nil {
			return err
		}
	}
	if now := time.Now(); j.dirty && now.Sub(j.syncedAt) >= syncInterval {
		j.syncedAt = now
		j.syncing = inBackground(j.syncer())
	}
	return nil
}

// syncer gives what syncs all that was written until now.
func (j *journal) syncer() func() error {
	file, folder := j.file, ""
	if j.renamed {
		folder = filepath.Dir(j.path)
	}
	j.dirty, j.renamed = false, false
	return func() error {
		// It may be closed by now, because its successor took over, which is synced itself.
		if err := file.Sync(); err != nil && !errors.Is(err, fs.ErrClosed) {
			return err
		}
		if folder == "" {
			return nil
		}
		return syncFolder(folder)
	}
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// close syncs what is left, waits for what runs, and lets others use the file.
func (j *journal) close() error {
	var errs []error
	if j.next != nil {
		errs = append(errs, j.adopt())
	}
	if j.syncing != nil {
		errs = append(errs, j.syncing.wait())
	}
	if j.dirty {
		errs = append(errs, j.syncer()())
	}
	return errors.Join(append(errs, j.file.Close())...)
}
