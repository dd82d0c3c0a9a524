package hbtest

import (
	"fmt"
	"strings"
	"time"
)

// Lines gives the lines that the program has said so far, those that are whole.
func (p *Program) Lines() []string {
	lines := strings.Split(p.Said(), "\n")
	return lines[:len(lines)-1]
}

// Await waits for a line that contains the text, past the first so many, and gives it and how many lines there are up to it.
func (p *Program) Await(limit time.Duration, after int, text string) (line string, upTo int) {
	p.t.Helper()
	Eventually(p.t, limit, fmt.Sprintf("%s says %q", p.Cmd.Path, text), func() bool {
		over := p.over() // before its last words are looked at
		lines := p.Lines()
		for upTo = after; upTo < len(lines); {
			if upTo++; strings.Contains(lines[upTo-1], text) {
				line = lines[upTo-1]
				return true
			}
		}
		if over {
			p.t.Fatalf("%s ended without saying %q", p.Cmd.Path, text)
		}
		return false
	})
	return line, upTo
}

func (p *Program) over() bool {
	select {
	case <-p.Over:
		return true
	default:
		return false
	}
}
