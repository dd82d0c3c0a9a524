package main

import (
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// manager is the service manager that started this program, as systemd with Type=notify. Without one nothing is said.
type manager struct {
	p        *program
	listens  bool
	watchdog time.Duration // how often it wants a sign of life; 0: it does not
	failed   bool
	ticker   *time.Ticker
}

func (p *program) serviceManager() *manager {
	m := &manager{p: p, listens: p.getenv("NOTIFY_SOCKET") != ""}
	if !m.listens || p.getenv("WATCHDOG_USEC") == "" {
		return m
	}
	var err error
	if m.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		p.log.Warn().Msg("WATCHDOG_USEC: " + oneLine(err.Error()))
	}
	if m.watchdog > 0 {
		m.ticker = time.NewTicker(petting(m.watchdog))
	}
	return m
}

// petting is how often a watchdog is petted that wants it within a time: two may be late.
func petting(within time.Duration) time.Duration { return max(within/3, time.Millisecond) }

// due tells when alive is to be called. It is for the loop that does the program's work: if that hangs, nothing is said.
func (m *manager) due() <-chan time.Time {
	if m.ticker == nil {
		return nil
	}
	return m.ticker.C
}

func (m *manager) alive() { m.say(daemon.SdNotifyWatchdog) }

// say sends lines as one message.
func (m *manager) say(lines ...string) {
	if !m.listens || len(lines) == 0 {
		return
	}
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil && !m.failed {
		m.failed = true
		m.p.log.Warn().Msg("the service manager can't be told: " + oneLine(err.Error()))
	}
}

func (m *manager) close() {
	if m.ticker != nil {
		m.ticker.Stop()
	}
}

// managerVariables tell a process how to talk to who started it. The command gets ours instead.
var managerVariables = []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// withoutManager leaves them out.
func withoutManager(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(managerVariables, name)
	})
}
