//go:build linux

package chaos

import (
	"reflect"
	"testing"
	"time"
)

// A seed is worth nothing if it does not give the same plan again.
func TestSeedReproducesThePlan(t *testing.T) {
	for seed := range uint64(200) {
		mixed := seed%2 == 0
		one, two := makePlan(seed, time.Minute, mixed), makePlan(seed, time.Minute, mixed)
		if !reflect.DeepEqual(one, two) {
			t.Fatalf("seed %d gives two plans", seed)
		}
		if other := makePlan(seed+1000, time.Minute, mixed); reflect.DeepEqual(one.Steps, other.Steps) {
			t.Errorf("seeds %d and %d give the same steps", seed, seed+1000)
		}
	}
}

// Steps that share what they break must not overlap, or one would mend what the other has broken.
func TestPlanIsSound(t *testing.T) {
	done := make(map[deed]int)
	for seed := range uint64(200) {
		mixed := seed%2 == 0
		p := makePlan(seed, time.Minute, mixed)
		until, last := make(map[string]time.Duration), time.Duration(0)
		for _, s := range p.Steps {
			done[s.Deed]++
			if s.At < until[s.Lane] || s.At < last || s.At+s.For > p.Length {
				t.Errorf("seed %d: %s comes before %v, or ends after %v", seed, s, max(until[s.Lane], last), p.Length)
			}
			if !mixed && len(until) > 1 {
				t.Errorf("seed %d: more than one lane, though faults come one by one", seed)
			}
			until[s.Lane], last = s.At+s.For, s.At
			if s.Name < 0 || s.Name >= holderCount*namesEach || p.name(s.Name).TTL < 2*time.Second {
				t.Errorf("seed %d: name %d", seed, s.Name)
			}
		}
	}
	for _, list := range append([][]chance{holderDeeds, memberDeeds, storeDeeds, operatorDeeds}, readerDeeds[:]...) {
		for _, c := range list {
			if done[c.deed] == 0 {
				t.Errorf("%q is never done", c.deed)
			}
		}
	}
}
