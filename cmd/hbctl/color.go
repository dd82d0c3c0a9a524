package main

import (
	"github.com/hbctl/hbctl/registry"
	"github.com/hbctl/hbctl/watcher"
)

const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"

	bold    = "\x1b[1m"
	inverse = "\x1b[7m"
)

// colors are those of the words that matter, in the list and in the watch.
var colors = map[string]string{
	string(registry.Up):       green,
	string(registry.Down):     red,
	string(registry.Disabled): yellow,
	string(watcher.Suspect):   yellow,
	string(watcher.Cleared):   green,
	string(watcher.Warning):   yellow,
	lineReset:                 yellow,
	lineStale:                 yellow,
	lineLive:                  green,
}

// paint colours a word.
func paint(text string) string {
	if color := colors[text]; color != "" {
		return color + text + reset
	}
	return text
}
