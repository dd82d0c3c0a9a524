package main

import (
	"slices"
	"strings"
	"testing"
)

func parseLine(t *testing.T, args ...string) (line, error) {
	t.Helper()
	return newGrammar(newProgram(system{}).app()).parse(args)
}

func TestFlagsStandAnywhere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, typed, argv string }{
		{"global before", "--prefix /a/ list", "--prefix=/a/ list"},
		{"global after", "list --prefix /a/", "--prefix=/a/ list"},
		{"own before", "-o json list", "list --output=json"},
		{"own after", "list -o json", "list --output=json"},
		{"with equals", "list --output=json --endpoints=a:1", "--endpoints=a:1 list --output=json"},
		{"short with its value attached", "list -ojson -lk=v", "list --output=json --selector=k=v"},
		{"one dash", "list -output json", "list --output=json"},
		{"same short name, another flag", "register -l k=v", "register --label=k=v"},
		{"switch takes no argument", "--age list", "list --age"},
		{"switch with a value", "list --age=false", "list --age=false"},
		{"value that looks like a flag", "register --binary -x", "register --binary=-x"},
		{"repeated", "list -l a -l b", "list --selector=a --selector=b"},
		{"alias", "ls", "list"},
		{"alias of Cinder", "service-list --host h", "list --host=h"},
		{"help wanted", "list --host h --help", "help"},
		{"help wanted before", "--help list", "help"},
		{"version wanted", "--version", "version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, err := parseLine(t, strings.Fields(test.typed)...)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(l.argv()[1:], " "); got != test.argv {
				t.Errorf("got %q, want %q", got, test.argv)
			}
		})
	}
}

func TestRestIsLeftAlone(t *testing.T) {
	t.Parallel()
	l, err := parseLine(t, "run", "--binary", "b", "--", "ls", "-l", "--", "--help", "help")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"ls", "-l", "--", "--help", "help"}; !slices.Equal(l.rest, want) {
		t.Errorf("got %q, want %q", l.rest, want)
	}
	if got := strings.Join(l.argv()[1:], " "); got != "run --binary=b" {
		t.Errorf("got %q", got)
	}
}

// A flag is looked up before the command is known, so a name must have the same shape everywhere.
func TestFlagNamesMeanOneShape(t *testing.T) {
	t.Parallel()
	g := newGrammar(newProgram(system{}).app())
	shapes := make(map[string]bool)
	for name, spec := range g.global {
		shapes[name] = spec.value
	}
	for command, flags := range g.local {
		for name, spec := range flags {
			if _, global := g.global[name]; global {
				t.Errorf("%s: --%s is a global flag too", command, name)
			}
			if value, seen := shapes[name]; seen && value != spec.value {
				t.Errorf("%s: --%s takes a value in one command and none in another", command, name)
			}
			shapes[name] = spec.value
		}
	}
	for _, name := range []string{"help", "h", "version"} {
		if _, taken := shapes[name]; taken {
			t.Errorf("--%s is taken by the program", name)
		}
	}
}

// FuzzParse looks for lines that make the parser panic.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"list -o json", "run -- a", "-", "--", "---", "-=", "--=x", "-o", "list -\x00", "help list --"} {
		f.Add(seed)
	}
	g := newGrammar(newProgram(system{}).app())
	f.Fuzz(func(t *testing.T, text string) {
		l, err := g.parse(strings.Split(text, " "))
		if err == nil && g.command(l.command) == nil {
			t.Errorf("no command in %+v", l)
		}
	})
}
