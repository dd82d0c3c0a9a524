package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/hbctl/hbctl/registry"
)

// follow passes signals on and watches the registration until the command ends.
func (r *runner) follow(registered *chan error) error {
	if *registered == nil {
		r.settled()
	}
	unguarded := r.child.Unguarded()
	for {
		select {
		case <-r.child.Done():
			return &childEnd{code: r.child.Result().Code}
		case s := <-r.signals:
			if number, ok := s.(syscall.Signal); ok {
				r.pass(number)
			}
		case <-r.deaths:
			r.child.Bury()
		case <-r.child.Stopped():
			r.p.log.Warn().Msg("the command was stopped by a signal; it is still registered. If it reads from the terminal, give it another input, as </dev/null")
		case <-unguarded:
			unguarded = r.reguard()
		case m := <-r.spoken.messages:
			r.spoken.take(m, r.child.Group())
		case <-r.spoken.due():
			r.spoken.petForIt()
		case <-r.manager.due():
			r.manager.alive()
		case e := <-r.keeper.lost:
			r.lost(string(e.Kind))
		case <-r.over:
			r.over = nil
			r.explaining.Go(r.explain)
		case err := <-*registered:
			*registered = nil
			r.registered(err)
		}
	}
}

// registered takes how the registration of a command came out that was started anyway.
func (r *runner) registered(err error) {
	if err != nil {
		r.say(err)
		r.lost("not registered")
		return
	}
	r.settled()
}

// settled takes note of the registration, which is there from now on.
func (r *runner) settled() {
	r.spoken.registered(r.keeper.registration)
	r.over = r.keeper.registration.Done()
}

// explain says why the registration is over for good. The event in the log knows neither who evicted it nor what for, and who
// finds a command that runs unregistered should not have to guess.
func (r *runner) explain() {
	why := inWords(r.keeper.ended(r.patient))
	if r.onLost != onLostTerm && r.onLost != onLostKill {
		why += "; the command runs on, unregistered: see --on-lost"
	}
	r.p.log.Warn().Msg(why)
}

// explained waits until that is told, and not longer than ctx.
func (r *runner) explained(ctx context.Context) {
	if r.over != nil && (r.unfit == string(registry.Evicted) || r.unfit == string(registry.Replaced)) {
		// The event that had us stop the command comes a moment before the registration's end.
		select {
		case <-r.over:
			r.explaining.Go(r.explain)
		case <-ctx.Done():
		}
	}
	defer context.AfterFunc(ctx, r.hush)()
	r.explaining.Wait()
}

// pass passes a signal on.
func (r *runner) pass(s syscall.Signal) {
	if s == syscall.SIGTSTP {
		r.pause()
		return
	}
	if stops(s) {
		r.spoken.stopping = true // what is ending need not pet its watchdog
	}
	r.child.Pass(s)
}

// pause stops the command and then this process, as the terminal asked, until both are to go on: the command must not
// work while nobody renews its lease.
func (r *runner) pause() {
	if !resumable() {
		return
	}
	if r.child == nil {
		stopSelf()
		return
	}
	r.child.Pass(syscall.SIGTSTP)
	stopSelf()
	r.child.Pass(syscall.SIGCONT)
	select {
	case <-r.child.Stopped(): // by us: nothing to warn of
	default:
	}
}

// maxReguards is how often a guardian is replaced: if something on the machine kills them all, that is its wish.
const maxReguards = 5

// reguard puts another guardian in the place of one that was killed.
func (r *runner) reguard() <-chan struct{} {
	if r.reguards++; r.reguards > maxReguards {
		r.p.unguarded("command", errors.New("it was killed again and again"))
		return nil
	}
	r.p.log.Warn().Msg("the command's guardian was killed; starting another")
	if err := r.child.Reguard(); err != nil {
		r.p.unguarded("command", err)
		return nil
	}
	return r.child.Unguarded()
}
