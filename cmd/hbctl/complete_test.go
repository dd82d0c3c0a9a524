package main

import (
	"slices"
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
		if got := shellWords(line); !slices.Equal(got, want) {
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

// Bash keeps what is before the last @, = or : of a word, so it must not be offered again.
func TestCompletionForBash(t *testing.T) {
	t.Parallel()
	w := down(t)
	line := "hbctl " + strings.Join(w.flags, " ") + " show cinder-volume/node1@lv"
	o := hbctl(t, completeName, "--", "bash", line+" and more", "999", "lv")
	_ = o
	o = hbctl(t, completeName, "--", "bash", line, strings.Repeat("9", 3), "lv")
	o.wants(t, exitOK)
	if o.stdout != "lvm#pool\n" {
		t.Errorf("offered %q, want what follows the @", o.stdout)
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
