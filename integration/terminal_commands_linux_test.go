package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
)

// What runs until it is stopped stops by Ctrl-Z, goes on by fg, and ends by Ctrl-C, as a shell expects it.
func TestTerminalSignals(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Standalone(t)
	hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(1), 10*time.Minute)
	for _, c := range []struct {
		command string
		going   string // what is seen when it is going
		again   string // what is seen of an up of node2 after it went on; "" if it shows none
	}{
		{"hbctl watch", " synced ", " up vol/node002 "},
		{"hbctl list -w", "vol     node001  ", " up vol/node002 "},
		{"hbctl wait --for state=down vol/node001 --timeout 10m", "", ""},
		{"hbctl register --binary web --host h1", "registered", ""},
		{"hbctl run --binary web --host h2 -- sleep 1000", "registered", ""},
	} {
		t.Run(strings.Join(strings.Fields(c.command)[:2], " "), func(t *testing.T) {
			s := openShell(t, "bash", 120, 30, etcd)
			s.enter(c.command)
			s.child()
			if c.going != "" {
				s.shows(c.going)
			}
			s.press("C-z")
			s.stopped()
			s.enter("fg")
			if c.again != "" {
				g := hbtest.Register(t, hbtest.NewRegistry(t, etcd.Client()), hbtest.Node(2), time.Minute)
				s.shows(c.again)
				if err := hbtest.CloseWithin(10*time.Second, g.Close); err != nil {
					t.Fatal(err)
				}
			}
			s.running()
			s.press("C-c")
			s.prompt(130)
			s.restored()
		})
	}
	for name, row := range hbtest.List(t, etcd.Client()) {
		if left := row.Cause != nil && *row.Cause == registry.CauseLeft; name != hbtest.Node(1) && !left {
			t.Errorf("%s has not left: %s", name, row.State)
		}
	}
}

// stopped waits for the prompt after Ctrl-Z: 128 and SIGTSTP or SIGSTOP.
func (s *screen) stopped() {
	s.t.Helper()
	s.until("the prompt", func(lines []string) bool {
		return slices.Contains([]string{"[147]", "[148]"}, lines[len(lines)-1])
	})
}

// running waits until the shell's job goes on, after fg.
func (s *screen) running() {
	s.t.Helper()
	s.until("the job going on", func(lines []string) bool {
		state, _ := processState(s.child())
		return (state == "S" || state == "R") && !strings.HasPrefix(lines[len(lines)-1], "[")
	})
}

// talkative counts what reaches it, and says that it lives.
const talkative = `
trap 'interrupts=$((interrupts + 1)); echo "interrupted $interrupts"' INT
trap 'echo "bye"; exit 7' TERM
while :; do sleep 0.1; beats=$((beats + 1)); echo "beat $beats"; done
`

// The command of run writes to the terminal, is reached by each Ctrl-C once, and stops and goes on together with hbctl.
func TestTerminalRun(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Standalone(t)
	script := filepath.Join(t.TempDir(), "talkative")
	if err := os.WriteFile(script, []byte(talkative), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openShell(t, "bash", 120, 1000, etcd)
	s.enter("hbctl run --binary web --host h1 -- bash " + script)
	s.shows("\nbeat 2\n")
	for i := 1; i <= 3; i++ {
		s.press("C-c")
		s.shows(fmt.Sprintf("interrupted %d", i))
		before := s.beats()
		s.until("it goes on", func([]string) bool { return s.beats() > before+3 })
	}
	if seen := strings.Count(strings.Join(s.lines(), "\n"), "interrupted"); seen != 3 {
		t.Errorf("interrupted %d times by 3 times Ctrl-C:\n%s", seen, strings.Join(s.lines(), "\n"))
	}
	s.press("C-z")
	s.stopped()
	hbtest.Eventually(t, atTheScreen, "the command is stopped too", func() bool {
		return slices.ContainsFunc(childrenOf(s.child()), func(child int) bool {
			state, name := processState(child)
			return name == "bash" && state == "T"
		})
	})
	s.press("C-l")
	before := s.beats()
	s.types("fg")
	s.press("Enter")
	s.until("it goes on", func([]string) bool { return s.beats() > before })
	if err := syscall.Kill(s.child(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.prompt(7)
	s.restored()
}

// beats gives the last number that the talkative one said.
func (s *screen) beats() (n int) {
	s.t.Helper()
	for _, line := range s.lines() {
		_, _ = fmt.Sscanf(line, "beat %d", &n) // other lines are no numbers
	}
	return n
}
