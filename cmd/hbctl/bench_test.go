package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/hbctl/hbctl/internal/bench"
)

func TestFigures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value float64
		unit  bench.Unit
		want  string
	}{
		{35210.4, bench.PerSecond, "35210/s"},
		{0.000506, bench.Seconds, "506us"},
		{0.00123, bench.Seconds, "1.23ms"},
		{0.2504, bench.Seconds, "250ms"},
		{-0.0042, bench.Seconds, "-4.20ms"},
		{13.72, bench.Seconds, "13.7s"},
		{1432, bench.Bytes, "1432B"},
		{46_800, bench.Bytes, "46.8kB"},
		{46_800_000, bench.Bytes, "46.8MB"},
		{10.71, bench.Percent, "10.7%"},
		{0, bench.Count, "0.00"},
		{1234.5, bench.Count, "1234"},
	} {
		if got := figure(&c.value, c.unit); got != c.want {
			t.Errorf("%v %s: %s, want %s", c.value, c.unit, got, c.want)
		}
	}
	if got := figure(nil, bench.Seconds); got != "-" {
		t.Errorf("what is not known is %q", got)
	}
}

func of(v float64) *float64 { return &v }

// curveOf is a curve in which all costs grow with the number, and raw costs half.
func curveOf(sizes ...int) []bench.Point {
	var points []bench.Point
	for _, n := range sizes {
		v := float64(n)
		pair := func(scale float64) bench.Pair { return bench.Pair{Ours: of(v * scale), Raw: of(v * scale / 2)} }
		points = append(points, bench.Point{N: n, Register: pair(3e-5), List: pair(4e-6), Watch: bench.Pair{Ours: of(590 * v)}, Renew: pair(1e-4)})
	}
	return points
}

func TestBenchViews(t *testing.T) {
	t.Parallel()
	report := benchReport{Results: []bench.Result{
		{Work: "list", Measure: "list to a snapshot in memory", Unit: bench.Seconds, Better: bench.Less, Instances: 1000, Ours: of(0.3), Raw: of(0.2), Ratio: of(1.5)},
		{Work: "renew", Measure: "renewals", Unit: bench.PerSecond, Better: bench.Neither, Instances: 7},
	}}
	views := map[string]string{
		"table": `
WORK   MEASURE                       N     HBCTL  RAW    RATIO  BETTER
list   list to a snapshot in memory  1000  300ms  200ms  1.50   less
renew  renewals                      7     -      -      -      -
`,
		"markdown": `
| WORK | MEASURE | N | HBCTL | RAW | RATIO | BETTER |
|---|---|---|---|---|---|---|
| list | list to a snapshot in memory | 1000 | 300ms | 200ms | 1.50 | less |
| renew | renewals | 7 | - | - | - | - |
`,
	}
	for format, want := range views {
		var b strings.Builder
		if err := report.write(&b, format); err != nil || b.String() != strings.TrimPrefix(want, "\n") {
			t.Errorf("%s: %v\n%s\nwant%s", format, err, b.String(), want)
		}
	}
	curve := benchReport{curve: true, Curve: curveOf(1000)}
	want := `
INSTANCES  REGISTER  RAW     LIST    RAW     WATCH MEMORY  OF EACH  RENEW  RAW
1000       30.0ms    15.0ms  4.00ms  2.00ms  590kB         590B     0.10%  0.05%
`
	var b strings.Builder
	if err := curve.write(&b, "table"); err != nil || b.String() != strings.TrimPrefix(want, "\n") {
		t.Errorf("%v\n%s\nwant%s", err, b.String(), want)
	}
}

// element is an element of the picture.
type element struct {
	name  string
	attrs map[string]string
	text  string
}

func (e *element) number(t *testing.T, attr string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(e.attrs[attr], 64)
	if err != nil {
		t.Fatalf("%s of %+v: %v", attr, e, err)
	}
	return v
}

// draw draws a curve and reads the picture as XML.
func draw(t *testing.T, points []bench.Point) []element {
	t.Helper()
	var b strings.Builder
	if err := writeCurve(&b, points); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Errorf("it is drawn where nobody can look: %s", b.String())
	}
	var elements []element
	for d := xml.NewDecoder(strings.NewReader(b.String())); ; {
		token, err := d.Token()
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attrs: make(map[string]string)}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			elements = append(elements, e)
		case xml.CharData:
			if len(elements) > 0 && elements[len(elements)-1].name == "text" {
				elements[len(elements)-1].text += strings.TrimSpace(string(token))
			}
		}
		if errors.Is(err, io.EOF) {
			return elements
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, b.String())
		}
	}
}

// What grows with the number of instances is drawn with the slope of the dotted line, and everything inside of the picture.
func TestCurvePicture(t *testing.T) {
	t.Parallel()
	elements := draw(t, curveOf(1000, 3000, 10_000, 30_000, 100_000))
	circles, dotted, texts := 0, 0, ""
	var first *element
	for i := range elements {
		e := &elements[i]
		texts += e.text + "\n"
		for _, x := range []string{"x", "x1", "x2", "cx"} {
			if e.attrs[x] != "" && (e.number(t, x) < 0 || e.number(t, x) > pictureWidth) {
				t.Errorf("outside: %+v", e)
			}
		}
		for _, y := range []string{"y", "y1", "y2", "cy"} {
			if e.attrs[y] != "" && (e.number(t, y) < 0 || e.number(t, y) > pictureHeight) {
				t.Errorf("outside: %+v", e)
			}
		}
		switch {
		case e.name == "circle":
			circles++
		case e.name == "line" && e.attrs["stroke-width"] == "1.5":
			dotted++
			first = e
		case e.name == "line" && first != nil && e.attrs["stroke"] == oursColor && e.attrs["stroke-width"] == "2":
			if want, got := slope(t, first), slope(t, e); math.Abs(want-got) > 0.02 {
				t.Errorf("slope %v, linear is %v", got, want)
			}
		}
	}
	if circles != 5*7 || dotted != 4 { // the watcher has no raw beside it
		t.Errorf("%d circles and %d dotted lines", circles, dotted)
	}
	for _, panel := range curvePanels {
		if !strings.Contains(texts, panel.title+"\n") {
			t.Errorf("it does not say %q", panel.title)
		}
	}
	for _, tick := range []string{"1,000", "100,000", "10 ms", "1 s", "1 MB", "100 MB", "1 %"} {
		if !regexp.MustCompile("(?m)^" + tick + "$").MatchString(texts) {
			t.Errorf("no axis has %q:\n%s", tick, texts)
		}
	}
}

func slope(t *testing.T, e *element) float64 {
	t.Helper()
	return (e.number(t, "y2") - e.number(t, "y1")) / (e.number(t, "x2") - e.number(t, "x1"))
}

// One point, none, and what has no logarithm can be drawn too.
func TestCurvePictureOfLittle(t *testing.T) {
	t.Parallel()
	draw(t, nil)
	draw(t, curveOf(1000))
	draw(t, []bench.Point{{N: 20, Register: bench.Pair{Ours: of(0)}, Watch: bench.Pair{Ours: of(-5)}, List: bench.Pair{Ours: of(0.001), Raw: of(0)}}})
}

// What is wrong is said before anything is started or asked.
func TestBenchRefuses(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"--n 0":                     "--n \"0\": want a number from 1 to 1000000",
		"--n many":                  "want a number from 1",
		"--n 1000001":               "want a number from 1",
		"--repeats -1":              "--repeats \"-1\": want a number from 1 to 100",
		"--duration 0s":             "--duration 0s: want more than 0, as 8s",
		"--duration 5":              "the unit is missing",
		"--only list,sing":          "--only \"sing\": want some of register,renew,list,watch,catchup,readers,detect,mass-death,return",
		"--only=":                   "--only is empty",
		"--svg x.svg":               "--svg draws a curve; give --curve too",
		"--svg= --curve":            "--svg is empty",
		"--curve --only list":       "--curve and --only are both given",
		"-o yaml":                   "want one of table, json, markdown",
		"--prefix /":                "would cover the whole key space",
		"--n 150001":                "an etcd of our own has room for 150000",
		"list":                      "unexpected argument \"list\"",
		"--curve --svg /no/such/it": "/no/such/it: no such file or directory",
	} {
		env := map[string]string{"HBCTL_ENDPOINTS": "127.0.0.1:1"}
		if strings.Contains(says, "of our own") {
			env = nil
		}
		o := invocation{env: env}.run(t, append([]string{"bench"}, strings.Fields(args)...)...)
		code := exitUsage
		if strings.Contains(args, "/no/such/it") {
			code = exitFailed
		}
		o.wants(t, code, says)
		if o.stdout != "" || strings.Count(o.stderr, "\n") != 1 {
			t.Errorf("%s: stdout %q, stderr %q", args, o.stdout, o.stderr)
		}
	}
}
