package main

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/hbctl/hbctl/internal/bench"
)

// benchReport is what a bench brought.
type benchReport struct {
	Cluster string         `json:"cluster"`
	Etcd    string         `json:"etcd"` // its version
	Own     bool           `json:"own"`  // it was started for the bench
	Prefix  string         `json:"prefix"`
	N       int            `json:"n"`
	Repeats int            `json:"repeats"`
	Seconds float64        `json:"duration_seconds"`
	Results []bench.Result `json:"results"`
	Curve   []bench.Point  `json:"curve"`

	curve bool
}

func (r *benchReport) empty() bool { return len(r.Results) == 0 && len(r.Curve) == 0 }

func (r *benchReport) write(w io.Writer, format string) error {
	if format == "json" {
		return jsonLine(w, r)
	}
	cells := r.rows()
	if r.curve {
		cells = curveRows(r.Curve)
	}
	if format == "markdown" {
		return writeMarkdown(w, cells)
	}
	return writeCells(w, cells)
}

func (r *benchReport) rows() [][]string {
	cells := [][]string{{"WORK", "MEASURE", "N", "HBCTL", "RAW", "RATIO", "BETTER"}}
	for _, m := range r.Results {
		better := string(m.Better)
		if m.Better == bench.Neither {
			better = unknown
		}
		cells = append(cells, []string{
			m.Work, m.Measure, strconv.Itoa(m.Instances), figure(m.Ours, m.Unit), figure(m.Raw, m.Unit), ratio(m.Ratio), better,
		})
	}
	return cells
}

func curveRows(points []bench.Point) [][]string {
	cells := [][]string{{"INSTANCES", "REGISTER", "RAW", "LIST", "RAW", "WATCH MEMORY", "OF EACH", "RENEW", "RAW"}}
	for _, p := range points {
		var of *float64
		if p.Watch.Ours != nil {
			each := *p.Watch.Ours / float64(p.N)
			of = &each
		}
		cells = append(cells, []string{
			strconv.Itoa(p.N), figure(p.Register.Ours, bench.Seconds), figure(p.Register.Raw, bench.Seconds), figure(p.List.Ours, bench.Seconds),
			figure(p.List.Raw, bench.Seconds), figure(p.Watch.Ours, bench.Bytes), figure(of, bench.Bytes),
			figure(p.Renew.Ours, bench.Percent), figure(p.Renew.Raw, bench.Percent),
		})
	}
	return cells
}

// figure shows a value with its unit, with as many digits as mean something.
func figure(v *float64, unit bench.Unit) string {
	if v == nil {
		return unknown
	}
	switch unit {
	case bench.PerSecond:
		return strconv.FormatFloat(*v, 'f', 0, 64) + "/s"
	case bench.Seconds:
		return seconds3(*v)
	case bench.Bytes:
		return bytes3(*v)
	case bench.Percent:
		return digits3(*v) + "%"
	}
	return digits3(*v)
}

func seconds3(v float64) string {
	switch abs := math.Abs(v); {
	case abs < 1e-3:
		return digits3(v*1e6) + "us"
	case abs < 1:
		return digits3(v*1e3) + "ms"
	}
	return digits3(v) + "s"
}

func bytes3(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1e6:
		return digits3(v/1e6) + "MB"
	case abs >= 1e4:
		return digits3(v/1e3) + "kB"
	}
	return strconv.FormatFloat(v, 'f', 0, 64) + "B"
}

// digits3 shows three digits, or all before the point.
func digits3(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func ratio(v *float64) string {
	if v == nil {
		return unknown
	}
	return digits3(*v)
}

// writeCells writes a table, its titles first.
func writeCells(w io.Writer, cells [][]string) error {
	widths := make([]int, len(cells[0]))
	for _, row := range cells {
		for j, text := range row {
			widths[j] = max(widths[j], columnsOf(text))
		}
	}
	out := bufio.NewWriter(w)
	for _, row := range cells {
		writeRow(out, row, widths, false)
	}
	return out.Flush()
}

func writeMarkdown(w io.Writer, cells [][]string) error {
	out := bufio.NewWriter(w)
	for i, row := range cells {
		out.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			out.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return out.Flush()
}
