package schedules_test

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

var number = flag.Int("schedules", 0, "how many schedules to run; 0: a few hundred")

// Nothing that a run started may outlive it.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever happens, in whatever order: what readers are told is what etcd had, nobody acts who may not, nobody who lives is lost
// and nobody who is dead is kept.
func TestSchedules(t *testing.T) {
	n := count()
	if err := flag.Set("rapid.checks", fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
	tally, begin := newTally(), time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		plan := draw(rt)
		if problems := play(t, plan, tally); len(problems) > 0 {
			rt.Fatalf("%s\n%s", strings.Join(problems, "\n"), plan)
		}
	})
	t.Logf("%d schedules in %v; they contained\n%s", n, time.Since(begin).Round(time.Second), tally)
	if missing := tally.missing(); n >= enough && len(missing) > 0 {
		t.Errorf("none of these happened: %q", missing)
	}
}

// enough is how many schedules contain everything at least once.
const enough = 200

func count() int {
	switch {
	case *number > 0:
		return *number
	case testing.Short():
		return enough / 10
	}
	return enough
}
