package main

import (
	"io"

	"github.com/rs/zerolog"
)

const (
	formatConsole = "console"
	formatJSON    = "json"
)

var (
	logFormats = []string{formatConsole, formatJSON}
	logLevels  = []string{"debug", "info", "warn", "error"} // as zerolog calls them
)

// newLog makes the logger of the program. It writes to stderr: stdout is for data.
func (p *program) newLog() zerolog.Logger {
	return zerolog.New(p.logWriter()).Level(p.settings.logLevel).With().Timestamp().Logger()
}

// logWriter takes lines of JSON; on a terminal, or if asked to, it makes them readable.
func (p *program) logWriter() io.Writer {
	format := p.settings.logFormat
	if format == "" {
		format = formatJSON
		if terminal(p.stderr) {
			format = formatConsole
		}
	}
	if format == formatJSON {
		return p.stderr
	}
	return zerolog.ConsoleWriter{Out: p.stderr, NoColor: !p.color(p.stderr), TimeFormat: "15:04:05.000"}
}
