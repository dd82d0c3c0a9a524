package main

import (
	"errors"
	"syscall"
)

// follow passes signals on and watches the registration until the command ends.
func (r *runner) follow(registered *chan error) error {
	if *registered == nil {
		r.spoken.registered(r.keeper.registration)
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
	r.spoken.registered(r.keeper.registration)
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
		r.unguarded(errors.New("it was killed again and again"))
		return nil
	}
	r.p.log.Warn().Msg("the command's guardian was killed; starting another")
	if err := r.child.Reguard(); err != nil {
		r.unguarded(err)
		return nil
	}
	return r.child.Unguarded()
}
