package main

import (
	"os"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Every command and flag is explained wherever somebody may look for it: in help, by completion, in the man page and in README.
func TestEverythingIsDocumented(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	app := newProgram(system{getenv: func(string) string { return "" }}).app()
	help := hbctl(t, "help").stdout
	man := strings.NewReplacer(`\-`, "-", `\&`, "", `\fB`, "", `\fP`, "", `\fR`, "").Replace(hbctl(t, manName).stdout)
	mentioned := func(where, text, what string) {
		t.Helper()
		if !strings.Contains(text, what) {
			t.Errorf("%s lacks %s", where, what)
		}
	}
	flags := func(command string, list []cli.Flag, help string) {
		offered := hbctl(t, completeName, "--", "zsh", command, "--").stdout
		for _, f := range list {
			flag := "--" + f.Names()[0]
			mentioned("help "+command, help, flag)
			mentioned("completion of "+command, offered, flag+"\t")
			mentioned("the man page, of "+command, man, flag)
			mentioned("README, of "+command, string(readme), "`"+flag+"`")
		}
	}
	flags("list", app.Flags, help)
	commands := hbctl(t, completeName, "--", "zsh", "").stdout
	for _, c := range visible(app) {
		explained := hbctl(t, "help", c.Name)
		mentioned("help", help, "\n  "+c.Name)
		mentioned("completion", commands, c.Name+"\t")
		mentioned("the man page", man, "\n.SS "+c.Name)
		mentioned("README", string(readme), "`hbctl "+c.Name)
		if c.Name != "help" && c.Name != "version" {
			mentioned("help "+c.Name, explained.stdout, "   hbctl "+c.Name)
		}
		flags(c.Name, c.Flags, explained.stdout)
	}
}
