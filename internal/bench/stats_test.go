package bench

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestMedianAndPercentile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values           []float64
		median, p50, p99 float64
	}{
		{[]float64{7}, 7, 7, 7},
		{[]float64{3, 1}, 2, 1, 3},
		{[]float64{9, 1, 5}, 5, 5, 9},
		{[]float64{4, 1, 3, 2}, 2.5, 2, 4},
	} {
		given := slices.Clone(c.values)
		if m, p50, p99 := Median(c.values), Percentile(c.values, 50), Percentile(c.values, 99); m != c.median || p50 != c.p50 || p99 != c.p99 {
			t.Errorf("%v: median %v, p50 %v, p99 %v; want %v, %v, %v", c.values, m, p50, p99, c.median, c.p50, c.p99)
		}
		if !slices.Equal(given, c.values) {
			t.Errorf("the values were put into another order: %v", c.values)
		}
	}
	if !math.IsNaN(Median(nil)) || !math.IsNaN(Percentile(nil, 50)) {
		t.Error("nothing was measured, and there is a figure")
	}
}

// A percentile is one of the values, enough of them do not exceed it, and none that is smaller would do.
func TestPercentileIsTheSmallestThatWillDo(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 100), 1, 300).Draw(t, "values")
		p := float64(rapid.IntRange(1, 100).Draw(t, "p"))
		got := Percentile(values, p)
		upTo, below := 0, 0
		for _, v := range values {
			if v <= got {
				upTo++
			}
			if v < got {
				below++
			}
		}
		want := p / 100 * float64(len(values))
		if float64(upTo) < want-1e-9 || float64(below) >= want-1e-9 || !slices.Contains(values, got) {
			t.Fatalf("p%v of %v is %v: %d do not exceed it, %d are below", p, values, got, upTo, below)
		}
	})
}

func TestSettleLeavesOutWhatHasNoMeaning(t *testing.T) {
	t.Parallel()
	r := Result{OursEach: []float64{2, 4, 6}, RawEach: []float64{8}}
	r.settle()
	if *r.Ours != 4 || *r.Raw != 8 || *r.Ratio != 0.5 {
		t.Errorf("medians %v and %v, ratio %v", *r.Ours, *r.Raw, *r.Ratio)
	}
	for name, r := range map[string]Result{
		"no raw": {OursEach: []float64{1}}, "raw is 0": {OursEach: []float64{1}, RawEach: []float64{0}},
		"both are 0": {OursEach: []float64{0}, RawEach: []float64{0}}, "unknown": {OursEach: []float64{unknown}, RawEach: []float64{1}},
	} {
		if r.settle(); r.Ratio != nil {
			t.Errorf("%s: the ratio is %v", name, *r.Ratio)
		}
	}
}

func TestStatCPU(t *testing.T) {
	t.Parallel()
	for stat, want := range map[string]float64{
		"4711 (hbctl) S 1 4711 4711 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1":    3,
		"4711 (a) b (c) R 1 4711 4711 0 -1 4194304 100 0 0 0 100 0 0 0 20 0 9 0 1\n": 1,
	} {
		if got, known := statCPU([]byte(stat)); !known || got != want {
			t.Errorf("%q: %v, %v; want %v", stat, got, known, want)
		}
	}
	for _, stat := range []string{"", "4711 (hbctl) S 1", "4711 (hbctl) S 1 2 3 4 5 6 7 8 9 10 eleven twelve 13"} {
		if got, known := statCPU([]byte(stat)); known {
			t.Errorf("%q gives %v", stat, got)
		}
	}
}

func TestRenewWindowIsWholeIntervals(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{{"1s", "1s"}, {"7.5s", "7.5s"}, {"8s", "7.5s"}, {"29s", "22.5s"}, {"10m", "10m"}} {
		if got, want := renewWindow(seconds(t, c[0])), seconds(t, c[1]); got != want {
			t.Errorf("%s: %v, want %v", c[0], got, want)
		}
	}
}

func TestCurveSizes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int][]int{
		1: {1}, 1000: {1000}, 3001: {1000, 3000, 3001}, 100_000: {1000, 3000, 10_000, 30_000, 100_000},
		200_000: {1000, 3000, 10_000, 30_000, 100_000, 200_000},
	} {
		if got := CurveSizes(n); !slices.Equal(got, want) {
			t.Errorf("%d: %v, want %v", n, got, want)
		}
	}
}

// Whoever asks for less gets less done to his cluster.
func TestEstimateGrowsWithWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	small := Config{N: 100, Repeats: 1, Duration: seconds(t, "1s")}
	big := Config{N: 1000, Repeats: 3, Duration: seconds(t, "8s")}
	for _, curve := range []bool{false, true} {
		s, b := Estimate(small, curve), Estimate(big, curve)
		if s.Keys < 200 || s.Keys >= b.Keys || s.Leases < 100 || s.Leases >= b.Leases || s.Writes >= b.Writes || s.Time >= b.Time {
			t.Errorf("curve %v: %+v for little, %+v for much", curve, s, b)
		}
	}
	all := Estimate(big, false)
	for _, name := range Works() {
		one := big
		one.Works = []string{name}
		if p := Estimate(one, false); p.Leases == 0 || p.Writes == 0 || p.Time <= 0 || p.Writes >= all.Writes {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
