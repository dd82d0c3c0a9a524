package integration_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

// topDocs has screens of top, each after a comment with its name.
const topDocs = "../docs/top.md"

var writeDocs = flag.Bool("docs", false, "write the screens of docs/top.md anew")

// documented compares what is seen with what the docs show.
func documented(t *testing.T, s *screen) {
	text, err := os.ReadFile(topDocs)
	if err != nil {
		t.Fatal(err)
	}
	docs := string(text)
	check := func(name string, lines []string) {
		seen := strings.Join(lines, "\n")
		if *writeDocs {
			docs = strings.Replace(docs, opening(name)+shownAs(t, docs, name), opening(name)+seen, 1)
		}
		if shown := shownAs(t, docs, name); lasting(shown) != lasting(seen) {
			t.Errorf("docs/top.md shows as %s\n%s\nand this is seen (-args -docs writes it there):\n%s", name, shown, seen)
		}
	}
	s.resize(96, 26)
	s.press("s", "s")
	s.until("the screen by state", func(lines []string) bool {
		return len(lines) == 26 && strings.HasPrefix(lines[25], "50 shown, by state")
	})
	s.press("Home")
	check("the list", s.until("the first row chosen", func(lines []string) bool { return strings.HasPrefix(lines[3], "> ") }))
	s.press("s", "s", "Home")
	s.shows("\n50 shown, by name", "> cinder-volume  node01@lvm#pool")
	s.press("Enter")
	check("one instance", s.shows("\ncinder-volume/node01@lvm#pool\n", "Last events, the newest first:", " up incarnation=", " down cause=expired"))
	s.press("q")
	s.resize(100, 56)
	s.until("the list again", func(lines []string) bool {
		return len(lines) == 56 && strings.HasPrefix(lines[55], "50 shown, by name")
	})
	if *writeDocs {
		if err := os.WriteFile(topDocs, []byte(docs), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// opening is what is before a screen in the docs.
func opening(name string) string { return "<!-- " + name + " -->\n```text\n" }

// shownAs gives the screen that the docs show under a name.
func shownAs(t *testing.T, docs, name string) string {
	t.Helper()
	_, after, found := strings.Cut(docs, opening(name))
	screen, _, closed := strings.Cut(after, "\n```\n")
	if !found || !closed {
		t.Fatalf("docs/top.md has no screen %q", name)
	}
	return screen
}

// changing is what is another at each time.
var changing = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`(revision |incarnation=|Incarnation +)\d+`), "${1}N"},
	{regexp.MustCompile(`(cluster |Lease +)[0-9a-f]+…?`), "${1}ID"},
	{passing, "${1}AGE $2"},
	{blanks, " "},
}

// lasting gives what of a screen is the same each time.
func lasting(screen string) string {
	for _, c := range changing {
		screen = c.what.ReplaceAllString(screen, c.with)
	}
	return screen
}
