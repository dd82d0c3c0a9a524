package main

import (
	"embed"
	"strings"

	"github.com/urfave/cli/v2"
)

// completionScripts are what the shells read.
//
//go:embed completion
var completionScripts embed.FS

var shells = []string{"bash", "zsh", "fish"}

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the script that makes a shell complete hbctl's words", ArgsUsage: "SHELL", Args: true,
		UsageText: "hbctl completion bash|zsh|fish",
		Description: `Prints a script. With it TAB completes commands, flags, their values, and the names and zones of what is registered.

   bash   source <(hbctl completion bash)             in ~/.bashrc
   zsh    source <(hbctl completion zsh)              in ~/.zshrc, after compinit
   fish   hbctl completion fish | source              in ~/.config/fish/config.fish`,
		Action: p.completion,
	}
}

func (p *program) completion(*cli.Context) error {
	if len(p.line.args) != 1 {
		return usageIn("completion", "name one shell: %s", strings.Join(shells, ", "))
	}
	script, err := completionScripts.ReadFile("completion/hbctl." + p.line.args[0])
	if err != nil {
		return usageIn("completion", "there is none for %s; want one of %s", quoteShort(p.line.args[0]), strings.Join(shells, ", "))
	}
	_, err = p.stdout.Write(script)
	return err
}
