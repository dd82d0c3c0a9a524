package main

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/hbctl/hbctl/watcher"
)

func (p *program) watchCommand() *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "tell what goes up and down, as it happens",
		UsageText: "hbctl watch [--since REVISION | --state-file FILE] [--confirm TIME] [--only-changes] [--bookmarks] [SELECTION] [-o text|json] [-- COMMAND [ARGUMENTS]]",
		ArgsUsage: "[-- COMMAND [ARGUMENTS]]",
		Description: `First tells what is there (present), then "synced", then one line for each event until it is stopped:
   up, down, updated, enabled, disabled, forgotten   it happened; down has a cause, see 'hbctl help list'
   suspect, cleared                                  only with --confirm, see below
   warning                                           data that can't be read, once a key
   stale, live                                       contact with etcd is lost, and back; nothing is called down meanwhile
   reset                                             history was lost: forget what you had; present lines and synced follow
   bookmark                                          nothing new up to this revision (only with --bookmarks)

Text is TIME KIND BINARY/HOST ZONE DETAILS. With -o json it is one object a line; "more" is true on all but the last
line of what belongs together, and the revision of a line without it is a safe place to resume with --since.

With --confirm a service whose key goes, and that did not say why, is first told as suspect. It is told down when TIME is
over and etcd has answered meanwhile, and cleared if the same process is back by then, under another incarnation: etcd
itself can delete the keys of what lives, and an operator too. While suspects are open, the revision of the lines stays
before the oldest of them, so that who resumes there misses no down.

With --state-file what was seen is kept in FILE, an own one for each watch. Started again after any time it tells exactly what
changed, with the same selection, then "synced", and no present lines. Killed at any moment it loses nothing, and
repeats only what it was just printing.

With -- COMMAND nothing is printed: COMMAND is run for each batch, what belongs together, with its JSON lines on stdin, one batch
at a time. Only when it has ended with 0 the next follows, and the position in the state file moves; else it gets the same
lines again, after a wait. With --state-file it sees every change at least once, whatever is killed meanwhile. When hbctl
is killed, so is COMMAND with all that it has started: no two of them run at once.

An event is told when its row was selected before it or is selected after it, so a row that leaves the selection, by a
new zone, label, status or state, is seen to leave; and what was told up is told down even if it has left since.

Examples:
   hbctl watch
   hbctl watch --only-changes --zone az1
   hbctl watch -o json | jq -r 'select(.kind=="down") | .host'
   hbctl watch -o json --since 4711        what happened after revision 4711, then what happens
   hbctl watch -o json --state-file /var/lib/hbctl/watch.state       misses nothing, also while it does not run
   hbctl watch -o json --confirm 2s        for whoever acts on deaths: a down only when it is certain
   hbctl watch --state-file f --confirm 2s -- ./evacuate             acts on each death once it is certain, and misses none`,
		Flags: append(selectorFlags(),
			&cli.StringFlag{Name: "since", Usage: "resume after `REVISION`; 0 means from now"},
			&cli.StringFlag{Name: "state-file", Usage: "keep what was seen in `FILE`, and go on from there when started again"},
			&cli.StringFlag{Name: "confirm", Usage: "tell suspect first, and down when `TIME` is over and it did not come back", DefaultText: "0: down at once"},
			&cli.BoolFlag{Name: "only-changes", Usage: "leave out what is there at the start"},
			&cli.BoolFlag{Name: "bookmarks", Usage: "tell the position now and then while nothing happens"},
			outputFlag("text", "json"),
		),
		Action: p.action(p.watch),
	}
}

func (p *program) watch(ctx context.Context, c *cli.Context) error {
	view := &watchView{onlyChanges: c.Bool("only-changes"), bookmarks: c.Bool("bookmarks"), colored: p.color(p.stdout)}
	config := watcher.Config{Prefix: p.settings.keys.Prefix(), StartTimeout: p.settings.commandTimeout}
	var err error
	if config.Filter, err = selection(c); err != nil {
		return err
	}
	if view.format, err = output(c, "text", "json"); err != nil {
		return err
	}
	if config.Confirm, err = flagTime(c, "confirm", 0); err != nil {
		return err
	}
	if config.Confirm < 0 {
		return usageIn("watch", "--confirm %v: want a time as 2s, or 0 for down at once", config.Confirm)
	}
	from, err := since(c)
	if err != nil {
		return err
	}
	to, err := p.sink(view, c.String("output") == "text")
	if err != nil {
		return err
	}
	defer to.close()
	state, err := p.openState(c, &config)
	if err != nil {
		return err
	}
	return state.end(p.tell(ctx, c, to, config, state, from))
}

// tell connects, and tells what happens until the end.
func (p *program) tell(ctx context.Context, c *cli.Context, to sink, config watcher.Config, state *stateFile, from watcher.Position) error {
	client, err := p.connectInTime(ctx, p.peek)
	if err != nil {
		return endedWell(ctx, err)
	}
	defer client.Close()
	w, err := watcher.New(client, config)
	if err != nil {
		return err
	}
	state.follow(w)
	ctx, release := to.ends(ctx)
	defer release()
	for batch, err := range w.Watch(ctx, state.position(from)) {
		if err != nil {
			return p.watchError(ctx, c, state, err)
		}
		if err := to.take(ctx, &batch); err != nil {
			return endedWell(ctx, err)
		}
	}
	return endedBySignal(ctx)
}

// endedWell prefers the end that was asked for to an error that came of it.
func endedWell(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return endedBySignal(ctx)
	}
	return err
}

// detail is what an error says after its reason.
func detail(err, reason error) string {
	_, text, _ := strings.Cut(err.Error(), reason.Error()+": ")
	return text
}

// since reads where to begin.
func since(c *cli.Context) (watcher.Position, error) {
	if !c.IsSet("since") {
		return watcher.Now(), nil
	}
	text := c.String("since")
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil || revision < 0 {
		return watcher.Position{}, usageIn("watch", "--since %s: want a revision of etcd, as in the lines of 'hbctl watch -o json'", quoteShort(text))
	}
	return watcher.After(revision), nil
}

// watchError turns the end of a watch into words for the user.
func (p *program) watchError(ctx context.Context, c *cli.Context, state *stateFile, err error) error {
	if refused := state.refused(err); refused != nil {
		return refused
	}
	if kept := new(stateError); errors.As(err, &kept) {
		return kept
	}
	switch {
	case errors.Is(err, watcher.ErrFuture):
		return usageIn("watch", "--since %s is ahead of etcd: %s; was it taken from another cluster, or was etcd restored from a backup?",
			c.String("since"), strings.TrimPrefix(detail(err, watcher.ErrFuture), c.String("since")+", "))
	case errors.Is(err, watcher.ErrUnreachable):
		return &unreachableError{reason: err.Error()[strings.Index(err.Error(), watcher.ErrUnreachable.Error()):]}
	case isDenied(err):
		return &exitError{code: exitDenied, err: p.denied(err)}
	}
	return endedWell(ctx, err)
}
