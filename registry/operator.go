package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// OperatorClient is what an Operator needs of an etcd client; *clientv3.Client is one.
type OperatorClient interface {
	Txn(ctx context.Context) clientv3.Txn
}

// OperatorConfig says for whom an Operator speaks.
type OperatorConfig struct {
	// Prefix of all keys, default DefaultPrefix.
	Prefix string
	// By is who speaks, as "ann@ops1". It is kept in the admin record, for people.
	By string
	// Only says which rows may be changed; empty, all. One that is not so, or not any more, is ErrUnselected: who lists first and
	// then changes row by row would else act on what has come up, or was given another zone, meanwhile.
	Only Filter
	// Now gives the time that is kept beside it; default time.Now. It is shown, never compared.
	Now func() time.Time
}

// An Operator writes what operators want of instances: admin records, and the end of what is over. Its methods may be called
// concurrently, here and elsewhere: every write compares that nothing changed since it was read, and is tried again if something
// did. Each answers with the row as it was read back after the write, so that an answer is never more than what is there.
//
// All of them return ErrInvalid for a bad name, ErrNotFound for one that is no row, ErrUnselected, an UnreadableError where the admin record
// is data that this version can't read (it is never overwritten), ErrTooLarge, the context's error, and etcd's own.
type Operator struct {
	client OperatorClient
	keys   Keys
	by     string
	only   Filter
	now    func() time.Time
}

// NewOperator makes an Operator. It talks to nobody yet. It returns ErrInvalid for a bad prefix.
func NewOperator(client OperatorClient, cfg OperatorConfig) (*Operator, error) {
	keys, err := NewKeys(cfg.Prefix)
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Operator{client: client, keys: keys, by: cfg.By, only: cfg.Only, now: cfg.Now}, nil
}

// ErrNotFound is returned for a name that is no row.
var ErrNotFound = errors.New("there is no such instance")

// ErrUnselected is returned for a row that OperatorConfig.Only does not select.
var ErrUnselected = errors.New("it is not as was selected")

// UnreadableError refuses to write over data that can't be read.
type UnreadableError struct {
	Key string
	Err error
}

// Error names the key and the remedy.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("what %s holds can't be read (%v), so it is not overwritten; mend or delete it with etcdctl", e.Key, e.Err)
}

func (e *UnreadableError) Unwrap() error { return e.Err }

// Wish is one change of an admin record.
type Wish struct {
	change func(a *Admin, w *Word)
	holds  func(s *Service) bool
	reason string
	create bool
}

// Create makes the wish hold for a name that is no row yet, too: it is there when the service comes.
func (w Wish) Create() Wish {
	w.create = true
	return w
}

// ToEnable wishes that an instance is used.
func ToEnable() Wish {
	return Wish{
		change: func(a *Admin, _ *Word) { a.Disabled = nil },
		holds:  func(s *Service) bool { return s.Status != nil && *s.Status == Enabled },
	}
}

// ToDisable wishes that an instance is not used, for a reason.
func ToDisable(reason string) Wish {
	return Wish{
		reason: reason,
		change: func(a *Admin, w *Word) { a.Disabled = w },
		holds:  func(s *Service) bool { return s.Status != nil && *s.Status == Disabled },
	}
}

// ToForceDown wishes that an instance counts as down whatever is observed, for a reason.
func ToForceDown(reason string) Wish {
	return Wish{
		reason: reason,
		change: func(a *Admin, w *Word) { a.ForcedDown = w },
		holds:  func(s *Service) bool { return s.ForcedDown != nil && *s.ForcedDown },
	}
}

// ToForceUp lifts a ToForceDown: observation counts again.
func ToForceUp() Wish {
	return Wish{
		change: func(a *Admin, _ *Word) { a.ForcedDown = nil },
		holds:  func(s *Service) bool { return s.ForcedDown != nil && !*s.ForcedDown },
	}
}

// Want makes a wish come true and gives the row as read back. A name of which nothing is known is ErrNotFound, unless the wish
// says Create. One that has an admin record only is known, for what was said must be taken back before the service comes, too; what
// is given then is no row, and tells the status alone.
func (o *Operator) Want(ctx context.Context, name Name, wish Wish) (*Service, error) {
	err := o.retry(ctx, name, func(e *Entry) (clientv3.Txn, error) {
		if !e.Listed() && e.Admin.Rev == 0 && !wish.create {
			return nil, fmt.Errorf("%s: %w", name, ErrNotFound)
		}
		if err := o.selected(e); err != nil {
			return nil, err
		}
		admin, err := o.admin(e)
		if err != nil {
			return nil, err
		}
		wish.change(admin, &Word{Reason: wish.reason, By: o.by, At: stamp(o.now())})
		value, err := EncodeAdmin(admin)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return o.client.Txn(ctx).If(o.asRead(e)...).Then(clientv3.OpPut(o.keys.Admin(name), string(value))), nil
	})
	if err != nil {
		return nil, err
	}
	return o.readBack(ctx, name, wish.holds)
}

// selected says whether the row is one of those that may be changed.
func (o *Operator) selected(e *Entry) error {
	if row := e.Service(); !o.only.Match(&row) {
		return fmt.Errorf("%s: %w", e.Name, ErrUnselected)
	}
	return nil
}

// asRead compares what a change of the admin record was made of. The service's own writes do not matter to it, unless they decide
// whether the row is selected.
func (o *Operator) asRead(e *Entry) []clientv3.Cmp {
	same := []clientv3.Cmp{unchanged(o.keys.Admin(e.Name), e.Admin.Rev)}
	if o.only != (Filter{}) {
		same = append(same, unchanged(o.keys.Record(e.Name), e.Record.Rev), unchanged(o.keys.Alive(e.Name), e.Alive.Rev))
	}
	return same
}

// errNotSo is an answer of etcd that it wrote what is not there.
var errNotSo = errors.New("etcd took the change, but it is not there: somebody else changed it in the same moment; look again")

func (o *Operator) readBack(ctx context.Context, name Name, holds func(*Service) bool) (*Service, error) {
	e, err := o.read(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading %s back: %w", name, err)
	}
	row := e.Service()
	if !holds(&row) {
		return &row, fmt.Errorf("%s: %w", name, errNotSo)
	}
	return &row, nil
}

// admin gives the admin record to be changed: a copy, or a new one.
func (o *Operator) admin(e *Entry) (*Admin, error) {
	switch {
	case e.Admin.Err != nil:
		return nil, &UnreadableError{Key: o.keys.Admin(e.Name), Err: e.Admin.Err}
	case e.Admin.Value == nil:
		return &Admin{Schema: Schema}, nil
	}
	admin := *e.Admin.Value
	return &admin, nil
}

// retry reads the name, has a transaction made of it, and commits; while somebody else is faster it begins again. No
// transaction means that nothing is to be done.
func (o *Operator) retry(ctx context.Context, name Name, make func(*Entry) (clientv3.Txn, error)) error {
	if err := name.Validate(); err != nil {
		return err
	}
	for {
		e, err := o.read(ctx, name)
		if err != nil {
			return err
		}
		txn, err := make(e)
		if err != nil || txn == nil {
			return err
		}
		resp, err := txn.Commit()
		if err != nil || resp.Succeeded {
			return err
		}
	}
}

// read gives the keys of a name at one revision.
func (o *Operator) read(ctx context.Context, name Name) (*Entry, error) {
	keys := o.keys.of(name)
	resp, err := o.client.Txn(ctx).Then(
		clientv3.OpGet(string(keys.alive)), clientv3.OpGet(string(keys.record)), clientv3.OpGet(string(keys.admin)),
	).Commit()
	if err != nil {
		return nil, err
	}
	out := keys.result(true, resp.Header.Revision, resp.Responses)
	e := &Entry{Name: name}
	for family, kv := range map[Family]*mvccpb.KeyValue{FamilyRecord: out.record, FamilyAlive: out.alive, FamilyAdmin: out.admin} {
		if kv != nil {
			e.Put(family, kv)
		}
	}
	return e, nil
}

// Get gives the row of one name, and what is wrong with its keys. The time of the last beat is not asked for.
func (o *Operator) Get(ctx context.Context, name Name) (*Service, []Warning, error) {
	if err := name.Validate(); err != nil {
		return nil, nil, err
	}
	e, err := o.read(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if !e.Listed() {
		return nil, e.Warnings(o.keys), fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	row := e.Service()
	return &row, e.Warnings(o.keys), nil
}

func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}
