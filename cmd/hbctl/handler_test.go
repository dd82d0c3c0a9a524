package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The output is the handler's. That nobody reads it must not end what misses nothing, and least of all with 0.
func TestHandlerOutlivesTheReaderOfItsOutput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	r.Close()
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	told := filepath.Join(t.TempDir(), "told")
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, system{
			args:  append(append([]string{"hbctl", "watch"}, w.flags...), "--", "sh", "-c", `cat >> "$0"`, told),
			stdin: strings.NewReader(""), stdout: stdout, stderr: new(strings.Builder), getenv: func(string) string { return "" },
		})
	}()
	w.record("web/n1", "")
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text, _ := os.ReadFile(told) // not there yet
		if strings.Contains(string(text), `"host":"n1"`) && strings.Contains(string(text), `"kind":"synced"`) {
			break
		}
		select {
		case code := <-ended:
			t.Fatalf("ended with %d", code)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("not told: %s", text)
		}
	}
	stop(stopped{syscall.SIGTERM})
	if code := <-ended; code != exitOK {
		t.Errorf("ended with %d", code)
	}
}
