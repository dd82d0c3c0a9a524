package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// completers have a shell complete each line of stdin by hbctl's script, and print it with a TAB and one of the words that are offered.
var completers = map[string][]string{
	"bash": {"bash", "--norc", "-c", `
source <(hbctl completion bash)
while IFS= read -r line; do
	COMP_LINE=$line COMP_POINT=${#line}
	read -ra COMP_WORDS <<<"$line"
	[[ $line == *' ' ]] && COMP_WORDS+=('')
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_hbctl hbctl "${COMP_WORDS[COMP_CWORD]}"
	printf "$line\t%s\n" "${COMPREPLY[@]}"
done`},
	"zsh": {"zsh", "-f", "-c", `
compdef() { }
compadd() { print -rl -- "$typed"$'\t'"${(@P)^@[-1]}" }
source <(hbctl completion zsh)
while IFS= read -r typed; do
	words=("${(@s: :)typed}") CURRENT=${#words}
	_hbctl
done`},
	"fish": {"fish", "--no-config", "-c", `
hbctl completion fish | source
while read -l line
	complete -C "$line" | while read -l found
		printf '%s\t%s\n' "$line" "$found"
	end
end`},
}

// What TestEverythingIsDocumented asks for is also offered by completion, in each shell that there is a script for.
func TestShellsOfferEverything(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	app := newProgram(system{getenv: func(string) string { return "" }}).app()
	const first = "hbctl "
	want := map[string][]string{first: nil}
	for _, c := range visible(app) {
		want[first] = append(want[first], c.Name)
		line := first + c.Name + " -"
		for _, f := range append(c.Flags, app.Flags...) {
			for _, name := range f.Names() {
				want[line] = append(want[line], dashes(name))
			}
		}
	}
	var lines strings.Builder
	for line := range want {
		lines.WriteString(line + "\n")
	}
	if len(completers) != len(shells) {
		t.Errorf("there are scripts for %v", shells)
	}
	for shell, args := range completers {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("no %s here", shell)
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Stdin, cmd.Stderr = strings.NewReader(lines.String()), os.Stderr
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "PATH="+filepath.Dir(hbctlProgram(t, self))+":"+os.Getenv("PATH"))
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			offered := make(map[string]bool)
			for line := range strings.Lines(string(out)) {
				typed, word, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
				word, _, _ = strings.Cut(word, "\t")
				offered[typed+"\t"+word] = true
			}
			for line, words := range want {
				for _, word := range words {
					if !offered[line+"\t"+word] {
						t.Errorf("%q: completion lacks %s", line, word)
					}
				}
			}
		})
	}
}
