package supervise

import (
	"context"
	"errors"
	"syscall"
	"time"
)

const (
	// Nobody tells when the last process of a group ends, so it is looked for.
	sweepInterval = 10 * time.Millisecond
	// reapTimeout bounds the wait for what was killed to go.
	reapTimeout = time.Second
)

// Sweep waits until nothing of the child's process group is left. What has not stopped within the grace, counted from
// the call, or when the context is done, is killed. It is meant for after Done: until then the child itself is left.
func (p *Process) Sweep(ctx context.Context, grace time.Duration) {
	<-p.done
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if p.awaitEmpty(ctx) {
		return
	}
	p.killGroup(syscall.SIGKILL)
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), reapTimeout)
	defer cancel()
	p.awaitEmpty(ctx)
}

// awaitEmpty says whether the group became empty before the context was done.
func (p *Process) awaitEmpty(ctx context.Context) bool {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		if p.empty() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

func (p *Process) empty() bool {
	pgid := p.cmd.Process.Pid
	// Where this process is the one that inherits orphans, as in a container, it must also bury them.
	for {
		if pid, err := syscall.Wait4(-pgid, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
			break
		}
	}
	return errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH) || onlyZombies(pgid)
}
