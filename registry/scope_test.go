package registry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// counted is a context that counts who waits for its end. It is none of the context package's own, so each wait is seen.
type counted struct {
	context.Context
	open *int
}

func (c counted) Value(any) any { return nil }

func (c counted) AfterFunc(f func()) func() bool {
	*c.open++
	stop := context.AfterFunc(c.Context, f)
	return func() bool {
		*c.open--
		return stop()
	}
}

// quiet is a Registry without goroutines, for a test that does the work of its loop.
func quiet() *Registry {
	r := &Registry{
		mail: newMailbox(), regs: make(map[Name]*Registration), scopes: make(map[<-chan struct{}]*scope),
		cfg: Config{OnEvent: func(Event) {}},
	}
	r.watch = newKeyWatch(r)
	return r
}

func (r *Registry) work() {
	for work := r.mail.take(); len(work) > 0; work = r.mail.take() {
		for _, f := range work {
			f()
		}
	}
}

func member(r *Registry) *Registration {
	g := &Registration{registry: r}
	g.stopGates = func() {}
	return g
}

// Whoever comes, goes or ends when: a registration ends with its context and with no other, for the reason of that one; and of a
// context nobody waits for the end but for registrations that live.
func TestScopes(t *testing.T) {
	type life struct {
		ctx    context.Context
		cancel context.CancelCauseFunc
		why    error
		open   *int
	}
	type pair struct {
		g *Registration
		l *life
	}
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) {
			r := quiet()
			var lives []*life
			var members []pair
			type key struct{}
			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				switch kind := rapid.IntRange(0, 9).Draw(t, "step"); {
				case kind == 0 || len(lives) == 0:
					l := &life{why: fmt.Errorf("reason %d", len(lives)), open: new(int)}
					l.ctx, l.cancel = context.WithCancelCause(t.Context())
					if kind == 0 && rapid.Bool().Draw(t, "counted") {
						l.ctx, l.why = counted{l.ctx, l.open}, context.Canceled // of which no other cause can be told
					}
					lives = append(lives, l)
				case kind == 1:
					l := rapid.SampledFrom(lives).Draw(t, "ends")
					l.cancel(l.why)
				case kind == 2:
					synctest.Wait()
					r.work()
				case kind < 5 && len(members) > 0:
					m := rapid.SampledFrom(members).Draw(t, "leaves")
					r.end(m.g, Ended{Cause: CauseLeft}, ErrClosed)
				default:
					m := pair{member(r), rapid.SampledFrom(lives).Draw(t, "context")}
					ctx := m.l.ctx
					if rapid.Bool().Draw(t, "a child of the same end") {
						ctx = context.WithValue(ctx, key{}, len(members))
					}
					r.enter(ctx, m.g)
					members = append(members, m)
				}
			}
			synctest.Wait()
			r.work()
			alive := make(map[<-chan struct{}]bool)
			for i, m := range members {
				switch err := m.g.Err(); {
				case m.l.ctx.Err() == nil && err == nil:
					alive[m.l.ctx.Done()] = true
					if m.g.scope == nil || m.g.scope.members[m.g.place] != m.g {
						t.Fatalf("%d does not know its place", i)
					}
				case m.l.ctx.Err() != nil && err == nil:
					t.Fatalf("%d goes on after its context", i)
				case m.l.ctx.Err() == nil && err != ErrClosed: //nolint:errorlint // it left, and nothing else
					t.Fatalf("%d ended before its context: %v", i, err)
				case err != ErrClosed && !errors.Is(err, m.l.why): //nolint:errorlint // the same
					t.Fatalf("%d ended for the reason of another: %v", i, err)
				case m.g.scope != nil:
					t.Fatalf("%d has ended and is waited for", i)
				}
			}
			if len(r.scopes) != len(alive) {
				t.Fatalf("%d contexts are waited for, want %d", len(r.scopes), len(alive))
			}
			for _, l := range lives {
				if most := len(alive); *l.open > 1 || *l.open > most && l.ctx.Err() == nil {
					t.Fatalf("the end of a context is waited for %d times", *l.open)
				}
				l.cancel(l.why)
			}
			synctest.Wait()
		})
	})
}

// Two contexts that ended before anybody asked for their channels have one and the same, and each its own cause.
func TestScopeOfContextsThatHaveEnded(t *testing.T) {
	r := quiet()
	var members []*Registration
	reasons := []error{errors.New("one"), errors.New("two")}
	for _, why := range reasons {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		g := member(r)
		r.enter(ctx, g)
		members = append(members, g)
	}
	if len(r.scopes) != 0 {
		t.Error("contexts that have ended are waited for")
	}
	r.work()
	for i, g := range members {
		if !errors.Is(g.Err(), reasons[i]) || !errors.Is(g.Err(), ErrClosed) {
			t.Errorf("%d ended for %v", i, g.Err())
		}
	}
}
