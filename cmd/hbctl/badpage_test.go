package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// badPagePath is the page that tells what hbctl says to bad input. TestBadInput writes it with -update and keeps it true.
const badPagePath = "../../docs/bad-input.md"

const badPageHead = `# What hbctl says when something is wrong

Whatever is wrong, with the command line, a file, the network, etcd or the machine: hbctl ends in time, with an exit code that
tells scripts what kind of thing it is, and says in one line what is wrong, why, and what to do. stdout is for data only. The codes:
0 done, 1 failed, 2 wrong usage, 3 not found, not met or not in time, 4 etcd not reachable, so that nothing is known, 5 permission
denied; ` + "`run`" + ` has 125 to 127 for what is not its command's.

This page is written by a test, which runs all of it: ` + "`go test ./cmd/hbctl -run TestBadInput`" + ` compares, and with ` + "`-update`" + ` writes anew.
What differs from run to run is shown as PORT, DIR, DATE, TIME, ID or N. An empty last column: nothing is said, and
all is well.
`

// badCase is something that a user or his surroundings can get wrong, and what hbctl must say about it: a row of the page.
type badCase struct {
	name string
	args []string
	env  map[string]string
	code int
	says []string

	shown string            // how the command is shown, where the arguments do not tell
	data  bool              // stdout has data
	lines int               // on stderr; 0 means one, or none if all is well
	limit time.Duration     // in which it must have ended; more than the timeouts that the case has, for machines that are busy
	also  []string          // other commands that must say the same
	quiet map[string]string // more of the environment, that is not shown
	run   func(*testing.T) outcome
	told  func(outcome) string // what is shown of it; nil means stderr
}

// anyLines is for what a case says beside its error: help, or the log.
const anyLines = -1

// environment is that of the case; without one of its own, what gets through to etcd finds none.
func (c badCase) environment() map[string]string {
	env := map[string]string{"HBCTL_ENDPOINTS": "127.0.0.1:1", "HBCTL_COMMAND_TIMEOUT": "1s"}
	if len(c.env) > 0 {
		env = map[string]string{}
	}
	maps.Copy(env, c.env)
	maps.Copy(env, c.quiet)
	return env
}

// lastLine is where the error is, if there are others.
func lastLine(o outcome) string {
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	return lines[len(lines)-1]
}

// linesAbout are the lines that have a word, wherever they are.
func linesAbout(word string) func(outcome) string {
	return func(o outcome) string {
		var found []string
		for line := range strings.Lines(o.stderr + o.stdout) {
			if strings.Contains(line, word) {
				found = append(found, strings.TrimSpace(line))
			}
		}
		return strings.Join(found, "\n")
	}
}

// badPage collects the rows.
type badPage struct {
	mu       sync.Mutex
	sections []*badSection
}

type badSection struct {
	page     *badPage
	number   int
	title    string
	rows     []string // by number; "" was not run
	complete bool     // all cases are in rows
}

func (p *badPage) section(title string) *badSection {
	s := &badSection{page: p, number: len(p.sections) + 1, title: title}
	p.sections = append(p.sections, s)
	return s
}

// add runs a case, beside all others.
func (s *badSection) add(t *testing.T, c badCase) {
	t.Helper()
	s.page.mu.Lock()
	s.rows = append(s.rows, "")
	number := len(s.rows)
	s.page.mu.Unlock()
	t.Run(c.name, func(t *testing.T) {
		t.Parallel()
		var o outcome
		if c.run != nil {
			o = c.run(t)
		} else {
			o = invocation{env: c.environment()}.run(t, c.args...)
		}
		told := c.judge(t, o)
		for _, command := range c.also {
			c.judge(t, invocation{env: c.environment()}.run(t, append([]string{command}, c.args[1:]...)...))
		}
		row := fmt.Sprintf("| %d.%d %s | %s | %d | %s |\n", s.number, number, pageCell(c.name), pageCell(asCode(c.command())), o.code, pageCell(asCode(scrub(strings.TrimSpace(told)))))
		s.page.mu.Lock()
		defer s.page.mu.Unlock()
		s.rows[number-1] = row
	})
}

// leaks are words of a library's error, or of its log, that are no user's business.
var leaks = regexp.MustCompile(`panic|goroutine |rpc error|code = |desc = |context deadline exceeded|context canceled|transport: |grpc|` +
	`etcdserver: |etcd-client|component.{1,4}etcd|dial tcp|read tcp|write tcp|listen tcp|lookup |x509: |tls: |strconv\.|(^|[^.\w])yaml: |open /|mkdir |: :|%!|` +
	`: (registry|lease|watcher|devserver|supervise|template): `)

// judge checks what must be so of every case, and gives what is shown of it.
func (c badCase) judge(t *testing.T, o outcome) (told string) {
	t.Helper()
	limit := c.limit
	if limit == 0 {
		limit = 2 * patience
	}
	if o.took > limit {
		t.Errorf("took %v, more than %v", o.took, limit)
	}
	o.wants(t, c.code)
	all := o.stderr
	if c.data {
		all += o.stdout
	} else if o.stdout != "" {
		t.Errorf("stdout is for data, but has %q", o.stdout)
	}
	for _, text := range c.says {
		if !strings.Contains(all, text) {
			t.Errorf("it does not say %q: %s", text, all)
		}
	}
	lines := c.lines
	if lines == 0 && c.code != exitOK && !c.data {
		lines = 1
	}
	if got := strings.Count(o.stderr, "\n"); got != lines && lines != anyLines {
		t.Errorf("%d lines on stderr, want %d: %s", got, lines, o.stderr)
	}
	if told = o.stderr; c.told != nil {
		told = c.told(o)
	}
	if found := leaks.FindString(told); found != "" {
		t.Errorf("it says %q: %s", found, told)
	}
	for line := range strings.Lines(o.stderr) {
		if !clean(strings.TrimSuffix(line, "\n")) {
			t.Errorf("stderr has raw control characters: %q", line)
		}
	}
	return told
}

// compare checks the page, or writes it. Where not all was run (by -run or -short, or for want of something), the rows that
// were are looked for in it.
func (p *badPage) compare(t *testing.T) {
	t.Helper()
	complete := true
	var page strings.Builder
	page.WriteString(badPageHead)
	for _, s := range p.sections {
		fmt.Fprintf(&page, "\n## %d. %s\n\n| case | command | exit | what hbctl says |\n|---|---|---|---|\n%s", s.number, s.title, strings.Join(s.rows, ""))
		complete = complete && s.complete && !slices.Contains(s.rows, "")
	}
	switch {
	case *update && !complete:
		t.Errorf("%s is not written: not all cases were run", badPagePath)
	case *update:
		if err := os.WriteFile(badPagePath, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(badPagePath)
	if err != nil {
		t.Fatal(err)
	}
	if complete && page.String() != string(want) {
		t.Errorf("%s differs; -update writes it anew", badPagePath)
	}
	for _, s := range p.sections {
		for _, row := range s.rows {
			if row != "" && !strings.Contains(string(want), row) {
				t.Errorf("%s lacks, or has otherwise:\n%s", badPagePath, row)
			}
		}
	}
}

// command shows what is typed.
func (c badCase) command() string {
	if c.shown != "" {
		return scrub(c.shown)
	}
	var words []string
	for name, value := range c.env {
		words = append(words, name+"="+shellWord(scrub(value)))
	}
	slices.Sort(words)
	words = append(words, "hbctl")
	for _, arg := range c.args {
		words = append(words, shellWord(scrub(arg)))
	}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[\pL\pN_@%+=:,./-]+$`)

// shellWord writes a word as a shell takes it, cut where it is endless.
func shellWord(s string) string {
	const shown = 100
	if len(s) > shown {
		s = s[:8] + "..."
	}
	switch {
	case plainWord.MatchString(s):
		return s
	case !clean(s) || !utf8.ValidString(s):
		quoted := strconv.QuoteToASCII(s)
		return "$'" + strings.ReplaceAll(quoted[1:len(quoted)-1], "'", `\'`) + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// pageCell keeps a text inside of its column.
func pageCell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", "<br>")
}

// asCode shows lines as what a machine says.
func asCode(s string) string {
	if s == "" {
		return ""
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = "`" + line + "`"
	}
	return strings.Join(lines, "\n")
}

// varying is what differs from run to run.
var varying = []struct {
	found *regexp.Regexp
	shown string
}{
	{regexp.MustCompile(`[^\s'"=:;()]*/Test[^\s'"=:;()]*/\d{3}\b`), "DIR"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`), "DATE"},
	{regexp.MustCompile(`\b\d\d:\d\d:\d\d\.\d{3}\b`), "TIME"},
	{regexp.MustCompile(`answered in [\d.]+[mµ]?s`), "answered in TIME"},
	{regexp.MustCompile(`(127\.0\.0\.1|localhost):(1|[013-9]\d*|2[0-24-9]\d*|23[0-689]\d*|237[0-8]\d*|2379\d+)\b`), "$1:PORT"},
	{regexp.MustCompile(`\(([0-9a-f]{8,16}) and ([0-9a-f]{8,16})\)`), "(ID and ID)"},
	{regexp.MustCompile(`(incarnation|pid|revision|the newest is) \d+`), "$1 N"},
}

func scrub(s string) string {
	for _, v := range varying {
		s = v.found.ReplaceAllString(s, v.shown)
	}
	return s
}
