package bench

import "math"

// Unit says what a figure counts.
type Unit string

// The units.
const (
	PerSecond Unit = "1/s"
	Seconds   Unit = "s"
	Bytes     Unit = "B"
	Percent   Unit = "%" // of one core
	Count     Unit = "1"
)

// Better says which way is better.
type Better string

// The ways.
const (
	More    Better = "more"
	Less    Better = "less"
	Neither Better = "neither"
)

// Result is one figure, ours beside raw: medians of the runs, and the runs. What was not measured, or has no meaning, is nil.
type Result struct {
	Work      string    `json:"work"`
	Measure   string    `json:"measure"`
	Unit      Unit      `json:"unit"`
	Better    Better    `json:"better"`
	Ours      *float64  `json:"hbctl"`
	Raw       *float64  `json:"raw"`
	Ratio     *float64  `json:"ratio"` // ours / raw
	OursEach  []float64 `json:"hbctl_runs"`
	RawEach   []float64 `json:"raw_runs"`
	Instances int       `json:"n"` // how many it was measured with
}

// settle works out the medians and their ratio.
func (r *Result) settle() {
	r.Ours, r.Raw = known(Median(r.OursEach)), known(Median(r.RawEach))
	r.Ratio = nil
	if r.Ours != nil && r.Raw != nil {
		r.Ratio = known(*r.Ours / *r.Raw)
	}
}

// known gives nil for what is no number: 0/0 is no ratio.
func known(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
