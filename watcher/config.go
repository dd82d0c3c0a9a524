package watcher

import (
	"fmt"
	"time"

	"github.com/hbctl/hbctl/registry"
)

const (
	// DefaultStaleAfter is the silence after which contact counts as lost.
	DefaultStaleAfter = 3 * time.Second
	// MinStaleAfter is the shortest such silence: below it a busy machine would look like a lost one.
	MinStaleAfter = 300 * time.Millisecond
	// DefaultBookmarkInterval is how often at most a quiet stream tells its position.
	DefaultBookmarkInterval = 10 * time.Second
)

// Config says what to watch. The zero value watches everything under registry.DefaultPrefix.
type Config struct {
	// Prefix of all keys, default registry.DefaultPrefix.
	Prefix string
	// Filter selects rows, default all. An event is told when the row was selected before it or is after it, so a reader
	// sees a row leave its selection. An incarnation that was told up gets its down even if it has left the selection since.
	Filter registry.Filter
	// StaleAfter is how long etcd may be silent until the reader is told that contact is lost, and another attempt is made;
	// default DefaultStaleAfter, at least MinStaleAfter. The watcher itself asks for a sign of life at least three times
	// as often.
	StaleAfter time.Duration
	// Confirm is the confirmation window, for readers that act on deaths; default 0: none. With one, an incarnation whose key went
	// and nobody said why is told Suspect at once, and Down only when the window is over and nothing of it came back; if its
	// process is back by then, Cleared. The window is longer by a millisecond for each
	// of those that are suspects at once, and runs only while etcd is heard. See the package comment.
	Confirm time.Duration
	// BookmarkInterval is how often at most a Bookmark is sent while the prefix is quiet and the cluster's revision moves on;
	// default DefaultBookmarkInterval.
	BookmarkInterval time.Duration
	// StartTimeout bounds the start: past it the watch ends with ErrUnreachable. Default 0: it goes on trying until its
	// context ends, and the reader is told Stale meanwhile. Once started, a watch never gives up.
	StartTimeout time.Duration
	// OnMove, if set, is told how the view moves, right after a batch was acknowledged: who applies all moves has what
	// Watcher.View gives, at a cost that does not depend on how many instances there are. It is called by the reader's
	// goroutine, and what it returns ends the watch, unless it is nil. Moves that mean nothing to the reader come
	// together, a second late at most while there are more of them, and at the end of the context.
	OnMove func(Move) error
}

// withDefaults fills in the defaults, or returns ErrInvalid.
func (c Config) withDefaults() (Config, error) {
	if c.StaleAfter == 0 {
		c.StaleAfter = DefaultStaleAfter
	}
	if c.BookmarkInterval == 0 {
		c.BookmarkInterval = DefaultBookmarkInterval
	}
	switch {
	case c.StaleAfter < MinStaleAfter:
		return c, fmt.Errorf("%w: stale after %v is too short; use %v or more", ErrInvalid, c.StaleAfter, MinStaleAfter)
	case c.Confirm < 0:
		return c, fmt.Errorf("%w: confirmation window %v is negative; use 0 for none", ErrInvalid, c.Confirm)
	case c.BookmarkInterval < 0:
		return c, fmt.Errorf("%w: bookmark interval %v is negative; use 0 for %v", ErrInvalid, c.BookmarkInterval, DefaultBookmarkInterval)
	case c.StartTimeout < 0:
		return c, fmt.Errorf("%w: start timeout %v is negative; use 0 for none", ErrInvalid, c.StartTimeout)
	}
	return c, nil
}
