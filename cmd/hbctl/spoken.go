package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/hbctl/hbctl/internal/sdnotify"
	"github.com/hbctl/hbctl/registry"
)

// spoken is what the command says by sd_notify, and what follows from it for the registration and for the service manager.
// It is owned by the loop that follows the command.
type spoken struct {
	p        *program
	manager  *manager
	socket   *sdnotify.Socket // nil: the command can't be heard
	messages chan sdnotify.Message
	done     chan struct{}
	hearing  sync.WaitGroup

	awaited  bool // the service manager is told "ready" only after the command has said so
	ready    bool // the command said so
	told     bool // the service manager knows
	watchdog time.Duration
	pets     bool // it is for the command to pet the watchdog, and not for us
	stopping bool
	ticker   *time.Ticker // to pet for it

	registration *registry.Registration // nil: not yet registered
}

// newSpoken opens the socket. Without a --watchdog that it would be needed for, the command may run unheard.
func (p *program) newSpoken(m *manager, watchdog time.Duration, awaited bool) (*spoken, error) {
	s := &spoken{
		p: p, manager: m, awaited: awaited, messages: make(chan sdnotify.Message), done: make(chan struct{}),
		watchdog: watchdog, pets: watchdog > 0 && !awaited,
	}
	if s.watchdog == 0 {
		s.watchdog = m.watchdog // and not before it is petted for the first time: the command may not know of it
	}
	var err error
	if s.socket, err = sdnotify.Listen(); err != nil {
		s.socket = nil
		if watchdog > 0 || awaited {
			return nil, fmt.Errorf("the command can't be heard: %w", err)
		}
		return s, nil
	}
	s.hearing.Go(s.hear)
	if s.watchdog > 0 {
		s.ticker = time.NewTicker(petting(s.watchdog))
	}
	return s, nil
}

func (s *spoken) hear() {
	for {
		m, err := s.socket.Receive()
		if err != nil {
			return
		}
		select {
		case s.messages <- m:
		case <-s.done:
			return
		}
	}
}

// environment is that of the command.
func (s *spoken) environment() []string {
	env := withoutManager(os.Environ())
	if s.socket != nil {
		env = append(env, "NOTIFY_SOCKET="+s.socket.Address())
	}
	if s.socket != nil && s.watchdog > 0 {
		env = append(env, fmt.Sprintf("WATCHDOG_USEC=%d", s.watchdog.Microseconds()))
	}
	return env
}

// due tells when petForIt is to be called.
func (s *spoken) due() <-chan time.Time {
	if s.ticker == nil {
		return nil
	}
	return s.ticker.C
}

// petForIt pets the watchdog for a command that need not do it: it is not ready yet, or is ending.
func (s *spoken) petForIt() {
	if s.registration != nil && (!s.pets || s.stopping) {
		s.registration.Pet()
	}
}

// registered is called when the instance is, and the command runs.
func (s *spoken) registered(r *registry.Registration) {
	s.registration = r
	if s.watchdog > 0 {
		r.SetWatchdog(s.watchdog) // from now on: the command has only just begun, or had a long time until etcd was there
	}
	s.tellReady()
}

func (s *spoken) tellReady() {
	if !s.told && s.registration != nil && (s.ready || !s.awaited) {
		s.told = true
		s.manager.say(daemon.SdNotifyReady)
	}
}

// trusted says whether a message came from the command: from its process group, or from our own user, who could do worse.
// Who has ended already can't be looked up.
func trusted(m sdnotify.Message, group int) bool {
	if m.UID == os.Geteuid() {
		return true
	}
	of, err := syscall.Getpgid(m.PID)
	return m.PID > 0 && err == nil && of == group
}

// errTripped is the reason of a command that has no other.
var errTripped = errors.New("the command tripped its watchdog")

// take does what one message asks for.
func (s *spoken) take(m sdnotify.Message, group int) {
	if !trusted(m, group) {
		s.p.log.Warn().Int("pid", m.PID).Int("uid", m.UID).Msg("sd_notify: a message of somebody else was not heeded")
		return
	}
	if status, ok := m.Value("STATUS"); ok {
		s.p.log.Debug().Str("status", oneLine(status)).Msg("the command says")
	}
	if m.Is("STOPPING", "1") {
		s.stopping = true
	}
	onward := m.Select("STATUS", "STOPPING", "RELOADING", "MONOTONIC_USEC", "ERRNO", "BUSERROR", "EXTEND_TIMEOUT_USEC")
	if m.Is("READY", "1") {
		first := !s.ready
		s.ready = true
		s.pets = s.pets || (s.awaited && s.watchdog > 0)
		if s.told && !first {
			onward = append(onward, daemon.SdNotifyReady) // after a reload
		}
	}
	s.manager.say(onward...)
	s.tellReady()
	s.guard(m)
}

// guard does what a message says about the watchdog.
func (s *spoken) guard(m sdnotify.Message) {
	if s.watchdog == 0 {
		return
	}
	every := m.Microseconds("WATCHDOG_USEC")
	if every > 0 {
		s.watchdog = every
		s.ticker.Reset(petting(every))
	}
	pet, trip := m.Is("WATCHDOG", "1"), m.Is("WATCHDOG", "trigger")
	s.pets = s.pets || pet || trip
	if s.registration == nil {
		return
	}
	if every > 0 {
		s.registration.SetWatchdog(every)
	}
	if pet {
		s.registration.Pet()
	}
	if trip {
		s.registration.Trip(errTripped)
	}
}

// close ends the hearing. The messages must not be waited for any more.
func (s *spoken) close() {
	if s.ticker != nil {
		s.ticker.Stop()
	}
	close(s.done)
	if s.socket != nil {
		s.socket.Close()
	}
	s.hearing.Wait()
}
