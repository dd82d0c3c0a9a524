package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

const (
	boardPrefix = "/example/jobs/"
	callTimeout = 5 * time.Second // or a call to an etcd that is frozen would wait for ever
	retryAfter  = time.Second
)

// assignment is the value of a job's key. Worker and incarnation say together who has it: the same worker under another incarnation
// has not, and must not run it.
type assignment struct {
	Worker      string `json:"worker"`
	Incarnation int64  `json:"incarnation"`
	Why         string `json:"why"`

	revision int64 // of the key; 0: there is none
}

// board is where the assignments hang.
type board struct {
	client *clientv3.Client
	self   *registry.Registration
}

// arrange sees to it that each job is with a worker that is up, as far as there is one. What can't be done now, for want of a
// worker, is done when one comes: that is a change too.
func (b *board) arrange(ctx context.Context, jobs []string, workers table) error {
	for {
		trusted, err := b.self.WaitTrusted(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err // somebody else is the orchestrator
		}
		if err := b.pass(trusted, b.self.Incarnation(), jobs, workers); err == nil {
			return nil
		} else if trusted.Err() == nil {
			log.Printf("trying again: %v", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
	}
}

// pass looks at all jobs once, and is done with the first that it can't write.
func (b *board) pass(ctx context.Context, incarnation int64, jobs []string, workers table) error {
	now, err := b.read(ctx)
	if err != nil {
		return err
	}
	load := map[string]int{}
	for _, a := range now {
		load[a.Worker]++
	}
	for _, job := range jobs {
		old := now[job]
		a, changed := place(old, workers, load)
		if !changed {
			continue
		}
		if err := b.write(ctx, incarnation, job, a, old.revision); err != nil {
			return err
		}
		log.Printf("%s is with %s (%d): %s", job, a.Worker, a.Incarnation, a.Why)
		load[old.Worker]--
		load[a.Worker]++
	}
	return nil
}

// place says who shall have a job, if that is somebody else.
func place(old assignment, workers table, load map[string]int) (a assignment, changed bool) {
	w := workers[old.Worker]
	if w.up() {
		// It was cleared, or restarted before anybody took the job away. It must hear that the job is its own again.
		return assignment{Worker: old.Worker, Incarnation: w.Incarnation, Why: "it is back"}, w.Incarnation != old.Incarnation
	}
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		if workers[name].usable() && (a.Worker == "" || load[name] < load[a.Worker]) {
			a = assignment{Worker: name, Incarnation: workers[name].Incarnation}
		}
	}
	switch {
	case a.Worker == "":
		return old, false // nobody can have it
	case old.Worker == "":
		a.Why = "new"
	case w.Down == string(registry.CauseLeft):
		a.Why = fmt.Sprintf("rebalanced: %s (%d) left", old.Worker, old.Incarnation)
	case w.Down == "":
		a.Why = fmt.Sprintf("evacuated: %s (%d) is not there", old.Worker, old.Incarnation)
	default:
		a.Why = fmt.Sprintf("evacuated: %s (%d) is down: %s", old.Worker, old.Incarnation, w.Down)
	}
	return a, true
}

// read gives what is on the board.
func (b *board) read(ctx context.Context) (map[string]assignment, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	found, err := b.client.Get(ctx, boardPrefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	all := map[string]assignment{}
	for _, kv := range found.Kvs {
		var a assignment
		if err := json.Unmarshal(kv.Value, &a); err != nil {
			a = assignment{} // junk gives the job to nobody
		}
		a.revision = kv.ModRevision
		all[string(kv.Key[len(boardPrefix):])] = a
	}
	return all, nil
}

// write puts an assignment, unless it is another one by now than was read, or we are not the orchestrator any more.
func (b *board) write(ctx context.Context, incarnation int64, job string, a assignment, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	value, err := json.Marshal(a)
	if err != nil {
		return err
	}
	keys, err := registry.NewKeys(registry.DefaultPrefix)
	if err != nil {
		return err
	}
	done, err := b.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(boardPrefix+job), "=", revision),
			clientv3.Compare(clientv3.ModRevision(keys.Alive(b.self.Name())), "=", incarnation)).
		Then(clientv3.OpPut(boardPrefix+job, string(value))).
		Commit()
	if err == nil && !done.Succeeded {
		err = fmt.Errorf("%s was written by somebody else, or we are not the orchestrator any more", job)
	}
	return err
}
