package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hbctl/hbctl/internal/bench"
	"github.com/hbctl/hbctl/registry"
)

// completeName is the hidden command that the shells' scripts call.
const completeName = "__complete"

// completionTimeout bounds the questions to etcd: nobody waits long for a TAB.
const completionTimeout = time.Second

// filesDirective tells the shell's script to complete file names.
const filesDirective = ":files"

func (p *program) completeCommand() *cli.Command {
	return &cli.Command{
		Name: completeName, Hidden: true, Usage: "what a word on the command line may be", UsageText: "hbctl " + completeName + " -- SHELL WORDS...",
		ArgsUsage: "-- SHELL WORDS...",
		Action:    p.complete,
	}
}

// complete prints what the last word may be, a candidate a line, with a TAB and a description behind it. It never fails: a shell
// that completes has no place for an error.
func (p *program) complete(c *cli.Context) error {
	if len(p.line.rest) < 2 {
		return nil
	}
	shell, words := p.line.rest[0], p.line.rest[1:]
	var typed bashWord
	if shell == "bash" {
		words, typed = bashWords(words)
	}
	found := p.candidates(c, words)
	for _, candidate := range found {
		text := candidate.text
		switch {
		case text == filesDirective:
		case shell == "bash":
			text = typed.rest(text)
		case candidate.about != "":
			text += "\t" + candidate.about
		}
		if _, err := fmt.Fprintln(p.stdout, text); err != nil {
			return err
		}
	}
	return nil
}

// candidate is one thing that a word may be.
type candidate struct{ text, about string }

// completing is a command line whose last word is being typed.
type completing struct {
	p       *program
	grammar *grammar
	c       *cli.Context
	command *cli.Command      // nil: not typed yet
	words   []string          // before the last, without flags and their values
	given   map[string]string // global flags on the line
	last    string
	dashed  bool // after "--"
}

func (p *program) candidates(c *cli.Context, words []string) []candidate {
	t := &completing{p: p, grammar: newGrammar(c.App), c: c, given: make(map[string]string), last: words[len(words)-1]}
	waiting := t.read(words[:len(words)-1])
	return t.matching(t.possible(waiting))
}

// read goes through the words before the last, and gives the flag that waits for a value, if one does.
func (t *completing) read(words []string) (waiting string) {
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case t.dashed:
		case word == "--":
			t.dashed = true
		case strings.HasPrefix(word, "-") && word != "-":
			name, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
			spec, known := t.grammar.find(name)
			if !known || !spec.value {
				continue
			}
			if !inline {
				if i++; i >= len(words) {
					return spec.name
				}
				value = words[i]
			}
			if _, global := t.grammar.global[spec.name]; global {
				t.given[spec.name] = value
			}
		case t.command == nil:
			if t.command = t.grammar.command(word); t.command == nil {
				t.dashed = true // whatever follows, it is no command of ours
			}
		default:
			t.words = append(t.words, word)
		}
	}
	return ""
}

// possible gives what may stand in place of the last word.
func (t *completing) possible(waiting string) []candidate {
	switch {
	case t.dashed:
		// A command of somebody else: the shell knows more.
		return []candidate{{text: filesDirective}}
	case waiting != "":
		return t.values(waiting, "")
	case strings.HasPrefix(t.last, "-"):
		if name, _, inline := strings.Cut(t.last, "="); inline {
			if spec, known := t.grammar.find(strings.TrimLeft(name, "-")); known && spec.value {
				return t.values(spec.name, name+"=")
			}
			return nil
		}
		return t.flags()
	case t.command == nil:
		return t.commands()
	}
	return t.arguments()
}

func (t *completing) matching(all []candidate) []candidate {
	return slices.DeleteFunc(all, func(c candidate) bool {
		return c.text != filesDirective && !strings.HasPrefix(c.text, t.last)
	})
}

func (t *completing) commands() []candidate {
	var out []candidate
	for _, c := range t.grammar.commands {
		if !c.Hidden {
			out = append(out, candidate{c.Name, c.Usage})
		}
	}
	return out
}

func (t *completing) flags() []candidate {
	var out []candidate
	add := func(flags []cli.Flag) {
		for _, f := range flags {
			about := ""
			if d, ok := f.(cli.DocGenerationFlag); ok {
				about = strings.ReplaceAll(d.GetUsage(), "`", "")
			}
			for _, name := range f.Names() {
				out = append(out, candidate{dashes(name), about})
			}
		}
	}
	if t.command != nil {
		add(t.command.Flags)
	}
	add(t.c.App.Flags)
	return append(out, candidate{"--help", "explain the command"})
}

// arguments gives what a command may be about.
func (t *completing) arguments() []candidate {
	switch {
	case t.command.Name == "help" && len(t.words) == 0:
		return t.commands()
	case t.command.Name == "completion" && len(t.words) == 0:
		return list(shells...)
	case t.command.ArgsUsage == targetsUsage:
		return slices.DeleteFunc(t.live(func(s *registry.Service) string { return s.Name().String() }), func(c candidate) bool {
			return slices.Contains(t.words, c.text)
		})
	}
	return nil
}

func list(texts ...string) []candidate {
	out := make([]candidate, len(texts))
	for i, text := range texts {
		out[i].text = text
	}
	return out
}

// values gives what a flag's value may be.
func (t *completing) values(flag, prefix string) []candidate {
	var out []candidate
	switch flag {
	case "output":
		out = list(t.outputs()...)
	case "status":
		out = list(string(registry.Enabled), string(registry.Disabled))
	case "state":
		out = list(string(registry.Up), string(registry.Down))
	case "for":
		out = list(conditions...)
	case "on-conflict":
		out = list(policies...)
	case "on-lost":
		out = list(lostActions...)
	case "only":
		out = list(bench.Works()...)
	case "log-level":
		out = list(logLevels...)
	case "log-format":
		out = list(logFormats...)
	case "zone":
		out = t.live(func(s *registry.Service) string { return deref(s.Zone) })
	case "binary":
		out = t.live(func(s *registry.Service) string { return s.Binary })
	case "host":
		out = t.live(func(s *registry.Service) string { return s.Host })
	case "cacert", "cert", "key", "config", "password-file", "data-dir", "dir", "state-file", "svg":
		return []candidate{{text: filesDirective}}
	}
	for i := range out {
		out[i].text = prefix + out[i].text
	}
	return out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// outputs reads the formats of the command out of its flag.
func (t *completing) outputs() []string {
	if t.command == nil {
		return nil
	}
	for _, f := range t.command.Flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && f.Names()[0] == "output" {
			_, formats, _ := strings.Cut(d.GetUsage(), " is ")
			return strings.FieldsFunc(strings.ReplaceAll(formats, " or ", ","), func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	return nil
}

// live asks etcd what there is. Without an etcd there is nothing to offer.
func (t *completing) live(of func(*registry.Service) string) []candidate {
	given, err := t.p.givenSettings(t.c)
	if err != nil {
		return nil
	}
	for name, value := range t.given {
		given[name] = setting{text: value, source: "--" + name, given: true}
	}
	s, err := newSettings(given, t.p.getenv)
	if err != nil {
		return nil
	}
	t.p.settings = *s
	ctx, cancel := context.WithTimeout(t.c.Context, completionTimeout)
	defer cancel()
	var snap *registry.Snapshot
	client, err := t.p.connect(ctx, func(ctx context.Context, client *clientv3.Client) error {
		var err error
		snap, err = registry.List(ctx, client, registry.ListOptions{Prefix: s.keys.Prefix()})
		return err
	})
	if err != nil {
		return nil
	}
	defer client.Close()
	about := make(map[string]string)
	var texts []string
	for i := range snap.Services {
		row := &snap.Services[i]
		text := of(row)
		if _, told := about[text]; told || text == "" || !clean(text) { // a shell would show control characters as they are
			continue
		}
		about[text] = ""
		if text == row.Name().String() {
			about[text] = string(row.State)
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	out := make([]candidate, len(texts))
	for i, text := range texts {
		out[i] = candidate{text, about[text]}
	}
	return out
}
