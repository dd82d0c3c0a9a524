package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/registry"
)

// operator gives the one who speaks for the test.
func (r *rig) operator(t *testing.T) *registry.Operator {
	t.Helper()
	o, err := registry.NewOperator(r.client, registry.OperatorConfig{By: "ann@ops1"})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func nameOf(t *testing.T, name string) registry.Name {
	t.Helper()
	n, err := registry.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func want(t *testing.T, o *registry.Operator, name string, wish registry.Wish) *registry.Service {
	t.Helper()
	row, err := o.Want(t.Context(), nameOf(t, name), wish)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// What operators said survives the crash, the restart and the clean stop of the service, and says who said it, when and why.
func TestOperatorsWordStays(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		o := r.operator(t)
		p := r.process(t)
		g := p.register(t, "svc/a", 2*time.Second)
		said := time.Now()
		want(t, o, "svc/a", registry.ToDisable("bad disk"))
		row := want(t, o, "svc/a", registry.ToForceDown("smoke"))
		if row.State != registry.Down || !row.Present {
			t.Errorf("forced: state %s, present %v", row.State, row.Present)
		}
		check := func(when string) {
			t.Helper()
			row := r.row(t, "svc/a")
			if *row.Status != registry.Disabled || *row.DisabledReason != "bad disk" || *row.DisabledBy != "ann@ops1" || row.DisabledAt.Sub(said).Abs() > time.Second {
				t.Errorf("%s: disabled %v %v by %v at %v", when, *row.Status, *row.DisabledReason, *row.DisabledBy, row.DisabledAt)
			}
			if !*row.ForcedDown || *row.ForcedReason != "smoke" || *row.ForcedBy != "ann@ops1" || row.State != registry.Down {
				t.Errorf("%s: forced %v for %v by %v, state %s", when, *row.ForcedDown, *row.ForcedReason, *row.ForcedBy, row.State)
			}
		}
		check("while it runs")
		p.crash()
		wait(t, 10*time.Second, "the key goes", func() bool { return !r.row(t, "svc/a").Present })
		check("after a crash")
		again := r.process(t).register(t, "svc/a", 2*time.Second)
		check("after a restart")
		mustClose(t, again.Close)
		check("after a clean stop")
		third := r.process(t).register(t, "svc/a", 2*time.Second)
		want(t, o, "svc/a", registry.ToForceUp())
		if row := want(t, o, "svc/a", registry.ToEnable()); row.State != registry.Up || row.DisabledReason != nil || row.ForcedReason != nil {
			t.Errorf("lifted: %+v", row)
		}
		if !third.Valid() {
			t.Error("the holder was hurt")
		}
		_ = g
	})
}

func TestOperatorRefusals(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		o := r.operator(t)
		if _, err := o.Want(t.Context(), nameOf(t, "svc/none"), registry.ToDisable("x")); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("an unknown name: %v", err)
		}
		if _, err := o.Want(t.Context(), registry.Name{Binary: "a/b", Host: "c"}, registry.ToEnable()); !errors.Is(err, registry.ErrInvalid) {
			t.Errorf("a bad name: %v", err)
		}
		row := want(t, o, "svc/none", registry.ToDisable("not yet").Create())
		if *row.Status != registry.Disabled {
			t.Errorf("created: %+v", row)
		}
		// What was said of one that is not there, or was forgotten, is there to be taken back.
		if row := want(t, o, "svc/none", registry.ToEnable()); *row.Status != registry.Enabled {
			t.Errorf("taken back: %+v", row)
		}
		want(t, o, "svc/none", registry.ToDisable("not yet"))
		g := r.process(t).register(t, "svc/none", 2*time.Second)
		if row := r.row(t, "svc/none"); *row.Status != registry.Disabled || row.State != registry.Up {
			t.Errorf("what was said before it came: %s %s", *row.Status, row.State)
		}
		if _, err := o.Want(t.Context(), g.Name(), registry.ToDisable(strings.Repeat("x", registry.MaxValueBytes))); !errors.Is(err, registry.ErrTooLarge) {
			t.Errorf("a huge reason: %v", err)
		}

		// Data that can't be read is not overwritten, and what this version does not know is kept.
		for junk, readable := range map[string]bool{
			"junk": false, `{"schema":9}`: false, `{"schema":1,"maintenance":{"until":"x"},"disabled":{"reason":"r","ticket":7}}`: true,
		} {
			r.put(t, "/hb/admin/svc/none", junk)
			_, err := o.Want(t.Context(), g.Name(), registry.ToForceDown("f"))
			if unreadable := new(registry.UnreadableError); errors.As(err, &unreadable) == readable {
				t.Errorf("over %s: %v", junk, err)
			}
			now := r.get(t, "/hb/admin/svc/none")
			switch {
			case !readable && now != junk:
				t.Errorf("%s became %s", junk, now)
			case readable && (!strings.Contains(now, `"maintenance":{"until":"x"}`) || !strings.Contains(now, `"ticket":7`) || !strings.Contains(now, "forced_down")):
				t.Errorf("%s became %s", junk, now)
			}
		}
	})
}

func (r *rig) get(t *testing.T, key string) string {
	t.Helper()
	resp, err := r.client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// Operators who change one record at the same time lose nothing of what the other said.
func TestOperatorsAtOnce(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		o := r.operator(t)
		r.process(t).register(t, "svc/a", 10*time.Second)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				wish := registry.ToDisable(fmt.Sprint(i))
				if i%2 == 0 {
					wish = registry.ToForceDown(fmt.Sprint(i))
				}
				if _, err := o.Want(t.Context(), registry.Name{Binary: "svc", Host: "a"}, wish); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if row := r.row(t, "svc/a"); *row.Status != registry.Disabled || !*row.ForcedDown {
			t.Errorf("%s, forced %v: one of the words was lost", *row.Status, *row.ForcedDown)
		}
	})
}

// A liar takes every write and does not carry it out, as Cinder once did.
type liar struct {
	*clientv3.Client
}

type lie struct {
	clientv3.Txn
	writes bool
}

func (l liar) Txn(ctx context.Context) clientv3.Txn { return &lie{Txn: l.Client.Txn(ctx)} }

func (l *lie) If(cs ...clientv3.Cmp) clientv3.Txn { l.Txn = l.Txn.If(cs...); return l }

func (l *lie) Then(ops ...clientv3.Op) clientv3.Txn {
	for _, op := range ops {
		l.writes = l.writes || op.IsPut() || op.IsDelete()
	}
	if !l.writes {
		l.Txn = l.Txn.Then(ops...)
	}
	return l
}

func TestOperatorReadsBack(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		r.process(t).register(t, "svc/a", 10*time.Second)
		o, err := registry.NewOperator(liar{r.client}, registry.OperatorConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if row, err := o.Want(t.Context(), nameOf(t, "svc/a"), registry.ToDisable("x")); err == nil {
			t.Errorf("a write that was not carried out was told as done: %+v", row)
		}
	})
}

func TestForget(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		o := r.operator(t)
		p := r.process(t)
		g := p.register(t, "svc/a", 2*time.Second)
		name := g.Name()
		want(t, o, "svc/a", registry.ToDisable("old"))
		if _, err := o.Forget(t.Context(), name, registry.Forgetting{}); !errors.Is(err, registry.ErrUp) {
			t.Errorf("what is up: %v, want ErrUp", err)
		}
		want(t, o, "svc/a", registry.ToForceDown("x"))
		if _, err := o.Forget(t.Context(), name, registry.Forgetting{}); !errors.Is(err, registry.ErrUp) {
			t.Errorf("what is forced down and present: %v, want ErrUp", err)
		}
		want(t, o, "svc/a", registry.ToForceUp())
		p.crash()
		wait(t, 10*time.Second, "it is down", func() bool { return !r.up(t, "svc/a") })
		was, err := o.Forget(t.Context(), name, registry.Forgetting{})
		if err != nil || was.State != registry.Down {
			t.Errorf("forgot %+v, %v", was, err)
		}
		if _, _, err := o.Get(t.Context(), name); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("it is still there: %v", err)
		}
		if r.get(t, "/hb/admin/svc/a") == "" {
			t.Error("what operators said was forgotten too")
		}
		if _, err := o.Forget(t.Context(), name, registry.Forgetting{}); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("twice: %v, want ErrNotFound", err)
		}
		if _, err := o.Forget(t.Context(), name, registry.Forgetting{Admin: true}); err != nil || r.get(t, "/hb/admin/svc/a") != "" {
			t.Errorf("with --admin: %v, and left is %q", err, r.get(t, "/hb/admin/svc/a"))
		}
		// An immortal key goes with its row.
		r.put(t, "/hb/alive/svc/i", `{"schema":1}`)
		if _, err := o.Forget(t.Context(), nameOf(t, "svc/i"), registry.Forgetting{}); err != nil || r.get(t, "/hb/alive/svc/i") != "" {
			t.Errorf("an immortal one: %v, and left is %q", err, r.get(t, "/hb/alive/svc/i"))
		}
	})
}

func TestEvict(t *testing.T) {
	inFakeTime(t, func(t *testing.T, r *rig) {
		o := r.operator(t)
		p := r.process(t)
		g := p.register(t, "svc/a", 10*time.Second)
		incarnation := g.Incarnation()
		if _, err := o.Forget(t.Context(), g.Name(), registry.Forgetting{Evict: true, Admin: true, Reason: "moved"}); err != nil {
			t.Fatal(err)
		}
		wait(t, time.Second, "the holder ends", func() bool { return errors.Is(g.Err(), registry.ErrEvicted) })
		time.Sleep(time.Minute)
		if _, _, err := o.Get(t.Context(), g.Name()); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("it came back: %v", err)
		}
		if admin := r.get(t, "/hb/admin/svc/a"); !strings.Contains(admin, fmt.Sprintf(`"incarnation":%d`, incarnation)) || !strings.Contains(admin, "ann@ops1") {
			t.Errorf("the mark is %s", admin)
		}
		again := r.process(t).register(t, "svc/a", 10*time.Second)
		if !again.Valid() || again.Incarnation() <= incarnation {
			t.Error("started anew it may not register")
		}
	})
}
