package integration_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
	"github.com/hbctl/hbctl/registry"
)

// A small cloud is fifty services in three zones: most of them held by this process, and six by processes of their own, which
// can be killed.
type smallCloud struct {
	etcd  *etcdtest.Nodes
	alone []*hbtest.Program
}

// cloudName names the i-th service, from 1 on.
func cloudName(i int) registry.Name {
	switch {
	case i <= 20:
		return registry.Name{Binary: "cinder-volume", Host: fmt.Sprintf("node%02d@lvm#pool", i)}
	case i <= 46:
		return registry.Name{Binary: "nova-compute", Host: fmt.Sprintf("node%02d", i-20)}
	}
	return registry.Name{Binary: "neutron-agent", Host: fmt.Sprintf("node%02d", i-46)}
}

func cloudZone(i int) string { return fmt.Sprintf("az%d", i%3+1) }

const (
	cloudSize = 50
	cloudOwn  = 6 // the first of each eight are processes of their own
)

func startCloud(t *testing.T) *smallCloud {
	t.Helper()
	c := &smallCloud{etcd: etcdtest.Standalone(t)}
	r := hbtest.NewRegistry(t, c.etcd.Client())
	for i := 1; i <= cloudSize; i++ {
		if i%8 == 1 && len(c.alone) < cloudOwn {
			c.alone = append(c.alone, c.hold(t, i, "2s"))
			continue
		}
		hbtest.Register(t, r, cloudName(i), 10*time.Minute, func(in *registry.Instance) { in.Zone = cloudZone(i) })
	}
	return c
}

// hold has a process hold a name while another one, its child, goes on.
func (c *smallCloud) hold(t *testing.T, i int, ttl string) *hbtest.Program {
	t.Helper()
	name := cloudName(i)
	return hbctl(t, c.etcd.Endpoints(), "run", "--binary", name.Binary, "--host", name.Host, "--zone", cloudZone(i), "--ttl", ttl,
		"--report-interval", "0", "--", "sh", "-c", `trap "exit 3" USR1; trap "exit 0" TERM; while :; do sleep 0.1; done`)
}

// operate runs a command that ends by itself.
func (c *smallCloud) operate(t *testing.T, args ...string) {
	t.Helper()
	if p := hbctl(t, c.etcd.Endpoints(), args...); p.Ends(atTheScreen) != 0 {
		t.Fatalf("%q: %s", args, p.Said())
	}
}

// Everything that somebody does with top, in a real terminal.
func TestTerminalTop(t *testing.T) {
	t.Parallel()
	c := startCloud(t)
	s := openShell(t, "bash", 100, 56, c.etcd)
	s.enter("hbctl top")
	s.shows("50 instances: 50 up, 0 down, 0 disabled revision ", "az1 16/16 up az2 17/17 up az3 17/17 up", "\n50 shown, by name")
	then := func(what string, do func(*testing.T, *screen)) {
		if !t.Failed() {
			t.Run(what, func(t *testing.T) { do(t, s.of(t)) })
		}
	}
	then("deaths", c.deaths)
	then("the docs", documented)
	then("filter", filtered)
	then("sort", sorted)
	then("stale", c.stale)
	then("size", resized)
	then("suspended", suspended)
	then("ends", ended)
}

// deaths lets some services die, each in its way, and wants them seen. In the end five are down, one is forced down, one is disabled
// and one came back.
func (c *smallCloud) deaths(t *testing.T, s *screen) {
	c.alone[0].Signal(syscall.SIGKILL)
	row := func(i int, rest string) string {
		name := cloudName(i)
		return fmt.Sprintf("%s %s %s %s", name.Binary, name.Host, cloudZone(i), rest)
	}
	s.shows("49 up, 1 down", "az1 16/16 up az2 16/17 up az3 17/17 up", row(1, "enabled down "), "expired")
	c.hold(t, 1, "10m")
	s.shows("50 up, 0 down", row(1, "enabled up "))
	for _, p := range c.alone[1:4] {
		p.Signal(syscall.SIGKILL)
	}
	c.alone[4].Signal(syscall.SIGTERM)
	c.alone[5].Signal(syscall.SIGUSR1) // its command fails
	s.shows("45 up, 5 down", row(9, "enabled down "), row(17, "enabled down "), row(25, "enabled down "),
		row(33, "enabled down "), row(41, "enabled down "))
	c.operate(t, "disable", cloudName(2).String(), "--reason", "new disks")
	c.operate(t, "force-down", cloudName(3).String(), "--reason", "it hangs")
	lines := s.shows("50 instances: 44 up, 6 down, 1 disabled", row(2, "disabled up "), row(3, "enabled down "))
	causes := map[string]int{}
	for _, row := range rowsOf(lines) {
		if since, cause := row[len(row)-2], row[len(row)-1]; cause != "-" {
			causes[cause]++
			if since == "-" || since == "?" {
				t.Errorf("down, but not since when: %q", row)
			}
		}
	}
	if want := map[string]int{"expired": 3, "left": 1, "failed": 1, "forced": 1}; fmt.Sprint(causes) != fmt.Sprint(want) {
		t.Errorf("causes: %v, want %v\n%s", causes, want, strings.Join(lines, "\n"))
	}
}

// rowsOf gives the words of the rows on top's screen.
func rowsOf(lines []string) [][]string {
	titles := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "  BINARY") })
	var rows [][]string
	for _, line := range lines[titles+1 : len(lines)-1] {
		if line != "" {
			rows = append(rows, strings.Fields(strings.TrimPrefix(line, "> ")))
		}
	}
	return rows
}

var passing = regexp.MustCompile(`( (?:up|down) +)\S+ +(\S+)(?m:$)`)

// still gives what is seen on top's screen without the ages.
func still(lines []string) string {
	return passing.ReplaceAllString(strings.Join(lines, "\n"), "${1}AGE $2")
}

// resized gives the terminal other sizes, down to the smallest, and wants a clean screen at each.
func resized(t *testing.T, s *screen) {
	before := s.lines()
	for _, size := range []struct{ width, height int }{{60, 20}, {1, 1}, {20, 3}, {3, 20}, {200, 8}, {1, 1}, {80, 24}, {100, 56}} {
		s.resize(size.width, size.height)
		s.until(fmt.Sprintf("a clean screen of %dx%d", size.width, size.height), func(lines []string) bool {
			selected := 0
			for _, line := range lines {
				if strings.HasPrefix(line, ">") {
					selected++
				}
			}
			foot := lines[len(lines)-1]
			switch {
			case size.height == 1 || size.width < 3:
				return true // that it lives is seen at the next size
			case size.height < 6 || size.width < 60:
				return len(lines) == size.height && selected == 1 && strings.HasPrefix(foot, "50")
			}
			return len(lines) == size.height && selected == 1 && strings.HasPrefix(lines[0], "hbctl top   50 instances: 44 up, 6 down") &&
				strings.HasPrefix(lines[2], "  BINARY ") && strings.HasPrefix(foot, "50 shown, by name   enter")
		})
	}
	s.until("the first screen again", func(lines []string) bool { return still(lines) == still(before) })
}

// filtered shows only what contains a text.
func filtered(t *testing.T, s *screen) {
	s.press("/")
	s.types("NODE03")
	s.shows("filter: NODE03_ enter keeps it, escape drops it")
	s.press("Enter")
	s.shows(`3 of 50 shown, by name, with "NODE03" enter open`)
	if rows := rowsOf(s.lines()); len(rows) != 3 {
		t.Errorf("rows: %q", rows)
	}
	s.press("Escape")
	s.shows("\n50 shown, by name")
	s.press("/")
	s.shows("filter: _")
	s.tmux("set-buffer", "neutron-agent/node04\n")
	s.tmux("paste-buffer", "-p")
	s.shows("filter: neutron-agent/node04_")
	s.press("Enter")
	s.shows("1 of 50 shown")
	s.press("Escape")
	s.shows("\n50 shown, by name")
}

// sorted goes through all orders.
func sorted(t *testing.T, s *screen) {
	for _, by := range []struct{ key, foot, first, last string }{
		{"s", "by zone enter", "az1", "az3"},
		{"s", "by state enter", "down", "up"},
		{"r", "by state backwards ", "up", "down"},
		{"r", "by state enter", "down", "up"},
		{"s", "by since enter", "down", "up"},
		{"s", "by name enter", "cinder-volume", "nova-compute"},
	} {
		s.press(by.key)
		rows := rowsOf(s.shows("\n50 shown, " + by.foot))
		if !slices.Contains(rows[0], by.first) || !slices.Contains(rows[len(rows)-1], by.last) {
			t.Errorf("%s: from %q to %q", by.foot, rows[0], rows[len(rows)-1])
		}
	}
	s.press("d")
	if rows := rowsOf(s.shows("6 of 50 shown, by name, only down")); len(rows) != 6 {
		t.Errorf("only down: %q", rows)
	}
	s.press("d")
	s.shows("\n50 shown, by name")
}

// stale freezes etcd for a while.
func (c *smallCloud) stale(_ *testing.T, s *screen) {
	c.etcd.Nodes[0].Freeze()
	s.shows("STALE for ", "what is shown is what was known then", "50 instances: 44 up, 6 down, 1 disabled")
	c.etcd.Nodes[0].Thaw()
	s.until("no STALE", func(lines []string) bool { return !strings.Contains(strings.Join(lines, "\n"), "STALE") })
	s.shows("50 instances: 44 up, 6 down, 1 disabled")
}

// suspended goes to the shell and back.
func suspended(_ *testing.T, s *screen) {
	before := s.lines()
	s.press("C-z")
	s.prompt(148)
	s.restored()
	s.enter("fg")
	s.until("the same screen", func(lines []string) bool { return still(lines) == still(before) })
}

// ended leaves in each way. Nothing of the screen stays.
func ended(t *testing.T, s *screen) {
	s.press("C-c")
	s.prompt(130)
	s.restored()
	again := func() {
		t.Helper()
		s.enter("hbctl top")
		s.shows("\n50 shown")
	}
	left := func() {
		t.Helper()
		if lines := s.prompt(0); len(lines) != 2 {
			t.Errorf("what is left on the screen:\n%s", strings.Join(lines, "\n"))
		}
		s.restored()
	}
	again()
	s.press("q")
	left()
	again()
	if err := syscall.Kill(s.child(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	left()
}

// Where no shell could let it go on, as in a container, Ctrl-Z must not stop it for good.
func TestTerminalTopWithoutShell(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Standalone(t)
	s := openScreen(t, homeDir(t), 80, 24, etcd, "hbctl", "top")
	s.shows("0 instances", "q leave")
	s.press("C-z", "s")
	s.shows("by zone")
	s.press("q")
	// That the pane is dead is seen by its terminal, and may be known before the exit code is.
	hbtest.Eventually(t, atTheScreen, "it has ended", func() bool { return s.asked("#{pane_dead_status}#{pane_dead_signal}") != "" })
	if code := s.asked("#{pane_dead_status}"); code != "0" {
		t.Errorf("exit code %s, want 0", code)
	}
}
