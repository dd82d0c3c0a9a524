package supervise

import (
	"context"
	"errors"
	"syscall"
	"time"
)

const (
	// Nobody tells when the last process of a group ends, so it is looked for: soon, and then less often.
	firstLook = 5 * time.Millisecond
	lastLook  = 100 * time.Millisecond
	// reapTimeout bounds the wait for what was killed to go.
	reapTimeout = time.Second
)

// Sweep waits until nothing of the child's process group is left, its guardian included. What has not stopped within the
// grace, counted from the call, or when the context is done, is killed. It is meant for after Done: until then the child
// itself is left.
func (p *Process) Sweep(ctx context.Context, grace time.Duration) {
	<-p.done
	if !groupIsVisible {
		p.release()
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if !await(ctx, p.deserted) {
		p.killGroup(syscall.SIGKILL) // the guardian too
	}
	// Not later: once the group is empty its number may become somebody else's.
	p.release()
	if p.empty() {
		return
	}
	p.killGroup(syscall.SIGKILL)
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), reapTimeout)
	defer cancel()
	await(ctx, p.empty)
}

// await looks until something is so, and says whether it was before the context was done.
func await(ctx context.Context, so func() bool) bool {
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		if so() {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// deserted says that nobody but the guardian is left in the group.
func (p *Process) deserted() bool {
	if g := p.guarding(); g != nil {
		return onlyZombies(p.group, g.pid())
	}
	return p.empty()
}

// empty says that nobody is left in the group.
func (p *Process) empty() bool {
	// Where this process is the one that inherits orphans, as in a container, it must also bury them.
	for {
		if pid, err := syscall.Wait4(-p.group, nil, syscall.WNOHANG, nil); err != nil || pid <= 0 {
			break
		}
	}
	return errors.Is(syscall.Kill(-p.group, 0), syscall.ESRCH) || onlyZombies(p.group, 0)
}
