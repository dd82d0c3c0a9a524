package main

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"

	"github.com/hbctl/hbctl/internal/bench"
)

// The picture of a curve: four panels, each with two logarithmic axes, so that what grows with the number of instances is
// a line as steep as the dotted one.
const (
	pictureWidth, pictureHeight = 960, 760
	panelWidth, panelHeight     = 370, 240
	panelLeft, panelTop         = 80, 100 // of the first one, inside its axes
	panelRight, panelBelow      = 470, 340

	oursColor, rawColor, inkColor, gridColor = "#1f5fa8", "#c05a1c", "#222222", "#dddddd"

	solid, dashed, dotted = "none", "6 4", "1 4" // of lines
)

// curvePanel is one panel: a cost, ours and raw.
type curvePanel struct {
	title string
	unit  bench.Unit
	of    func(*bench.Point) bench.Pair
}

var curvePanels = []curvePanel{
	{"register all", bench.Seconds, func(p *bench.Point) bench.Pair { return p.Register }},
	{"list all", bench.Seconds, func(p *bench.Point) bench.Pair { return p.List }},
	{"memory of a watcher", bench.Bytes, func(p *bench.Point) bench.Pair { return p.Watch }},
	{"renew all at TTL 30 s, CPU of a core", bench.Percent, func(p *bench.Point) bench.Pair { return p.Renew }},
}

// writeCurve draws the curve as SVG.
func writeCurve(w io.Writer, points []bench.Point) error {
	g := &svg{out: bufio.NewWriter(w)}
	g.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" fill="%s">`+"\n",
		pictureWidth, pictureHeight, pictureWidth, pictureHeight, inkColor)
	g.printf(`<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", pictureWidth, pictureHeight)
	g.text(panelLeft, 32, "start", 18, "What instances cost, hbctl and the plain etcd client")
	x := float64(panelLeft)
	for _, e := range []struct{ name, color, dashes string }{{"hbctl", oursColor, solid}, {"raw", rawColor, dashed}, {"linear", inkColor, dotted}} {
		g.line(x, 50, x+30, 50, e.color, e.dashes, 2)
		g.text(x+36, 54, "start", 13, e.name)
		x += 110
	}
	for i, panel := range curvePanels {
		panel.draw(g, panelLeft+float64(i%2)*panelRight, panelTop+float64(i/2)*panelBelow, points)
	}
	g.printf("</svg>\n")
	return g.out.Flush()
}

// svg writes elements.
type svg struct{ out *bufio.Writer }

func (g *svg) printf(format string, args ...any) { fmt.Fprintf(g.out, format, args...) }

func (g *svg) line(x1, y1, x2, y2 float64, color, dashes string, width float64) {
	g.printf(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g" stroke-dasharray="%s"/>`+"\n", x1, y1, x2, y2, color, width, dashes)
}

func (g *svg) text(x, y float64, anchor string, size int, text string) {
	var escaped bytes.Buffer
	_ = xml.EscapeText(&escaped, []byte(text)) // a bytes.Buffer takes everything
	g.printf(`<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d">%s</text>`+"\n", x, y, anchor, size, escaped.String())
}

// axis is a logarithmic axis of whole decades.
type axis struct {
	low, high float64 // powers of ten
	from, to  float64 // where they are
}

// newAxis covers the values; those that have no logarithm are left out, and without any it is one decade.
func newAxis(values []float64, from, to float64) axis {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v > 0 && !math.IsInf(v, 0) {
			low, high = min(low, math.Floor(math.Log10(v))), max(high, math.Ceil(math.Log10(v)))
		}
	}
	if low > high {
		low, high = 0, 1
	}
	if low == high {
		high++
	}
	return axis{low: low, high: high, from: from, to: to}
}

func (a axis) at(v float64) float64 {
	return a.from + (math.Log10(v)-a.low)/(a.high-a.low)*(a.to-a.from)
}

// ticks are the powers of ten on it.
func (a axis) ticks() []float64 {
	var ticks []float64
	for e := a.low; e <= a.high; e++ {
		ticks = append(ticks, math.Pow(10, e))
	}
	return ticks
}

// mark is a point to be drawn.
type mark struct{ n, v float64 }

func (p *curvePanel) marks(points []bench.Point, of func(bench.Pair) *float64) []mark {
	var marks []mark
	for i := range points {
		if v := of(p.of(&points[i])); v != nil && *v > 0 {
			marks = append(marks, mark{float64(points[i].N), *v})
		}
	}
	return marks
}

func (p *curvePanel) draw(g *svg, left, top float64, points []bench.Point) {
	ours := p.marks(points, func(pair bench.Pair) *float64 { return pair.Ours })
	raw := p.marks(points, func(pair bench.Pair) *float64 { return pair.Raw })
	var ns, vs []float64
	for _, m := range append(append([]mark{}, ours...), raw...) {
		ns, vs = append(ns, m.n), append(vs, m.v)
	}
	x, y := newAxis(ns, left, left+panelWidth), newAxis(vs, top+panelHeight, top)
	g.text(left, top-10, "start", 14, p.title)
	for _, n := range x.ticks() {
		g.line(x.at(n), top, x.at(n), top+panelHeight, gridColor, solid, 1)
		g.text(x.at(n), top+panelHeight+18, "middle", 12, count(n))
	}
	for _, v := range y.ticks() {
		g.line(left, y.at(v), left+panelWidth, y.at(v), gridColor, solid, 1)
		g.text(left-6, y.at(v)+4, "end", 12, tickText(v, p.unit))
	}
	g.text(left+panelWidth/2, top+panelHeight+36, "middle", 12, "instances")
	if len(ours) > 0 {
		p.drawLinear(g, x, y, ours[0])
	}
	drawMarks(g, x, y, raw, rawColor, dashed)
	drawMarks(g, x, y, ours, oursColor, solid)
}

// drawLinear draws what costs that grow with the number would be, from the first point to where it leaves the panel.
func (p *curvePanel) drawLinear(g *svg, x, y axis, first mark) {
	grow := min(math.Pow(10, x.high)/first.n, math.Pow(10, y.high)/first.v)
	g.line(x.at(first.n), y.at(first.v), x.at(first.n*grow), y.at(first.v*grow), inkColor, dotted, 1.5)
}

func drawMarks(g *svg, x, y axis, marks []mark, color, dashes string) {
	for i, m := range marks {
		if i > 0 {
			g.line(x.at(marks[i-1].n), y.at(marks[i-1].v), x.at(m.n), y.at(m.v), color, dashes, 2)
		}
		g.printf(`<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x.at(m.n), y.at(m.v), color)
	}
}

// count shows a number of instances as people write it.
func count(n float64) string {
	digits := fmt.Sprintf("%.0f", n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// tickText shows a power of ten with its unit.
func tickText(v float64, unit bench.Unit) string {
	scale := func(steps ...string) string {
		i := 0
		for v >= 999 && i < len(steps)-1 {
			v, i = v/1000, i+1
		}
		return fmt.Sprintf("%.3g", v) + " " + steps[i]
	}
	switch unit {
	case bench.Seconds:
		if v < 0.999 {
			v *= 1e6
			return scale("us", "ms", "s")
		}
		return fmt.Sprintf("%.0f s", v)
	case bench.Bytes:
		return scale("B", "kB", "MB", "GB")
	}
	return fmt.Sprintf("%.3g %s", v, unit)
}
