//go:build linux

package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var (
	duration = flag.Duration("chaos.duration", 0, "run random rounds for this long; 0: the short selection")
	seed     = flag.Uint64("chaos.seed", 0, "of the first round; 0: a random one. The others follow from it")
	keep     = flag.String("chaos.keep", "", "keep all histories in this directory, not only those of rounds that failed")
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
	if *duration == 0 {
		for _, s := range short {
			t.Run(fmt.Sprint("seed ", s.seed), func(t *testing.T) { play1(t, makePlan(s.seed, s.length, s.mixed)) })
		}
		return
	}
	first := *seed
	if first == 0 {
		first = rand.Uint64()>>1 | 1
	}
	t.Logf("first seed %d", first)
	rng := rand.New(rand.NewPCG(first, first))
	for end := time.Now().Add(*duration); time.Now().Before(end) && !t.Failed(); {
		p := makePlan(first, roundLength, rng.IntN(3) > 0)
		t.Run(fmt.Sprint("seed ", p.Seed), func(t *testing.T) { play1(t, p) })
		first = rng.Uint64()>>1 | 1
	}
}

func play1(t *testing.T, p *plan) {
	dir := directory(t, p.Seed)
	for _, s := range p.Steps {
		t.Logf("%s", s)
	}
	r := newRound(t, p, dir)
	r.run(t.Context())
	records := r.history(t.Context())
	t.Logf("%d records in %s", len(records), dir)
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
