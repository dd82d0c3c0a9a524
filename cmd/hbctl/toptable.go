package main

import (
	"slices"
	"strings"

	"github.com/hbctl/hbctl/registry"
)

// namesShrunk is how narrow a column of names may get, so that what follows it is on the screen.
const namesShrunk = 12

// topColumns gives the columns of the table.
func (m *topModel) topColumns() []column {
	list := columns(false, true, m.now)
	return append(list[:5:5],
		column{"SINCE", func(s *registry.Service) string { return age(s.Since, m.now) }},
		column{"CAUSE", func(s *registry.Service) string { return orUnknown(s.Cause) }},
	)
}

// table shows the rows that fit on the screen. The columns are as wide as all rows need, so that they stand still while the
// rows are gone through.
func (m *topModel) table(colored bool) []string {
	cols := m.topColumns()
	widths, titles := make([]int, len(cols)), make([]string, len(cols))
	for i, c := range cols {
		titles[i], widths[i] = c.title, len(c.title)
	}
	end := min(len(m.shown), m.first+m.room())
	first := min(m.first, end)
	var rows [][]string
	for i, name := range m.shown {
		service := m.rows[name]
		row := make([]string, len(cols))
		for j, c := range cols {
			row[j] = cell(c.value(&service))
			widths[j] = max(widths[j], columnsOf(row[j]))
		}
		if i >= first && i < end {
			rows = append(rows, row)
		}
	}
	shrink(widths, m.width)
	lines := []string{m.line("  "+joinCells(titles, widths, false), bold, colored)}
	for i, row := range rows {
		switch selected := m.shown[first+i] == m.selected; {
		case selected:
			lines = append(lines, m.line("> "+joinCells(row, widths, false), inverse, colored))
		case tableWidth(widths) > m.width:
			lines = append(lines, m.line("  "+joinCells(row, widths, false), "", colored)) // cutting would cut through colours
		default:
			lines = append(lines, "  "+joinCells(row, widths, colored))
		}
	}
	return lines
}

// tableWidth is how wide rows of such columns are.
func tableWidth(widths []int) int {
	total := 0
	for _, w := range widths {
		total += 2 + w
	}
	return total
}

// shrink takes from the widest columns of names (binary, host, zone) what is too much for the screen: one long name must
// not push the states of all others out of it.
func shrink(widths []int, screen int) {
	names := widths[:3]
	for over := tableWidth(widths) - screen; over > 0; over-- {
		widest := slices.Index(names, slices.Max(names))
		if names[widest] <= namesShrunk {
			return
		}
		names[widest]--
	}
}

// joinCells makes a line of cells, each cut and padded to its width.
func joinCells(row []string, widths []int, colored bool) string {
	var b strings.Builder
	for j, text := range row {
		text = fit(text, widths[j])
		pad := widths[j] - columnsOf(text) + 2
		if colored && j >= 3 { // a name may be that of a state
			text = paint(text)
		}
		b.WriteString(text)
		if j < len(row)-1 {
			b.WriteString(strings.Repeat(" ", pad))
		}
	}
	return b.String()
}
