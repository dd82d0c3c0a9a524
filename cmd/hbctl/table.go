package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"

	"github.com/hbctl/hbctl/registry"
)

// unknown is what a table shows for what is not known.
const unknown = "-"

// column is one column of the table.
type column struct {
	title string
	value func(*registry.Service) string
}

// columns gives the columns of the table, in the order that Cinder's service-list has made familiar.
func columns(wide, ages bool, now time.Time) []column {
	when := stamp
	if ages {
		when = func(t *time.Time) string { return age(t, now) }
	}
	list := []column{
		{"BINARY", func(s *registry.Service) string { return s.Binary }},
		{"HOST", func(s *registry.Service) string { return s.Host }},
		{"ZONE", func(s *registry.Service) string { return orUnknown(s.Zone) }},
		{"STATUS", func(s *registry.Service) string { return orUnknown(s.Status) }},
		{"STATE", func(s *registry.Service) string { return string(s.State) }},
		{"UPDATED_AT", func(s *registry.Service) string { return when(s.UpdatedAt) }},
	}
	if !wide {
		return list
	}
	return append(list, []column{
		{"DISABLED_REASON", func(s *registry.Service) string { return orUnknown(s.DisabledReason) }},
		{"CAUSE", func(s *registry.Service) string { return orUnknown(s.Cause) }},
		{"SINCE", func(s *registry.Service) string { return when(s.Since) }},
		{"TTL", func(s *registry.Service) string { return seconds(s.TTLSeconds) }},
		{"REPORTS", func(s *registry.Service) string { return orUnknown(s.ReportCount) }},
		{"INCARNATION", func(s *registry.Service) string { return orUnknown(s.Incarnation) }},
		{"LABELS", func(s *registry.Service) string { return joinLabels(s.Labels) }},
		{"ENDPOINTS", func(s *registry.Service) string { return strings.Join(s.Endpoints, ",") }},
	}...)
}

func orUnknown[T any](v *T) string {
	if v == nil {
		return unknown
	}
	return textOf(*v)
}

func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return fmt.Sprint(v)
}

func seconds(v *int64) string {
	if v == nil {
		return unknown
	}
	return strconv.FormatInt(*v, 10) + "s"
}

// writeTable writes the rows with aligned columns, two blanks apart.
func writeTable(w io.Writer, services []registry.Service, cols []column, colored bool) error {
	t := newTable(bufio.NewWriterSize(w, 64<<10), cols, colored)
	for i := range services {
		if err := t.row(&services[i]); err != nil {
			return err
		}
	}
	return t.end(nil)
}

// A table is aligned, so nothing of it can be written before the last row has come. It keeps no more of them than their text.
type table struct {
	out     *bufio.Writer
	cols    []column
	colored bool
	cells   [][]string
	widths  []int
}

func newTable(out *bufio.Writer, cols []column, colored bool) *table {
	t := &table{out: out, cols: cols, colored: colored, widths: make([]int, len(cols))}
	titles := make([]string, len(cols))
	for i, c := range cols {
		titles[i], t.widths[i] = c.title, len(c.title)
	}
	t.cells = append(t.cells, titles)
	return t
}

func (t *table) begin(uint64, int64) error { return nil }

func (t *table) row(s *registry.Service) error {
	row := make([]string, len(t.cols))
	for j, c := range t.cols {
		row[j] = cell(c.value(s))
		t.widths[j] = max(t.widths[j], columnsOf(row[j]))
	}
	t.cells = append(t.cells, row)
	return nil
}

func (t *table) end([]registry.Warning) error {
	for i, row := range t.cells {
		writeRow(t.out, row, t.widths, t.colored && i > 0)
	}
	return t.out.Flush()
}

func writeRow(out *bufio.Writer, row []string, widths []int, colored bool) {
	for j, text := range row {
		pad := widths[j] - columnsOf(text)
		if colored {
			text = paint(text)
		}
		out.WriteString(text)
		if j < len(row)-1 {
			out.WriteString(strings.Repeat(" ", pad+2))
		}
	}
	out.WriteByte('\n')
}

// cell makes a value fit a table: safe to show, and never empty, so that columns can be counted by scripts.
func cell(s string) string {
	if s == "" {
		return unknown
	}
	return printable(s)
}

// columnsOf counts the columns that a text takes on a screen.
func columnsOf(s string) int {
	n := 0
	for _, r := range s {
		if unicode.In(r, unicode.Mn, unicode.Me) {
			continue // an accent of its own sits on the letter before it
		}
		n++
		if kind := width.LookupRune(r).Kind(); kind == width.EastAsianWide || kind == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}
