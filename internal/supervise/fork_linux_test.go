package supervise_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hbctl/hbctl/internal/supervise"
)

// Ctrl-Z may come in the moment in which a child is forked and does not run its program yet. That must not stop us with it, as
// a process that can do nothing any more: so it is another one that tries.
func TestStopBetweenForkAndExec(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	parent := exec.CommandContext(ctx, os.Args[0])
	parent.Env = append(os.Environ(), "SUPERVISE_STOPPED=1")
	parent.WaitDelay = time.Second
	out, err := parent.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("the start never returns; until then: %s", out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}

// startStopped is the life of that other process: it starts commands, each while its group is sent one SIGTSTP after the other.
func startStopped() int {
	const tries, stopping = 10, 20 * time.Millisecond
	late := 0
	for range tries {
		g, err := supervise.StartGuardian()
		if err != nil || g.Ready() != nil {
			fmt.Println("no guardian:", err)
			return 1
		}
		sent := make(chan struct{})
		group := onlyChild()
		go func() {
			defer close(sent)
			for begin := time.Now(); time.Since(begin) < stopping; {
				_ = syscall.Kill(-group, syscall.SIGTSTP)
			}
		}()
		begin := time.Now()
		p, err := supervise.Start(supervise.Command{Args: []string{"true"}, Guardian: g})
		if err != nil {
			fmt.Println("start:", err)
			return 1
		}
		if time.Since(begin) > stopping {
			late++
		}
		<-sent
		p.Stop(syscall.SIGCONT) // it may have been stopped again since
		<-p.Done()
		p.Sweep(context.Background(), time.Second)
		g.Release()
	}
	fmt.Printf("%d of %d starts outlasted the stops\n", late, tries)
	return 0
}

// onlyChild gives the number of this process's only child.
func onlyChild() int {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return pid
		}
	}
	panic("no child")
}
