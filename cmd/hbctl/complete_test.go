package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestShellWords(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][]string{
		"hbctl":                   {"hbctl", ""},
		"hbctl ":                  {"hbctl", ""},
		"hbctl li":                {"hbctl", "li"},
		"hbctl list  -o ":         {"hbctl", "list", "-o", ""},
		`hbctl show "a b`:         {"hbctl", "show", "a b"},
		`hbctl show 'a\b' c\ d`:   {"hbctl", "show", `a\b`, "c d"},
		`hbctl show node1@lvm#p`:  {"hbctl", "show", "node1@lvm#p"},
		`hbctl list --zone="a z"`: {"hbctl", "list", "--zone=a z"},
	} {
		if got, _ := shellWords(line); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// offered gives what is offered for the words, without descriptions.
func (w *world) offered(words ...string) []string {
	w.t.Helper()
	o := w.hbctl(append([]string{completeName, "--", "zsh"}, append(slices.Clone(w.flags), words...)...)...)
	o.wants(w.t, exitOK)
	var texts []string
	for line := range strings.Lines(o.stdout) {
		text, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		texts = append(texts, text)
	}
	return texts
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	w := down(t)
	w.flags = slices.Clone(w.flags)
	flags := w.flags
	w.flags = nil
	for _, test := range []struct {
		words []string
		want  []string
	}{
		{[]string{"sh"}, []string{"show"}},
		{[]string{"force"}, []string{"force-down", "force-up"}},
		{[]string{"list", "-o", "js"}, []string{"json", "jsonl"}},
		{[]string{"list", "--output=js"}, []string{"--output=json", "--output=jsonl"}},
		{[]string{"watch", "-o", ""}, []string{"text", "json"}},
		{[]string{"list", "--st"}, []string{"--status", "--state"}},
		{[]string{"list", "--state", ""}, []string{"up", "down"}},
		{[]string{"wait", "--for", "state"}, []string{"state=up", "state=down"}},
		{[]string{"run", "--on-lost", ""}, []string{"keep", "term", "kill"}},
		{[]string{"bench", "--only", "mass"}, []string{"mass-death"}},
		{[]string{"list", "--config", "x"}, []string{filesDirective}},
		{[]string{"run", "--binary", "b", "--", "x"}, []string{filesDirective}},
		{[]string{"help", "comp"}, []string{"completion"}},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish"}},
		{[]string{"nonsense", ""}, []string{filesDirective}},
		{[]string{"list", ""}, nil},
	} {
		if got := w.offered(test.words...); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
	for _, test := range []struct {
		words []string
		want  []string
	}{
		{[]string{"show", "cinder-v"}, []string{"cinder-volume/node1@lvm#pool", "cinder-volume/node2"}},
		{[]string{"forget", "cinder-volume/node2", "cinder-volume/"}, []string{"cinder-volume/node1@lvm#pool"}},
		{[]string{"list", "--zone", ""}, []string{"az1", "nova", "アジア"}},
		{[]string{"enable", "--host=no"}, []string{"--host=node1", "--host=node1@lvm#pool", "--host=node2"}},
		{[]string{"watch", "--binary", "a"}, []string{"api"}},
	} {
		if got := w.offered(append(slices.Clone(flags), test.words...)...); !slices.Equal(got, test.want) {
			t.Errorf("%q: %q, want %q", test.words, got, test.want)
		}
	}
}

// Bash replaces only the end of a word, and takes what it gets as it is.
func TestCompletionForBash(t *testing.T) {
	t.Parallel()
	w := down(t)
	w.record("odd/a$(id)", "")
	w.record("odd/it's", "")
	w.record("odd/wow!", "")
	for _, test := range []struct{ typed, replaced, want string }{
		{"cinder-volume/node1@lv", "@lv", "@lvm#pool"},
		{"cinder-volume/node1@", "@", "@lvm#pool"},
		{`cinder-volume/node1\@lv`, `cinder-volume/node1\@lv`, "cinder-volume/node1@lvm#pool"},
		{"--zone=a", "a", "az1"},
		{"odd/a", "odd/a", `odd/a\$\(id\)`},
		{`odd/a\$`, `odd/a\$`, `odd/a\$\(id\)`},
		{`"odd/a`, "odd/a", `odd/a\$(id)`},
		{`'odd/a`, "odd/a", `odd/a$(id)`},
		{"odd/i", "odd/i", `odd/it\'s`},
		{"'odd/i", "odd/i", `odd/it'\''s`},
		{`"odd/i`, "odd/i", `odd/it's`},
		{"odd/w", "odd/w", `odd/wow\!`},
		{`"odd/w`, "odd/w", `odd/wow"\!"`},
	} {
		line := "hbctl " + strings.Join(w.flags, " ") + " show " + test.typed
		o := hbctl(t, completeName, "--", "bash", line+" and more", strconv.Itoa(len(line)), test.replaced)
		o.wants(t, exitOK)
		if o.stdout != test.want+"\n" {
			t.Errorf("%s: %q, want %q", test.typed, o.stdout, test.want)
		}
	}
}

func TestCompletionNeverFails(t *testing.T) {
	t.Parallel()
	for _, words := range [][]string{
		{},
		{"zsh"},
		{"zsh", ""},
		{"bash", "hbctl"},
		{"bash", "", "0", ""},
		{"bash", "hbctl show ", "-5", ""},
		{"fish", "show", "--endpoints", "127.0.0.1:1", "web/"},
		{"zsh", "show", "--prefix", "", "web/"},
	} {
		if o := hbctl(t, append([]string{completeName, "--"}, words...)...); o.code != exitOK || o.stderr != "" {
			t.Errorf("%q: code %d, %q", words, o.code, o.stderr)
		}
	}
}

// What a terminal would obey is not offered: whoever can write a record could put words, and more, on the screen of whoever
// presses TAB.
func TestCompletionShowsNothingUnprintable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record("web/n1", `,"zone":"az1"`)
	w.record("web/n2", `,"zone":"az\u001b]0;x\u0007"`)
	w.record("web/n3", `,"zone":"az\u009b2J"`)
	w.record("web/n4", `,"zone":"az\nazX"`)
	words := append(slices.Clone(w.flags), "list", "--zone", "az")
	w.flags = nil
	if got := w.offered(words...); !slices.Equal(got, []string{"az1"}) {
		t.Errorf("offered %q", got)
	}
}
