package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

// topFrame is how many lines the screen has around the rows: two of counts, the titles, and the keys.
const topFrame = 4

// room is how many rows fit.
func (m *topModel) room() int {
	lines := m.height - topFrame
	if m.stale {
		lines--
	}
	return max(lines, 1)
}

// draw gives the whole screen.
func (m *topModel) draw(colored bool) string {
	lines := m.head()
	if m.open {
		lines = append(lines, m.opened()...)
	} else {
		lines = append(lines, m.table()...)
	}
	room := m.height - 1
	for len(lines) < room {
		lines = append(lines, "")
	}
	lines = append(lines[:room], m.foot())
	for i, line := range lines {
		lines[i] = m.style(fit(line, m.width), i, colored)
	}
	return strings.Join(lines, "\n")
}

// head counts: all, and by zone.
func (m *topModel) head() []string {
	up, disabled := 0, 0
	zones := make(map[string][2]int) // up, all
	for _, row := range m.rows {
		zone := orUnknown(row.Zone)
		n := zones[zone]
		n[1]++
		if row.State == registry.Up {
			up++
			n[0]++
		}
		if row.Status != nil && *row.Status == registry.Disabled {
			disabled++
		}
		zones[zone] = n
	}
	first := fmt.Sprintf("hbctl top   cluster %s  revision %d   %d instances: %d up, %d down, %d disabled", clusterID(m.cluster), m.revision, len(m.rows), up, len(m.rows)-up, disabled)
	if m.warned > 0 {
		first += fmt.Sprintf(", %d warnings", m.warned)
	}
	if !m.synced {
		first = "hbctl top   reading what is there"
	}
	var parts []string
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		parts = append(parts, fmt.Sprintf("%s %d/%d up", printable(zone), zones[zone][0], zones[zone][1]))
	}
	lines := []string{first, strings.Join(parts, "   ")}
	if m.stale {
		lines = append(lines, fmt.Sprintf("STALE for %s: contact with etcd is lost (%s); what is shown is what was known then", age(&m.since, m.now), m.reason))
	}
	return lines
}

// table shows the rows that fit on the screen.
func (m *topModel) table() []string {
	cols := columns(false, true, m.now)
	cols = append(cols[:5:5],
		column{"SINCE", func(s *registry.Service) string { return age(s.Since, m.now) }},
		column{"CAUSE", func(s *registry.Service) string { return orUnknown(s.Cause) }},
	)
	rows := [][]string{make([]string, len(cols))}
	widths := make([]int, len(cols))
	for i, c := range cols {
		rows[0][i], widths[i] = c.title, len(c.title)
	}
	end := min(len(m.shown), m.first+m.room())
	for _, name := range m.shown[min(m.first, end):end] {
		service := m.rows[name]
		row := make([]string, len(cols))
		for i, c := range cols {
			row[i] = cell(c.value(&service))
			widths[i] = max(widths[i], columnsOf(row[i]))
		}
		rows = append(rows, row)
	}
	lines := make([]string, len(rows))
	for i, row := range rows {
		mark := "  "
		if i > 0 && m.shown[m.first+i-1] == m.selected {
			mark = "> "
		}
		var b strings.Builder
		b.WriteString(mark)
		for j, text := range row {
			b.WriteString(text + strings.Repeat(" ", widths[j]-columnsOf(text)+2))
		}
		lines[i] = strings.TrimRight(b.String(), " ")
	}
	return lines
}

// opened shows one instance: its fields, and what happened to it.
func (m *topModel) opened() []string {
	lines := []string{m.selected.String()}
	row, there := m.rows[m.selected]
	if !there {
		lines = append(lines, "  it is gone")
	} else {
		for _, f := range fieldsOf(&row) {
			if f.value != nil {
				lines = append(lines, fmt.Sprintf("  %-16s %s", title(f.name), showValue(f.value, false, false, m.now)))
			}
		}
	}
	lines = append(lines, "Last events, the newest first:")
	events := m.happened[m.selected]
	for i := len(events) - 1; i >= 0; i-- {
		e := &events[i].event
		var d details
		d.describe(&watchLine{kind: string(e.Kind), event: e, service: &e.Service})
		lines = append(lines, fmt.Sprintf("  %s %s %s", stamp(&events[i].at), e.Kind, strings.Join(d, " ")))
	}
	if len(events) == 0 {
		lines = append(lines, "  none since top began")
	}
	return lines
}

func (m *topModel) foot() string {
	if m.typing {
		return "filter: " + printable(m.filter) + "_   enter keeps it, escape drops it"
	}
	foot := fmt.Sprintf("%d shown, by %s", len(m.shown), topSorts[m.sort].name)
	if m.reverse {
		foot += " backwards"
	}
	if m.onlyDown {
		foot += ", only down"
	}
	if m.filter != "" {
		foot += ", with " + quoteShort(m.filter)
	}
	return foot + "   enter open  / filter  s sort  r reverse  d down  q leave"
}

// style colours what matters, by line.
func (m *topModel) style(line string, number int, colored bool) string {
	const bold, inverse = "\x1b[1m", "\x1b[7m"
	if !colored {
		return line
	}
	switch {
	case strings.HasPrefix(line, "STALE"):
		return yellow + line + reset
	case number == 0:
		return bold + line + reset
	case strings.HasPrefix(line, "> "):
		return inverse + line + reset
	case !m.open && number > 1:
		return paintWord(line, " "+string(registry.Down)+" ", red, paintWord(line, " "+string(registry.Up)+" ", green, line))
	case m.open && strings.HasPrefix(line, "  "):
		return paintWord(line, " "+string(watcher.Down)+" ", red, line)
	}
	return line
}

// paintWord colours the first of a word in the line, or gives what else is to be shown.
func paintWord(line, word, color, otherwise string) string {
	before, after, found := strings.Cut(line, word)
	if !found {
		return otherwise
	}
	return before + " " + color + strings.TrimSpace(word) + reset + " " + after
}

// fit cuts a line to the width of the screen.
func fit(line string, width int) string {
	if columnsOf(line) <= width {
		return line
	}
	n := 0
	for i, r := range line {
		w := columnsOf(string(r))
		if n+w > width-1 {
			return line[:i] + "…"
		}
		n += w
	}
	return line
}
