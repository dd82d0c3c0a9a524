// Package devcerts makes certificates for trying TLS on one machine: an authority and what it signs, in one folder.
// `hbctl certs` stands on it.
//
// The authority's key stays in the folder, so that more can be signed later. It is for trying: who guards a real cluster has
// an authority of his own.
package devcerts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// DefaultValid is how long a certificate is good for when nobody says.
const DefaultValid = 365 * 24 * time.Hour

// ErrInvalid is a Config that can't be meant.
var ErrInvalid = errors.New("devcerts: invalid")

// Config says what to make.
type Config struct {
	// Dir is made with mode 0700 when it is not there. An authority that is in it signs what is made now.
	Dir string
	// Servers are certificates of servers, good for clients too: a member of etcd is both.
	Servers []Server
	// Clients are the names of certificates of clients. etcd takes the name for its user.
	Clients []string
	// Valid is how long they are good for. Default DefaultValid, and never longer than the authority.
	Valid time.Duration
	// Readable lets everybody read the keys who gets into the folder, which must then let nobody in but its owner: a key
	// is handed to a container file by file, and there is another user in there.
	Readable bool
}

// Server is who a certificate of a server is for. It can always be called localhost, too.
type Server struct {
	Name  string
	Hosts []string // further names and addresses
}

// Make makes the certificates and gives the files it wrote. It never writes over a file: then the error is fs.ErrExist.
func Make(c Config) (files []string, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.folder(); err != nil {
		return nil, err
	}
	if err := c.vacant(); err != nil {
		return nil, err
	}
	a, err := open(c.Dir)
	if err != nil {
		return nil, err
	}
	out := writer{dir: c.Dir}
	if a.fresh {
		out.pair(authorityName, a.cert.Raw, a.key, false)
	}
	for _, s := range c.Servers {
		a.sign(&out, &c, s.Name, append([]string{s.Name, "localhost", "127.0.0.1", "::1"}, s.Hosts...))
	}
	for _, name := range c.Clients {
		a.sign(&out, &c, name, nil)
	}
	return out.files, out.err
}

// vacant sees that nothing would be written over, before anything is written.
func (c *Config) vacant() error {
	for _, name := range c.names() {
		for _, file := range []string{certFile(name), keyFile(name)} {
			path := filepath.Join(c.Dir, file)
			switch _, err := os.Lstat(path); {
			case err == nil:
				return &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
			case !errors.Is(err, fs.ErrNotExist):
				return err
			}
		}
	}
	return nil
}

func (c *Config) names() []string {
	var names []string
	for _, s := range c.Servers {
		names = append(names, s.Name)
	}
	return append(names, c.Clients...)
}

// named is what is both the name of a file and one of a host or user: at most 64 bytes, or it is no common name.
var named = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)

func (c *Config) check() error {
	names := c.names()
	switch {
	case c.Dir == "":
		return fmt.Errorf("%w: no folder", ErrInvalid)
	case len(names) == 0:
		return fmt.Errorf("%w: nothing to make: name a server or a client", ErrInvalid)
	case c.Valid < 0:
		return fmt.Errorf("%w: valid for %v", ErrInvalid, c.Valid)
	}
	for i, name := range names {
		switch {
		case !named.MatchString(name):
			return fmt.Errorf("%w: name %.80q: want up to 64 letters, digits, dots, dashes and underscores", ErrInvalid, name)
		case name == authorityName:
			return fmt.Errorf("%w: name %q is the authority's", ErrInvalid, name)
		case slices.Contains(names[:i], name):
			return fmt.Errorf("%w: name %q is there twice", ErrInvalid, name)
		}
	}
	for _, s := range c.Servers {
		for _, host := range s.Hosts {
			if host == "" {
				return fmt.Errorf("%w: server %q: an empty host", ErrInvalid, s.Name)
			}
		}
	}
	return nil
}

// folder sees to it that the folder is there, and closed if it has to be.
func (c *Config) folder() error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(c.Dir)
	if err == nil && c.Readable && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("folder %s: others get into it, and could read the keys; close it: chmod 700 %s", c.Dir, c.Dir)
	}
	return err
}
