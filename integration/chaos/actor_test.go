//go:build linux

package chaos

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
)

// endLimit is how long a process may take to end after a SIGTERM.
const endLimit = 25 * time.Second

// An actor is a place in the play, held by one process after another. Its steps come from one goroutine at a time.
type actor struct {
	t     testing.TB
	place string // as "holder3"
	dir   string // for histories and logs
	rec   *history.Recorder
	proxy *proxy
	role  role
	// command makes the process. Nil: this program, in the role.
	command func(source string) *exec.Cmd
	// listen, if set, gets what the process prints, until that ends.
	listen func(source string, out io.Reader)
	// mayEnd says whether the process may end by itself; it is started again then.
	mayEnd func(code int) bool

	mu     sync.Mutex
	number int // of processes so far
	source string
	cmd    *exec.Cmd // nil: there is no process
	stdin  io.WriteCloser
	gone   chan struct{} // closed when the process was waited for
	frozen bool
	told   bool // it was killed or asked to end
}

// spawn starts a process.
func (a *actor) spawn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.number++
	a.source = fmt.Sprintf("%s#%d", a.place, a.number)
	cmd, err := a.prepare()
	if err != nil {
		a.t.Errorf("%s: %v", a.source, err)
		return
	}
	var out io.ReadCloser
	if a.listen != nil {
		out, err = cmd.StdoutPipe()
	}
	if err == nil {
		a.stdin, err = cmd.StdinPipe()
	}
	at := history.Now()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		a.t.Errorf("%s: %v", a.source, err)
		return
	}
	a.rec.Record(history.Record{Kind: history.Spawn, Target: a.source, PID: cmd.Process.Pid, At: at})
	a.cmd, a.gone, a.frozen, a.told = cmd, make(chan struct{}), false, false
	go a.wait(a.source, cmd, a.stdin, out, a.gone)
}

func (a *actor) prepare() (*exec.Cmd, error) {
	var cmd *exec.Cmd
	if a.command != nil {
		cmd = a.command(a.source)
	} else {
		r := a.role
		r.Source, r.History, r.Endpoints = a.source, filepath.Join(a.dir, a.source+".jsonl"), a.proxy.endpoints()
		text, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		cmd = exec.Command(self)
		cmd.Env = append(os.Environ(), roleVariable+"="+string(text))
	}
	log, err := os.Create(filepath.Join(a.dir, a.source+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	if a.listen == nil {
		cmd.Stdout = log
	}
	// Whoever runs into a timeout of go test leaves nobody behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// wait waits for the end of one process.
func (a *actor) wait(source string, cmd *exec.Cmd, stdin io.Closer, out io.ReadCloser, gone chan<- struct{}) {
	defer close(gone)
	if out != nil {
		a.listen(source, out)
	}
	_ = cmd.Wait()
	_ = stdin.Close()
	if log, ok := cmd.Stderr.(*os.File); ok {
		_ = log.Close()
	}
	a.rec.Record(history.Record{Kind: history.Died, Target: source})
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.source == source {
		a.cmd = nil
	}
	if code := cmd.ProcessState.ExitCode(); !a.told && (a.mayEnd == nil || !a.mayEnd(code)) {
		a.t.Errorf("%s ended by itself: %v; see %s", source, cmd.ProcessState, filepath.Join(a.dir, source+".log"))
	}
}

// running gives the source of the process, or "".
func (a *actor) running() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd == nil {
		return ""
	}
	return a.source
}

// now gives the source of the newest process.
func (a *actor) now() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.source
}

// ensure starts a process if there is none.
func (a *actor) ensure() {
	if a.running() == "" {
		a.spawn()
	}
}

func (a *actor) signal(kind history.Kind, sig syscall.Signal) (gone <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd == nil {
		return nil
	}
	a.frozen = kind == history.Stopped
	a.told = a.told || sig == syscall.SIGKILL || sig == syscall.SIGTERM
	a.rec.Record(history.Record{Kind: kind, Target: a.source})
	_ = a.cmd.Process.Signal(sig) // fails when it has ended
	return a.gone
}

// kill ends the process with SIGKILL and waits for its end.
func (a *actor) kill() {
	if gone := a.signal(history.Killed, syscall.SIGKILL); gone != nil {
		<-gone
	}
}

// freeze stops the process, thaw lets it go on.
func (a *actor) freeze() { a.signal(history.Stopped, syscall.SIGSTOP) }

func (a *actor) thaw() {
	a.mu.Lock()
	frozen := a.frozen
	a.mu.Unlock()
	if frozen {
		a.signal(history.Resumed, syscall.SIGCONT)
	}
}

// stop asks the process to end and waits until it has.
func (a *actor) stop() {
	gone := a.signal(history.Asked, syscall.SIGTERM)
	if gone == nil {
		return
	}
	timer := time.NewTimer(endLimit)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
		a.t.Errorf("%s does not end within %v of a SIGTERM", a.now(), endLimit)
		a.kill()
	}
}

// tell gives the process an order. One that has just died does not hear it.
func (a *actor) tell(o order) {
	text, err := json.Marshal(o)
	if err != nil {
		a.t.Error(err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cmd != nil {
		_, _ = a.stdin.Write(append(text, '\n'))
	}
}
