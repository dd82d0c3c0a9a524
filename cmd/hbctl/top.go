package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/watcher"
)

func (p *program) topCommand() *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "the list as a live full-screen view",
		UsageText: "hbctl top [SELECTION]",
		Description: `Shows the instances and how many are up, by zone and state, and changes as it happens. While contact with etcd is lost it says
so, and what is shown is what was known then. Without a terminal it tells what happens line by line, as 'hbctl watch' does.

Keys:
   up, down, page up, page down, home, end    choose an instance
   enter                                      open it: all its fields and its last events
   /                                          show only what contains a text; enter keeps it, escape drops it
   s, r                                       sort by the next column; reverse the order
   d                                          only what is down, or all again
   q, escape                                  close what is open, and leave
   Ctrl-C, Ctrl-Z                             leave at once; stop until the shell's fg

Examples:
   hbctl top
   hbctl top --zone az1`,
		Flags:  selectorFlags(),
		Action: p.action(p.top),
	}
}

func (p *program) top(ctx context.Context, c *cli.Context) error {
	filter, err := selection(c)
	if err != nil {
		return err
	}
	if !terminal(p.stdout) || !terminal(p.stdin) || p.getenv("TERM") == "dumb" {
		return p.watch(ctx, c)
	}
	client, err := p.connectInTime(ctx, p.peek)
	if err != nil {
		return endedWell(ctx, err)
	}
	defer client.Close()
	w, err := watcher.New(client, watcher.Config{Prefix: p.settings.keys.Prefix(), Filter: filter, StartTimeout: p.settings.commandTimeout})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(p.stdin), tea.WithOutput(p.stdout), tea.WithoutSignalHandler()}
	if !p.color(p.stdout) {
		options = append(options, tea.WithColorProfile(colorprofile.Ascii))
	}
	inbox := newTopInbox()
	screen := tea.NewProgram(topScreen{newTopModel(time.Now()), p.color(p.stdout), inbox.next(ctx)}, options...)
	var watching sync.WaitGroup
	watching.Go(func() {
		for batch, err := range w.Watch(ctx, watcher.Now()) {
			if err != nil {
				stop(p.watchError(ctx, c, nil, err))
				return
			}
			inbox.put(batch)
		}
	})
	_, err = screen.Run()
	ended := context.Cause(ctx)
	stop(nil)
	watching.Wait()
	switch {
	case ended != nil:
		return topEnd(ctx, ended)
	case errors.Is(err, tea.ErrInterrupted):
		return stopped{signal: syscall.SIGINT} // the terminal makes a key of Ctrl-C, and no signal
	case err != nil:
		return fmt.Errorf("drawing the screen: %w", err)
	}
	return nil
}

// topEnd tells an end by a signal from one by an error.
func topEnd(ctx context.Context, cause error) error {
	if errors.As(cause, new(stopped)) {
		return endedBySignal(ctx)
	}
	return cause
}

// topScreen is the model as the screen's package wants it.
type topScreen struct {
	*topModel
	colored bool
	next    tea.Cmd // waits for what happens
}

type tick time.Time

func nextTick() tea.Cmd { return tea.Tick(time.Second, func(t time.Time) tea.Msg { return tick(t) }) }

// Init starts the clock by which ages grow, and waits for what happens.
func (s topScreen) Init() tea.Cmd { return tea.Batch(nextTick(), s.next) }

// Update takes what happened over.
func (s topScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case []watcher.Batch:
		s.now = time.Now() // what has just happened is not in the future
		s.take(msg...)
		return s, s.next
	case tick:
		s.now = time.Time(msg)
		return s, nextTick()
	case tea.WindowSizeMsg:
		s.resize(msg.Width, msg.Height)
	case tea.PasteMsg:
		if s.typing {
			s.typed("", strings.Join(strings.Fields(msg.Content), " "))
		}
	case tea.KeyPressMsg:
		switch msg.String() {
		case "ctrl+c":
			return s, tea.Interrupt
		case "ctrl+z":
			if resumable() { // else nothing would stop us, and we would wait for SIGCONT for ever
				return s, tea.Suspend
			}
		default:
			if s.key(msg.String(), msg.Key().Text) {
				return s, tea.Quit
			}
		}
	}
	return s, nil
}

// View draws.
func (s topScreen) View() tea.View {
	v := tea.NewView(s.draw(s.colored))
	v.AltScreen = true
	v.WindowTitle = "hbctl top"
	return v
}
