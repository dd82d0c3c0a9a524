package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// worker is what we were told of one worker.
type worker struct {
	Incarnation int64  `json:"incarnation"`
	Down        string `json:"down,omitempty"` // why, of one that was told down
	Suspect     bool   `json:"suspect,omitempty"`
	Disabled    bool   `json:"disabled,omitempty"`
}

// up says that it may have jobs. What is only suspected counts as up: it may well be back in a moment.
func (w worker) up() bool { return w.Incarnation != 0 && w.Down == "" }

// usable says that it may get new ones.
func (w worker) usable() bool { return w.up() && !w.Suspect && !w.Disabled }

// table is what we were told of all workers, by their names. It is made of events alone, and folding a batch in twice is the same
// as once: after a restart the last one may come again.
type table map[string]worker

func (t table) fold(b *watcher.Batch) {
	if b.Kind == watcher.Reset || b.Kind == watcher.Snapshot {
		clear(t)
	}
	// Without a saved view nothing tells what has died before, and what is not up in the snapshot counts as dead.
	for i := range b.Services {
		if s := &b.Services[i]; s.State == registry.Up {
			t[s.Name().String()] = worker{Incarnation: *s.Incarnation, Disabled: disabled(s)}
		}
	}
	for i := range b.Events {
		e := &b.Events[i]
		name := e.Name.String()
		w, known := t[name]
		switch e.Kind {
		case watcher.Up, watcher.Cleared: // cleared: the same process, under a new incarnation
			w = worker{Incarnation: e.Incarnation, Disabled: disabled(&e.Service)}
		case watcher.Suspect:
			w.Suspect = true
		case watcher.Down:
			w = worker{Incarnation: e.Incarnation, Down: "not known why"}
			if e.Cause != nil {
				w.Down = string(*e.Cause)
			}
		case watcher.Enabled, watcher.Disabled:
			w.Disabled = disabled(&e.Service)
		case watcher.Forgotten:
			delete(t, name)
			continue
		default: // what moves no job, and kinds that come later
			continue
		}
		if known || w.Incarnation != 0 {
			t[name] = w
		}
	}
}

// disabled says whether it shall get no more jobs. A status that can't be read is unknown, and then neither shall it.
func disabled(s *registry.Service) bool { return s.Status == nil || *s.Status != registry.Enabled }

// state is what has to outlive this process: how far we have read, and what we know from there. One is worth nothing without the
// other.
type state struct {
	View    *watcher.View `json:"view"`
	Workers table         `json:"workers"`
}

func load(file string) (state, error) {
	s := state{Workers: table{}}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// save replaces the file as a whole: whoever is killed meanwhile finds the old one.
func save(file string, s state) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.Create(file + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
