package faults_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/hbctl/hbctl/internal/etcdtest"
)

var (
	long    = flag.Bool("long", false, "run the long variants too: minutes where seconds show the same")
	holders = flag.Int("holders", 0, "how many holders are black-holed in TestF06; 0: as many as a busy machine bears")
)

// atOnce is how many tests run at once unless -parallel says otherwise: they wait for leases most of the time.
const atOnce = "3"

// TestMain runs the tests, or, in a process that a test started, the role that it was given.
func TestMain(m *testing.M) {
	if name := os.Getenv(roleVariable); name != "" {
		os.Exit(play(name))
	}
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set(atOnce)
	}
	defer etcdtest.Alone()()
	goleak.VerifyTestMain(m)
}

// either gives the length of what only shows its length: the long variant, or the one for every day.
func either[T any](every, lengthy T) T {
	if *long {
		return lengthy
	}
	return every
}
