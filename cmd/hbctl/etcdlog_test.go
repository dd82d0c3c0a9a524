package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/zap"
)

func TestEtcdLogger(t *testing.T) {
	t.Run("looks like zerolog", func(t *testing.T) {
		var ours, theirs bytes.Buffer
		log := zerolog.New(&ours).With().Timestamp().Str("component", "etcd").Logger()
		log.Warn().Err(errors.New("boom")).Dur("took", time.Second).Msg("hello")
		newEtcdLogger(&theirs, zerolog.InfoLevel).Warn("hello", zap.Error(errors.New("boom")), zap.Duration("took", time.Second))

		want, got := map[string]any{}, map[string]any{}
		if err := json.Unmarshal(ours.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(theirs.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for field, value := range want {
			switch field {
			case "took": // a number of milliseconds there, words here
			case "time":
				if _, err := time.Parse(zerolog.TimeFieldFormat, got[field].(string)); err != nil {
					t.Error(err)
				}
			default:
				if got[field] != value {
					t.Errorf("%s is %v, want %v", field, got[field], value)
				}
			}
		}
	})
	t.Run("goes through the console", func(t *testing.T) {
		var out bytes.Buffer
		newEtcdLogger(zerolog.ConsoleWriter{Out: &out, NoColor: true}, zerolog.DebugLevel).Info("hello", zap.Int("n", 7))
		if got := out.String(); !strings.Contains(got, "INF hello") || !strings.Contains(got, "n=7") {
			t.Errorf("wrote %q", got)
		}
	})
	t.Run("keeps to the level", func(t *testing.T) {
		for level, want := range map[zerolog.Level]int{
			zerolog.TraceLevel: 4, zerolog.DebugLevel: 4, zerolog.InfoLevel: 3, zerolog.WarnLevel: 2, zerolog.ErrorLevel: 1,
			zerolog.FatalLevel: 0, zerolog.PanicLevel: 0, zerolog.Disabled: 0,
		} {
			var out bytes.Buffer
			log := newEtcdLogger(&out, level)
			log.Debug("")
			log.Info("")
			log.Warn("")
			log.Error("")
			if got := strings.Count(out.String(), "\n"); got != want {
				t.Errorf("level %v wrote %d lines, want %d", level, got, want)
			}
		}
	})
}
