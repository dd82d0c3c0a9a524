package integration_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
)

// wordsOf is a name with all that a shell could take for something else than a letter of it.
var wordsOf = registry.Name{Binary: "odd", Host: `it's"a$(id)` + "`id`" + `;b&c|d<e>f*g?h[i]j{k,l}m~n!o\p^q%r=s:t東`}

// TAB completes commands, flags and what is registered, in every shell that we have a script for.
func TestTerminalCompletion(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Standalone(t)
	r := hbtest.NewRegistry(t, etcd.Client())
	for _, name := range []registry.Name{
		{Binary: "cinder-volume", Host: "node1@lvm#pool"}, {Binary: "web", Host: "node2"}, {Binary: "web", Host: "node3"}, wordsOf,
	} {
		hbtest.Register(t, r, name, 10*time.Minute, func(in *registry.Instance) { in.Zone = "az1" })
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			s := openShell(t, shell, 120, 40, etcd)
			for _, c := range []struct{ typed, completed string }{
				{"hbctl sho", "hbctl show"},
				{"hbctl list --exi", "hbctl list --exit-code"},
				{"hbctl show cinder-volume/node1", "hbctl show cinder-volume/node1@lvm#pool"},
				{"hbctl show cinder-volume/node1@l", "hbctl show cinder-volume/node1@lvm#pool"},
				{"hbctl show cinder-volume/node1@lvm#p", "hbctl show cinder-volume/node1@lvm#pool"},
				{"hbctl show web/node2 cin", "hbctl show web/node2 cinder-volume/node1@lvm#pool"},
				{"hbctl show web/node3 web/", "hbctl show web/node3 web/node2"},
				{"hbctl show we", "hbctl show web/node"},
				{"hbctl list --zone ", "hbctl list --zone az1"},
				{"hbctl list --zone=a", "hbctl list --zone=az1"},
				{"hbctl wait --for state=u", "hbctl wait --for state=up"},
				{"hbctl list -o cs", "hbctl list -o csv"},
			} {
				s.complete(c.typed, c.completed)
			}
			s.complete("hbctl wa", "hbctl wa") // which of the two is shown below
			if shell == "zsh" {
				s.aligned("wait   -- wait until", "watch  -- tell what")
			}
			t.Run("what is completed is what is meant", func(t *testing.T) { s.of(t).meant() })
			t.Run("etcd is away", func(t *testing.T) { s.of(t).completesNothing(etcd.Nodes[0]) })
		})
	}
}

// complete types a line and TAB, and waits until it is completed.
func (s *screen) complete(typed, want string) {
	s.t.Helper()
	s.press("C-u", "C-l")
	s.until("an empty line", func(lines []string) bool { return len(lines) == 1 && strings.HasSuffix(lines[0], "]") })
	s.types(typed)
	s.line("[0] " + strings.TrimSpace(typed))
	s.press("Tab")
	s.until("the line "+want, func(lines []string) bool {
		return strings.ReplaceAll(lines[0], `\#`, "#") == "[0] "+want // zsh and fish quote more than is needed
	})
}

// meant completes names and gives the command to the shell: it must see the name, whatever is in it.
func (s *screen) meant() {
	s.t.Helper()
	for typed, name := range map[string]registry.Name{"hbctl show cin": {Binary: "cinder-volume", Host: "node1@lvm#pool"}, "hbctl show od": wordsOf} {
		s.press("C-u", "C-l")
		s.types(typed)
		s.line("[0] " + typed)
		s.press("Tab")
		s.until("more of the name", func(lines []string) bool { return len(lines[0]) > len("[0] "+typed+"abc") })
		s.press("Enter")
		lines := s.prompt(0)
		if !slices.ContainsFunc(lines, func(line string) bool {
			return line == "Host             "+name.Host || strings.HasSuffix(line, " "+name.Host)
		}) {
			s.t.Errorf("%s shows:\n%s", name, strings.Join(lines, "\n"))
		}
	}
}

// completesNothing has etcd frozen: TAB does nothing, soon, and prints nothing.
func (s *screen) completesNothing(node *etcdtest.Node) {
	s.t.Helper()
	s.press("C-u", "C-l")
	s.types("hbctl show we")
	s.line("[0] hbctl show we")
	node.Freeze()
	defer node.Thaw()
	s.press("Tab")
	s.types("xyz")
	lines := s.until("what is typed after it", func(lines []string) bool { return lines[0] == "[0] hbctl show wexyz" })
	if len(lines) != 1 {
		s.t.Errorf("there is more on the screen:\n%s", strings.Join(lines, "\n"))
	}
}
