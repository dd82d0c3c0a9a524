package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hbctl/hbctl/registry"
)

// topFrame is how many lines the screen has around the rows: two of counts, the titles, and the keys.
const topFrame = 4

// frame says which of them a screen of this height has. The rows are the last to go.
func (m *topModel) frame() (head int, titles bool, foot int) {
	switch lines := m.height - m.warnings(); {
	case lines >= topFrame+2:
		head, titles, foot = 2, true, 1
	case lines >= 3:
		head, foot = 1, 1
	}
	return head, titles, foot
}

// warnings is how many lines there are about what is shown being old.
func (m *topModel) warnings() int {
	if m.stale {
		return 1
	}
	return 0
}

// room is how many rows fit.
func (m *topModel) room() int {
	head, titles, foot := m.frame()
	lines := m.height - m.warnings() - head - foot
	if titles {
		lines--
	}
	return max(lines, 1)
}

// draw gives the whole screen.
func (m *topModel) draw(colored bool) string {
	head, titles, foot := m.frame()
	lines := m.head(colored)[:head]
	if m.stale {
		lines = append(lines, m.staleness(colored))
	}
	end := m.height - foot
	if m.open {
		lines = append(lines, m.opened(end-len(lines), colored)...)
	} else {
		table := m.table(colored)
		if !titles {
			table = table[1:]
		}
		lines = append(lines, table...)
	}
	for len(lines) < end {
		lines = append(lines, "")
	}
	lines = lines[:end]
	if foot > 0 {
		lines = append(lines, fit(m.foot(), m.width))
	}
	return strings.Join(lines, "\n")
}

// staleness says that what is shown may not be so any more.
func (m *topModel) staleness(colored bool) string {
	text := fmt.Sprintf("STALE for %s: contact with etcd is lost (%s); what is shown is what was known then", age(&m.since, m.now), m.reason)
	return m.line(text, yellow, colored)
}

// head counts: all, and by zone. What matters most comes first, for a narrow screen cuts the rest.
func (m *topModel) head(colored bool) []string {
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
	first := fmt.Sprintf("hbctl top   %d instances: %d up, %d down, %d disabled", len(m.rows), up, len(m.rows)-up, disabled)
	if m.warned > 0 {
		first += fmt.Sprintf(", %d warnings", m.warned)
	}
	first += fmt.Sprintf("   revision %d   cluster %s", m.revision, clusterID(m.cluster))
	if !m.synced {
		first = "hbctl top   reading what is there"
	}
	var parts []string
	for _, zone := range slices.Sorted(maps.Keys(zones)) {
		parts = append(parts, fmt.Sprintf("%s %d/%d up", printable(zone), zones[zone][0], zones[zone][1]))
	}
	return []string{m.line(first, bold, colored), m.line(strings.Join(parts, "   "), "", colored)}
}

// line makes a line of the screen, in one style.
func (m *topModel) line(text, style string, colored bool) string {
	text = fit(text, m.width)
	if !colored || style == "" {
		return text
	}
	return style + text + reset
}

// opened shows one instance: its fields, and what happened to it. The fields leave half of the room to the events, which are
// what it was opened for.
func (m *topModel) opened(room int, colored bool) []string {
	events := []string{m.line("Last events, the newest first:", bold, colored)}
	happened := m.happened[m.selected]
	for i := len(happened) - 1; i >= 0; i-- {
		e := &happened[i].event
		var d details
		d.describe(&watchLine{kind: string(e.Kind), event: e, service: &e.Service})
		kind := string(e.Kind)
		events = append(events, m.line(fmt.Sprintf("  %s %s %s", stamp(&happened[i].at), kind, strings.Join(d, " ")), colors[kind], colored))
	}
	if len(happened) == 0 {
		events = append(events, m.line("  none since top began", "", colored))
	}
	lines := append([]string{m.line(m.selected.String(), bold, colored)}, m.fields(colored)...)
	if left := max(room-len(events), room/2, 1); len(lines) > left {
		more := fmt.Sprintf("  ... and more: hbctl show %s", m.selected)
		lines = append(lines[:left-1:left-1], fit(more, m.width))
	}
	return append(lines, events...)
}

// fields shows what is known of the selected one, but for its name.
func (m *topModel) fields(colored bool) []string {
	row, there := m.rows[m.selected]
	if !there {
		return []string{m.line("  it is gone", "", colored)}
	}
	var lines []string
	for _, f := range fieldsOf(&row) {
		if f.value == nil || f.name == "binary" || f.name == "host" {
			continue
		}
		value := showValue(f.value, false, false, m.now)
		lines = append(lines, m.line(fmt.Sprintf("  %-16s %s", title(f.name), value), colors[value], colored))
	}
	return lines
}

// The keys, at the foot of the screen, and what is left of them where there is no room.
const (
	topKeys       = "enter open  / filter  s sort  r reverse  d down  q leave"
	topKeysShort  = "enter / s r d q"
	topKeysOpened = "up, down the next one  enter, q close  Ctrl-C leave"
)

func (m *topModel) foot() string {
	switch {
	case m.typing:
		return "filter: " + printable(m.filter) + "_   enter keeps it, escape drops it"
	case m.open:
		return topKeysOpened
	}
	foot := fmt.Sprintf("%d shown", len(m.shown))
	if len(m.shown) < len(m.rows) {
		foot = fmt.Sprintf("%d of %d shown", len(m.shown), len(m.rows))
	}
	foot += ", by " + topSorts[m.sort].name
	if m.reverse {
		foot += " backwards"
	}
	if m.onlyDown {
		foot += ", only down"
	}
	if m.filter != "" {
		foot += ", with " + quoteShort(m.filter)
	}
	if all := foot + "   " + topKeys; columnsOf(all) <= m.width {
		return all
	}
	return foot + "   " + topKeysShort
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
