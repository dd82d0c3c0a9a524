package lease_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hbctl/hbctl/lease"
)

// recorder is a call that notes when it was made, in whole and parts of seconds since it was made itself.
type recorder struct {
	t     *testing.T
	begin time.Time
	lasts func(run int) time.Duration // how long each run takes; nil: no time
	fails func(run int) error         // nil: never

	mu     sync.Mutex
	active bool
	starts []time.Duration
}

func record(t *testing.T) *recorder { return &recorder{t: t, begin: time.Now()} }

func (r *recorder) call(context.Context) error {
	r.mu.Lock()
	if r.active {
		r.t.Error("two runs at once")
	}
	r.active = true
	run := len(r.starts)
	r.starts = append(r.starts, time.Since(r.begin))
	r.mu.Unlock()
	if r.lasts != nil {
		time.Sleep(r.lasts(run))
	}
	r.mu.Lock()
	r.active = false
	r.mu.Unlock()
	if r.fails != nil {
		return r.fails(run)
	}
	return nil
}

// started gives when the runs began, in order.
func (r *recorder) started() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.starts)
}

func (r *recorder) expect(seconds ...float64) {
	r.t.Helper()
	var want []time.Duration
	for _, s := range seconds {
		want = append(want, time.Duration(s*float64(time.Second)))
	}
	if got := r.started(); !slices.Equal(got, want) {
		r.t.Errorf("runs began at %v, want %v", got, want)
	}
}

// run makes a loop and runs it; the result of Run arrives on the channel.
func run(ctx context.Context, t *testing.T, cfg lease.LoopConfig, call func(context.Context) error) (*lease.LoopingCall, <-chan error) {
	t.Helper()
	l, err := lease.NewLoopingCall(cfg, call)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- l.Run(ctx) }()
	return l, result
}

func TestLoopTiming(t *testing.T) {
	const s = time.Second
	takes := func(lasts ...time.Duration) func(int) time.Duration {
		return func(run int) time.Duration {
			if run < len(lasts) {
				return lasts[run]
			}
			return 0
		}
	}
	for _, tt := range []struct {
		name     string
		delay    time.Duration
		lasts    func(int) time.Duration
		starts   []float64
		overruns []time.Duration
	}{
		{name: "at once without a delay", starts: []float64{0, 10, 20, 30}},
		{name: "after the initial delay", delay: 3 * s, starts: []float64{3, 13, 23, 33}},
		{name: "a delay above the interval", delay: 25 * s, starts: []float64{25, 35}},
		{name: "from start to start, not from end to start", lasts: takes(4*s, 9*s, s), starts: []float64{0, 10, 20, 30}},
		{name: "a run as long as the interval is none too long", lasts: takes(10*s, 10*s), starts: []float64{0, 10, 20, 30}},
		{name: "after an overrun at once", lasts: takes(s, 15*s), starts: []float64{0, 10, 25, 35}, overruns: []time.Duration{5 * s}},
		{name: "overruns in a row", lasts: takes(12*s, 11*s, 10500*time.Millisecond), starts: []float64{0, 12, 23, 33.5}, overruns: []time.Duration{2 * s, s, s / 2}},
		{name: "missed runs are not made up for", lasts: takes(34 * s), starts: []float64{0, 34}, overruns: []time.Duration{24 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := record(t)
				r.lasts = tt.lasts
				var overruns []time.Duration
				l, result := run(t.Context(), t, lease.LoopConfig{
					Interval: 10 * s, InitialDelay: tt.delay,
					OnOverrun: func(by time.Duration) { overruns = append(overruns, by) },
				}, r.call)
				time.Sleep(39 * s)
				l.Stop()
				if err := <-result; err != nil {
					t.Errorf("Run returned %v, want nil", err)
				}
				r.expect(tt.starts...)
				if !slices.Equal(overruns, tt.overruns) {
					t.Errorf("overruns by %v, want %v", overruns, tt.overruns)
				}
			})
		})
	}
}

func TestLoopJitter(t *testing.T) {
	const interval, runs = 10 * time.Second, 2000
	for _, fraction := range []float64{0, 0.1, 0.5, 1} {
		synctest.Test(t, func(t *testing.T) {
			r := record(t)
			done := make(chan struct{})
			r.fails = func(run int) error {
				if run == runs {
					close(done)
				}
				return nil
			}
			l, result := run(t.Context(), t, lease.LoopConfig{Interval: interval, Jitter: fraction}, r.call)
			<-done
			l.Stop()
			t.Logf("ended: %v", <-result)
			least, most := time.Duration(float64(interval)*(1-fraction)), interval
			shortest, longest := interval, time.Duration(0)
			starts := r.started()
			for i := range runs {
				gap := starts[i+1] - starts[i]
				shortest, longest = min(shortest, gap), max(longest, gap)
			}
			spread := (most - least) / 20
			if shortest < least || longest > most || shortest > least+spread || longest < most-spread {
				t.Errorf("jitter %v: intervals from %v to %v, want all of %v to %v", fraction, shortest, longest, least, most)
			}
		})
	}
}

func TestLoopStopLetsTheRunFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		finished := false
		l, result := run(t.Context(), t, lease.LoopConfig{Interval: time.Second}, func(ctx context.Context) error {
			_ = r.call(ctx)
			time.Sleep(5 * time.Second)
			finished = ctx.Err() == nil
			return nil
		})
		time.Sleep(2 * time.Second)
		l.Stop()
		l.Stop()
		if took := time.Since(r.begin); took != 2*time.Second {
			t.Errorf("Stop waited until %v", took)
		}
		if err := l.Wait(t.Context()); err != nil {
			t.Errorf("Wait returned %v, want nil", err)
		}
		if took := time.Since(r.begin); took != 5*time.Second || !finished {
			t.Errorf("ended after %v, finished %v; want 5s with the run finished", took, finished)
		}
		if err := <-result; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		r.expect(0)
	})
}

func TestLoopStopBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 { // the first run is due at once too, so which one is seen first is chance
			r := record(t)
			l, err := lease.NewLoopingCall(lease.LoopConfig{Interval: time.Second}, r.call)
			if err != nil {
				t.Fatal(err)
			}
			l.Stop()
			if err := l.Run(t.Context()); err != nil {
				t.Errorf("Run returned %v, want nil", err)
			}
			r.expect()
		}
	})
}

func TestLoopEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := record(t)
		l, result := run(ctx, t, lease.LoopConfig{
			Interval: 10 * time.Second,
			OnError:  func(err error) { t.Errorf("told of %v, which only says that the loop ends", err) },
		}, func(ctx context.Context) error {
			_ = r.call(ctx)
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		time.Sleep(20500 * time.Millisecond)
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want context.Canceled", err)
		}
		if err := l.Wait(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait returned %v, want context.Canceled", err)
		}
		r.expect(0, 10, 20)
	})
}

func TestLoopWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, result := run(t.Context(), t, lease.LoopConfig{Interval: time.Second}, record(t).call)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := l.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait returned %v while the loop runs, want its context's error", err)
		}
		l.Stop()
		t.Logf("ended: %v", <-result)
	})
}

func TestLoopRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		l, result := run(t.Context(), t, lease.LoopConfig{Interval: time.Minute}, r.call)
		synctest.Wait()
		if err := l.Run(t.Context()); !errors.Is(err, lease.ErrStarted) {
			t.Errorf("second Run while it runs: %v, want ErrStarted", err)
		}
		l.Stop()
		t.Logf("ended: %v", <-result)
		if err := l.Run(t.Context()); !errors.Is(err, lease.ErrStarted) {
			t.Errorf("second Run after the end: %v, want ErrStarted", err)
		}
		r.expect(0)
	})
}

func TestLoopErrors(t *testing.T) {
	broken := errors.New("broken")
	t.Run("end it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := record(t)
			r.fails = func(run int) error {
				if run == 2 {
					return broken
				}
				return nil
			}
			l, result := run(t.Context(), t, lease.LoopConfig{Interval: time.Second}, r.call)
			if err := <-result; !errors.Is(err, broken) {
				t.Errorf("Run returned %v, want the call's error", err)
			}
			if err := l.Wait(t.Context()); !errors.Is(err, broken) {
				t.Errorf("Wait returned %v, want the call's error", err)
			}
			time.Sleep(time.Minute)
			r.expect(0, 1, 2)
		})
	})
	t.Run("are told and it goes on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := record(t)
			r.lasts = func(int) time.Duration { return 1500 * time.Millisecond }
			r.fails = func(int) error { return broken }
			told, overruns := 0, 0
			l, result := run(t.Context(), t, lease.LoopConfig{
				Interval: time.Second,
				OnError: func(err error) {
					if errors.Is(err, broken) {
						told++
					}
				},
				OnOverrun: func(time.Duration) { overruns++ },
			}, r.call)
			time.Sleep(4 * time.Second)
			l.Stop()
			if err := <-result; err != nil {
				t.Errorf("Run returned %v, want nil", err)
			}
			r.expect(0, 1.5, 3)
			if told != 3 || overruns != 3 {
				t.Errorf("%d errors and %d overruns told, want 3 of each", told, overruns)
			}
		})
	})
}

func TestLoopDueAndWake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		var mu sync.Mutex
		at := r.begin.Add(10 * time.Second)
		due := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return at
		}
		set := func(seconds int) {
			mu.Lock()
			defer mu.Unlock()
			at = r.begin.Add(time.Duration(seconds) * time.Second)
		}
		l, result := run(t.Context(), t, lease.LoopConfig{Due: due}, func(ctx context.Context) error {
			err := r.call(ctx)
			set(100)
			return err
		})
		time.Sleep(2 * time.Second)
		set(5) // sooner, but nobody said so
		time.Sleep(2 * time.Second)
		l.Wake()
		time.Sleep(4 * time.Second) // 8: it ran at 5
		set(20)
		l.Wake()
		synctest.Wait()
		set(30) // later again
		l.Wake()
		time.Sleep(32 * time.Second) // 40: it ran at 30
		set(3)                       // long past
		l.Wake()
		time.Sleep(time.Second)
		l.Stop()
		if err := <-result; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		r.expect(5, 30, 40)
	})
}

func TestLoopWakeLeavesAFixedIntervalAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		l, result := run(t.Context(), t, lease.LoopConfig{Interval: 10 * time.Second, InitialDelay: 10 * time.Second}, r.call)
		for range 25 {
			l.Wake()
			time.Sleep(time.Second)
		}
		l.Stop()
		t.Logf("ended: %v", <-result)
		r.expect(10, 20)
	})
}

func TestLoopConfigIsChecked(t *testing.T) {
	due := func() time.Time { return time.Now() }
	for _, tt := range []struct {
		name string
		cfg  lease.LoopConfig
		ok   bool
	}{
		{"interval", lease.LoopConfig{Interval: 1}, true},
		{"due", lease.LoopConfig{Due: due}, true},
		{"all of it", lease.LoopConfig{Interval: time.Second, InitialDelay: time.Hour, Jitter: 1}, true},
		{"nothing", lease.LoopConfig{}, false},
		{"negative interval", lease.LoopConfig{Interval: -time.Second}, false},
		{"negative delay", lease.LoopConfig{Interval: time.Second, InitialDelay: -1}, false},
		{"negative jitter", lease.LoopConfig{Interval: time.Second, Jitter: -0.1}, false},
		{"jitter above the interval", lease.LoopConfig{Interval: time.Second, Jitter: 1.1}, false},
		{"jitter is no number", lease.LoopConfig{Interval: time.Second, Jitter: math.NaN()}, false},
	} {
		_, err := lease.NewLoopingCall(tt.cfg, func(context.Context) error { return nil })
		if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, lease.ErrInvalid) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
