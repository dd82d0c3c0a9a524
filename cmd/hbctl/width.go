package main

import (
	"os"

	"golang.org/x/term"
)

// usualWidth stands in for the width of what is no terminal, or of one that does not know.
const usualWidth = 80

// terminalWidth gives the columns of a terminal.
func terminalWidth(v any) int {
	f, ok := v.(*os.File)
	if !ok {
		return usualWidth
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return usualWidth
	}
	return width
}
