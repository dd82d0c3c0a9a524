package supervise

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// guardianName is what a guardian's process is called. Its short name, which pkill and killall go by, is another one:
// who kills all programs of this one's name must not kill what is there for that very case.
const (
	guardianName  = "hbctl-guardian"
	guardianShort = "guardian"
)

// readyTimeout bounds the wait for a guardian to be ready, which takes milliseconds.
const readyTimeout = 10 * time.Second

// Guardian is a process that leads the process group into which a command is started, and kills that group when this
// process has died, whatever it died of. It is this program again (see IsGuardian). It learns of the death by a pipe whose other end only
// this process has.
//
// It is there before the command, and leads its group: so there is no moment at which a group exists that it does not
// know, and no other group can get the number while it lives. What is typed on a terminal for this process's group does
// not reach it, and what is sent to the command's group it ignores.
//
// It kills at once, without asking first. The lease of the instance is not renewed any more, so a successor may be started
// any moment; what is left must not act beside it.
type Guardian struct {
	cmd   *exec.Cmd
	word  *os.File // its end means that this process is gone
	ready *os.File
	ended chan struct{} // closed when it has ended: after Release, or because somebody killed it
}

// StartGuardian starts a guardian, which is of use once it is Ready. Release must be called.
func StartGuardian() (*Guardian, error) { return startGuardian(0) }

// startGuardian starts one that leads a new group, or joins one.
func startGuardian(group int) (*Guardian, error) {
	self, err := selfPath()
	if err != nil {
		return nil, err
	}
	listen, word, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer listen.Close()
	ready, tell, err := os.Pipe()
	if err != nil {
		word.Close()
		return nil, err
	}
	defer tell.Close()
	g := &Guardian{word: word, ready: ready, ended: make(chan struct{})}
	g.cmd = &exec.Cmd{
		Path: self, Args: []string{guardianName}, Env: []string{}, // no secrets of ours
		Dir:         "/", // it must not keep a file system busy
		ExtraFiles:  []*os.File{listen, tell},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pgid: group},
	}
	if err := startUnstoppable(g.cmd); err != nil {
		word.Close()
		ready.Close()
		return nil, fmt.Errorf("starting a guardian: %w", cause(err))
	}
	go func() {
		defer close(g.ended)
		_ = g.cmd.Wait() // how it ended does not matter, and whoever buries orphans may have been faster
	}()
	return g, nil
}

func (g *Guardian) pid() int { return g.cmd.Process.Pid }

// Ready waits until the guardian can't be ended by a signal to its group any more.
func (g *Guardian) Ready() error {
	defer g.ready.Close()
	if err := g.ready.SetReadDeadline(time.Now().Add(readyTimeout)); err != nil {
		return err
	}
	if _, err := io.ReadFull(g.ready, make([]byte, 1)); err != nil {
		return fmt.Errorf("the guardian does not start: %w", err)
	}
	return nil
}

// What is said to a guardian.
const (
	wordReleased = byte(iota + 1) // all is well
	wordForking                   // a child may be stopped before it runs its program
	wordForked                    // it runs
)

func (g *Guardian) say(word byte) {
	_, _ = g.word.Write([]byte{word}) // fails if it is gone, or was released
}

// Release ends the guardian, and leaves what is in its group alone. It does nothing the second time.
func (g *Guardian) Release() {
	g.say(wordReleased)
	g.word.Close()
	g.ready.Close()
	<-g.ended
}

// The descriptors that a guardian gets.
const (
	listenFD = 3
	readyFD  = 4
)

// IsGuardian says whether this process was started to be a guardian. The program must look before anything else, and then
// end with what Guard returns.
func IsGuardian(args []string) bool { return len(args) > 0 && filepath.Base(args[0]) == guardianName }

// Guard is the whole life of a guardian's process; it returns the exit code.
func Guard() int {
	signal.Ignore(ignoredByGuardian()...)
	setShortName(guardianShort)
	listen, ready := os.NewFile(listenFD, "word"), os.NewFile(readyFD, "ready")
	if !isPipe(listen) || !isPipe(ready) {
		return CodeNotExecutable // somebody typed our name
	}
	_, _ = ready.Write([]byte{1})
	ready.Close()
	if listenUntilReleased(listen) {
		return 0
	}
	_ = syscall.Kill(0, syscall.SIGKILL) // our group, and us with it: all at once, so that nothing can be started meanwhile
	return CodeNotExecutable
}

// listenUntilReleased does what it is told until it is released, or whoever tells it is gone.
func listenUntilReleased(words io.Reader) (released bool) {
	settled := func() {}
	defer func() { settled() }()
	for word := make([]byte, 1); ; {
		if _, err := io.ReadFull(words, word); err != nil {
			return false
		}
		switch word[0] {
		case wordReleased:
			return true
		case wordForking:
			settled = resuming(os.Getppid)
		case wordForked:
			settled()
			settled = func() {}
		}
	}
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// ignoredByGuardian are the signals that a group gets as a whole: from a terminal, from us, and from a member that ends
// itself together with all that it started.
func ignoredByGuardian() []os.Signal {
	return []os.Signal{
		syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGALRM, syscall.SIGTERM, syscall.SIGPIPE,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGVTALRM, syscall.SIGXCPU,
	}
}
