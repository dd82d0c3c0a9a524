package supervise

import (
	"os"
	"os/exec"
	"time"
)

// fork starts the command. What is typed on the terminal reaches a child also in the moment between its fork and its exec, and
// Ctrl-Z stops it there: it has not got our signal handlers any more. The kernel lets the thread that forked wait for the
// exec, and the Go scheduler waits for that thread before long: this process would hang, deaf to all signals. So whom a stop
// caught there is made to go on, by the guardian, which does not hang. What was typed reached this process too, and is passed on
// once the command runs.
func fork(cmd *exec.Cmd, g *Guardian) error {
	if g == nil {
		defer resuming(os.Getpid)()
		return cmd.Start() // with luck: nobody collects garbage before the first look
	}
	g.say(wordForking)
	defer g.say(wordForked)
	return cmd.Start()
}

// resuming makes children of a process go on that were stopped before they ran their program, until it is told to end.
func resuming(parent func() int) (end func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for pause := firstLook; ; pause = min(2*pause, lastLook) {
			select {
			case <-done:
				return
			case <-time.After(pause):
				resumeForked(parent())
			}
		}
	}()
	return func() { close(done); <-ended }
}
