package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/registry"
)

// place is where somebody may look for a command or a flag.
type place struct {
	name string
	text string
}

// has checks that the place has what a regular expression says.
func (p place) has(t *testing.T, what, expression string) {
	t.Helper()
	if !regexp.MustCompile("(?m)" + expression).MatchString(p.text) {
		t.Errorf("%s lacks %s", p.name, what)
	}
}

// names gives a flag as it is shown: "-o, --output".
func names(f cli.Flag) string {
	if all := f.Names(); len(all) > 1 {
		return "-" + all[1] + ", --" + all[0]
	}
	return "--" + f.Names()[0]
}

// Every command and flag, with its other names, is explained wherever somebody may look for it: in help, in the man page, in
// README and, see TestShellsOfferEverything, by completion. What is there comes from the program itself.
func TestEverythingIsDocumented(t *testing.T) {
	t.Parallel()
	app := newProgram(system{getenv: func(string) string { return "" }}).app()
	help := place{"help", hbctl(t, "help").stdout}
	man := place{"the man page", strings.NewReplacer(`\-`, "-", `\&`, "", `\fB`, "", `\fP`, "", `\fR`, "", `\fI`, "").Replace(hbctl(t, manName).stdout)}
	readme := readReadme(t)
	for _, f := range app.Flags {
		help.has(t, names(f), `^ +`+names(f)+` `)
		man.section("FLAGS OF EVERY COMMAND").has(t, names(f), `^`+names(f)+`( |$)`)
		for _, name := range f.Names() {
			readme.prose.has(t, dashes(name), "`"+dashes(name)+"`")
		}
	}
	for _, c := range visible(app) {
		all := strings.Join(c.Names(), ", ")
		help.has(t, all, `^  `+all+` `)
		man.has(t, all, `^\.SS `+all+`$`)
		for _, name := range c.Names() {
			readme.rows(c.Name).has(t, name, "`(hbctl )?"+name+"[ `]")
		}
		explained := place{"help " + c.Name, hbctl(t, "help", c.Name).stdout}
		if c.Name != "help" && c.Name != "version" {
			explained.has(t, "an example", `^   .*\bhbctl `+c.Name+`\b`)
		}
		for _, f := range c.Flags {
			explained.has(t, names(f), `^ +`+names(f)+` `)
			man.section(all).has(t, names(f), `^`+names(f)+`( |$)`)
			for _, name := range f.Names() {
				readme.of(c).has(t, dashes(name), "`"+dashes(name)+"`")
			}
		}
	}
}

// section gives a part of the man page, up to the next title.
func (p place) section(title string) place {
	begin := regexp.MustCompile(`(?m)^\.S[HS] "?` + title + `"?$`).FindStringIndex(p.text)
	if begin == nil {
		return place{name: p.name + ", which has no " + title + ","}
	}
	text, _, _ := strings.Cut(p.text[begin[1]:], "\n.S")
	return place{p.name + " under " + title, text}
}

// readmeText is README as it is read: rows about commands, and what is said of all of them.
type readmeText struct {
	table map[string]string // by command
	prose place
}

func readReadme(t *testing.T) readmeText {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	r := readmeText{table: make(map[string]string), prose: place{name: "README"}}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| `hbctl ") {
			r.prose.text += line
			continue
		}
		title, _, _ := strings.Cut(line[1:], "|")
		for _, m := range regexp.MustCompile("`hbctl ([a-z-]+)").FindAllStringSubmatch(title, -1) {
			r.table[m[1]] += line
		}
	}
	return r
}

// rows gives the rows of a command.
func (r readmeText) rows(command string) place {
	return place{"README's row of " + command, r.table[command]}
}

// of gives where the flags of a command may be: in its rows, those of the command that it refers to, and, if it shares them, in what is
// said of all.
func (r readmeText) of(c *cli.Command) place {
	p := r.rows(c.Name)
	if m := regexp.MustCompile(`\bas ([a-z]+)`).FindStringSubmatch(p.text); m != nil {
		p.text += r.table[m[1]]
	}
	p.text += r.prose.text
	return p
}

// docs/top.md shows the screen that is drawn: every column, and every key that the screen or the help names.
func TestTopIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/top.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := string(text)
	mentioned := func(what string) {
		t.Helper()
		if !strings.Contains(docs, what) {
			t.Errorf("docs/top.md lacks %q", what)
		}
	}
	mentioned(topKeys)
	mentioned(topKeysOpened)
	_, titles, _ := strings.Cut(docs, "\n  BINARY")
	titles, _, _ = strings.Cut("BINARY"+titles, "\n")
	var columns []string
	for _, c := range newTopModel(topTime).topColumns() {
		columns = append(columns, c.title)
	}
	if got := strings.Fields(titles); !slices.Equal(got, columns) {
		t.Errorf("docs/top.md has the columns %q, want %q", got, columns)
	}
	_, keys, _ := strings.Cut(hbctl(t, "help", "top").stdout, "Keys:\n")
	keys, _, _ = strings.Cut(keys, "\n\n")
	for line := range strings.Lines(keys) {
		names, _, _ := strings.Cut(strings.TrimSpace(line), "   ")
		for key := range strings.SplitSeq(names, ", ") {
			if !strings.Contains(docs, "| "+key+" |") && !strings.Contains(docs, "| "+key+", ") && !strings.Contains(docs, ", "+key+" |") && !strings.Contains(docs, ", "+key+", ") {
				t.Errorf("docs/top.md does not explain the key %q", key)
			}
		}
	}
	for _, order := range topSorts {
		mentioned(order.name)
	}
}

// docs/output.md explains every field of the JSON, and help every cause. The fields come from the program.
func TestOutputIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/output.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, events, found := strings.Cut(string(text), "\n## Events\n")
	if !found {
		t.Fatal("docs/output.md has no part about events")
	}
	for _, part := range []struct {
		place
		of any
	}{
		{place{"docs/output.md, of rows,", rows}, registry.Service{}},
		{place{"docs/output.md, of rows,", rows}, registry.Warning{}},
		{place{"docs/output.md, of events,", events}, serviceLine{}},
		{place{"docs/output.md, of events,", events}, warningLine{}},
		{place{"docs/output.md, of events,", events}, streamLine{}},
	} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(part.of)) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				part.has(t, name, "`"+name+"`")
			}
		}
	}
	causes := place{"help list", hbctl(t, "help", "list").stdout}
	for _, c := range []registry.Cause{
		registry.CauseExpired, registry.CauseLeft, registry.CauseFailed, registry.CauseUnhealthy, registry.CauseReplaced,
		registry.CauseDeleted, registry.CauseEvicted, registry.CauseForced, registry.CauseUnleased, registry.CauseLost,
	} {
		causes.has(t, string(c), `^   ([a-z]+, )*`+string(c)+`(, [a-z]+)*  `)
	}
}
