//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
)

var (
	duration  = flag.Duration("chaos.duration", 0, "run random rounds for this long; 0: the short selection")
	seed      = flag.Uint64("chaos.seed", 0, "of the first round; 0: a random one. The others follow from it")
	only      = flag.String("chaos.only", "", "these faults alone, one after another, as \"F10,part leader\"")
	judgeOnly = flag.String("chaos.judge", "", "judge the histories in this directory and do nothing else")
	keep      = flag.String("chaos.keep", "", "keep all histories in this directory, not only those of rounds that failed")
)

// roundLength is how long faults last in a round of a long run.
const roundLength = 50 * time.Second

// short is the selection that runs with all other tests: small, fixed, and between them most of what there is.
var short = []struct {
	seed   uint64
	length time.Duration
	mixed  bool
}{
	{seed: 1, length: 20 * time.Second, mixed: true},
	{seed: 2, length: 12 * time.Second, mixed: false},
}

// Nothing that is promised is broken, whatever happens at the same time.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes, and takes a minute")
	}
	sum := newTally()
	if *duration == 0 {
		for _, s := range short {
			carryOut(t, makePlan(s.seed, s.length, s.mixed), sum)
		}
		t.Logf("%s", sum)
		return
	}
	first := *seed
	if first == 0 {
		first = rand.Uint64()>>1 | 1
	}
	t.Logf("first seed %d", first)
	rng, seed := rand.New(rand.NewPCG(first, first)), first
	for end := time.Now().Add(*duration); time.Now().Before(end) && !t.Failed(); {
		p := makePlan(seed, roundLength, rng.IntN(3) > 0)
		if *only != "" {
			p = makePlanOf(seed, roundLength, strings.Split(*only, ",")...)
		}
		carryOut(t, p, sum)
		seed = rng.Uint64()>>1 | 1
	}
	t.Logf("first seed %d: %s", first, sum)
	if *only == "" && sum.verdict() != history.Pass {
		t.Errorf("verdict: %s", sum.verdict())
	}
}

// carryOut runs one round and judges it.
func carryOut(t *testing.T, p *plan, sum *tally) {
	t.Run(fmt.Sprint("seed ", p.Seed), func(t *testing.T) {
		dir := directory(t, p.Seed)
		for _, s := range p.Steps {
			t.Logf("%s", s)
		}
		r := newRound(t, p, dir)
		r.run(t.Context())
		judge(t, r.history(t.Context()), sum)
	})
}

// directory makes the one for the histories of a round. It stays when the round failed.
func directory(t *testing.T, seed uint64) string {
	t.Helper()
	parent := *keep
	if parent == "" {
		parent = os.TempDir()
	}
	dir := filepath.Join(parent, fmt.Sprintf("hbctl-chaos-%d-%d", seed, os.Getpid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || *keep != "" {
			t.Logf("the histories are in %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
