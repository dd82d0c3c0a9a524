package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/etcdtest"
	"github.com/hbctl/hbctl/internal/hbtest"
)

// atTheScreen is how long somebody looks at a screen until he gives up on what should be seen there at once: the machine may be
// busy with other packages.
const atTheScreen = 60 * time.Second

// A screen is a real terminal: a window of a tmux server of its own, to which nobody is attached.
type screen struct {
	t      testing.TB
	socket string
	env    []string
}

// shells are told what they need by a file: prompts that show the last exit code, as in "[0] ", and the completion of hbctl.
var shells = map[string]struct {
	file, settings string
	command        func(dir string) []string
}{
	"bash": {"rc", `PS1='[$?] '
HISTFILE=
source <(hbctl completion bash)
`, func(dir string) []string { return []string{"bash", "--noprofile", "--rcfile", dir + "/rc", "-i"} }},
	"zsh": {".zshrc", `PS1='[%?] '
unsetopt prompt_sp
autoload -U compinit && compinit -u -D
source <(hbctl completion zsh)
`, func(string) []string { return []string{"zsh", "-d", "-i"} }},
	"fish": {"rc", `function fish_prompt; echo -n "[$status] "; end
set fish_greeting
set -g fish_autosuggestion_enabled 0
hbctl completion fish | source
`, func(dir string) []string { return []string{"fish", "--no-config", "-C", "source " + dir + "/rc"} }},
}

// openShell opens a terminal with a shell that has hbctl in its path and knows where etcd is.
func openShell(t testing.TB, shell string, width, height int, etcd *etcdtest.Nodes) *screen {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skipf("there is no %s here", shell)
	}
	dir := homeDir(t)
	how := shells[shell]
	if err := os.WriteFile(filepath.Join(dir, how.file), []byte(how.settings), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openScreen(t, dir, width, height, etcd, how.command(dir)...)
	s.prompt(0)
	return s
}

// homeDir is a home directory, with a short name: those of sockets may not be long. A shell that is just ending may still
// write there, so what can't be removed stays.
func homeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hbctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// openScreen opens a terminal with a program in it.
func openScreen(t testing.TB, home string, width, height int, etcd *etcdtest.Nodes, command ...string) *screen {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("there is no tmux here")
	}
	s := &screen{t: t, socket: filepath.Join(home, "tmux")}
	server := exec.Command("tmux", "-D", "-S", s.socket, "-f", "/dev/null")
	s.env = []string{
		"HOME=" + home, "ZDOTDIR=" + home, "SHELL=/bin/sh", "LC_ALL=C.UTF-8", "TERM=screen",
		"PATH=" + filepath.Dir(etcdtest.Binary(t, "./cmd/hbctl")) + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"HBCTL_ENDPOINTS=" + strings.Join(etcd.Endpoints(), ","),
	}
	server.Env = s.env
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // its terminals, and all in them, end with it
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	hbtest.Eventually(t, atTheScreen, "tmux answers", func() bool { return s.client("set-option", "-g", "remain-on-exit", "on").Run() == nil })
	s.tmux(append([]string{"new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), "--"}, command...)...)
	return s
}

// of gives the screen to a part of the test.
func (s *screen) of(t testing.TB) *screen {
	mine := *s
	mine.t = t
	return &mine
}

// client makes a command for the server.
func (s *screen) client(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-u", "-N", "-S", s.socket}, args...)...)
	cmd.Env = s.env // a new window has the path of who asks for it
	return cmd
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	out, err := s.client(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// press presses keys, by their names in tmux: C-c, Tab, Enter.
func (s *screen) press(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys", "--"}, keys...)...)
}

// types types a text.
func (s *screen) types(text string) {
	s.t.Helper()
	s.tmux("send-keys", "-l", "--", text)
}

// resize changes the size of the terminal.
func (s *screen) resize(width, height int) {
	s.t.Helper()
	s.tmux("resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

// lines are what is seen, without blanks at the ends.
func (s *screen) lines() []string {
	s.t.Helper()
	lines := strings.Split(strings.TrimRight(s.tmux("capture-pane", "-p"), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// until waits until what is seen is so, and gives that.
func (s *screen) until(what string, so func(lines []string) bool) []string {
	s.t.Helper()
	for deadline := time.Now().Add(atTheScreen); ; time.Sleep(30 * time.Millisecond) {
		lines := s.lines()
		if so(lines) {
			return lines
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not seen within %v: %s; what is seen:\n%s", atTheScreen, what, strings.Join(lines, "\n"))
		}
	}
}

var blanks = regexp.MustCompile(` +`)

// shows waits until all of the texts are seen at once. One blank in them is any number of blanks.
func (s *screen) shows(texts ...string) []string {
	s.t.Helper()
	return s.showsAs(func(text string) string { return blanks.ReplaceAllString(text, " ") }, texts)
}

// aligned is shows with all blanks as they are.
func (s *screen) aligned(texts ...string) []string {
	s.t.Helper()
	return s.showsAs(strings.Clone, texts)
}

func (s *screen) showsAs(read func(string) string, texts []string) []string {
	s.t.Helper()
	return s.until(fmt.Sprintf("%q", texts), func(lines []string) bool {
		seen := read(strings.Join(lines, "\n"))
		return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(seen, read(text)) })
	})
}

// line waits until the last line is this one.
func (s *screen) line(want string) []string {
	s.t.Helper()
	return s.until(fmt.Sprintf("a last line %q", want), func(lines []string) bool { return lines[len(lines)-1] == want })
}

// prompt waits until the shell asks for a command, after one that ended with the code.
func (s *screen) prompt(code int) []string {
	s.t.Helper()
	want := fmt.Sprintf("[%d]", code)
	return s.until("the prompt "+want, func(lines []string) bool {
		return strings.TrimPrefix(lines[len(lines)-1], "^C") == want // the terminal echoes Ctrl-C
	})
}

// enter types a command at the shell's prompt, and gives it to the shell when it is seen: what comes after it is new.
func (s *screen) enter(command string) {
	s.t.Helper()
	s.press("C-l")
	s.until("an empty screen with a prompt", func(lines []string) bool { return len(lines) == 1 && strings.HasSuffix(lines[0], "]") })
	s.types(command)
	s.until(command, func(lines []string) bool { return strings.HasSuffix(strings.Join(lines, ""), "] "+command) })
	s.press("Enter")
}

// restored fails the test unless the terminal is as a shell needs it.
func (s *screen) restored() {
	s.t.Helper()
	if state := s.asked("#{alternate_on} #{cursor_flag} #{mouse_any_flag}"); state != "0 1 0" {
		s.t.Errorf("alternate screen, cursor, mouse: %s, want 0 1 0", state)
	}
	s.enter("stty -a")
	settings := strings.Fields(strings.Join(s.prompt(0), " "))
	for _, want := range []string{"echo", "icanon", "isig", "icrnl", "opost", "onlcr"} {
		if !slices.Contains(settings, want) {
			s.t.Errorf("the terminal is left without %s", want)
		}
	}
}

// asked gives what tmux knows of the terminal.
func (s *screen) asked(format string) string {
	s.t.Helper()
	return strings.TrimSpace(s.tmux("display-message", "-p", format))
}

// child waits until the shell has a child, and gives its process id.
func (s *screen) child() (pid int) {
	s.t.Helper()
	shell, err := strconv.Atoi(s.asked("#{pane_pid}"))
	if err != nil {
		s.t.Fatal(err)
	}
	hbtest.Eventually(s.t, atTheScreen, "the shell has a child", func() bool {
		children := childrenOf(shell)
		if len(children) > 0 {
			pid = children[0]
		}
		return pid != 0
	})
	return pid
}

// childrenOf gives the processes that a process has started.
func childrenOf(pid int) (children []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // fails only for a wrong pattern
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread is gone
		}
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}

// processState gives the letter that the kernel has for how a process is, and its name.
func processState(pid int) (state, name string) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", ""
	}
	head, rest, _ := strings.Cut(string(stat), ") ")
	_, name, _ = strings.Cut(head, "(")
	return rest[:1], name
}
