package main

import (
	"io"

	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newEtcdLogger gives the embedded etcd a logger whose lines look like ours: etcd logs with zap, so zap's JSON encoder
// writes zerolog's fields to zerolog's writer.
func newEtcdLogger(w io.Writer, level zerolog.Level) *zap.Logger {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey:        zerolog.TimestampFieldName,
		LevelKey:       zerolog.LevelFieldName,
		MessageKey:     zerolog.MessageFieldName,
		EncodeTime:     zapcore.TimeEncoderOfLayout(zerolog.TimeFieldFormat),
		EncodeLevel:    zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder,
	})
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zapLevel(level))
	return zap.New(core).With(zap.String("component", "etcd"))
}

// zapLevel gives the level of the same name. From fatal on nothing is written: etcd's own end is told by its errors.
func zapLevel(level zerolog.Level) zapcore.Level {
	switch level {
	case zerolog.TraceLevel, zerolog.DebugLevel:
		return zapcore.DebugLevel
	case zerolog.InfoLevel:
		return zapcore.InfoLevel
	case zerolog.WarnLevel:
		return zapcore.WarnLevel
	case zerolog.ErrorLevel:
		return zapcore.ErrorLevel
	}
	return zapcore.InvalidLevel
}

// etcdLogger is for the etcd of this program. It is wordy (40 lines a start, warnings about what is meant to be so), and so
// is only heard when something is wrong, unless more is asked for. quiet ends that too: etcd calls its own end an error.
func (p *program) etcdLogger() (log *zap.Logger, quiet func()) {
	level := p.settings.logLevel
	if level == zerolog.InfoLevel {
		level = zerolog.ErrorLevel
	}
	gate := zap.NewAtomicLevelAt(zapLevel(level))
	log = newEtcdLogger(p.logWriter(), level).WithOptions(zap.IncreaseLevel(gate))
	return log, func() { gate.SetLevel(zapcore.InvalidLevel) }
}
