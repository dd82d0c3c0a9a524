package main

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// On a terminal it asks, and does nothing without a yes; then it tells there what it is doing, and nothing of that is left on the
// screen.
func TestBenchAsks(t *testing.T) {
	t.Parallel()
	endpoint, _ := etcd(t)
	for answer, code := range map[string]int{"n": exitFailed, "": exitFailed, "yes": exitOK} {
		t.Run("answer "+answer, func(t *testing.T) {
			t.Parallel()
			stdout, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer stdout.Close()
			master, slave := openTerminal(t)
			said := make(chan string)
			go func() {
				var text strings.Builder
				r := bufio.NewReader(master)
				for {
					b, err := r.ReadByte()
					if err != nil { // with EIO, as terminals do
						said <- text.String()
						return
					}
					if text.WriteByte(b); strings.HasSuffix(text.String(), "Go on? [y/N] ") {
						_, _ = master.WriteString(answer + "\n")
					}
				}
			}()
			got := run(t.Context(), system{
				args: []string{
					"hbctl", "bench", "--endpoints", endpoint, "--prefix", "/asks-" + answer + "/", "--only", "catchup", "--n", "20", "--repeats", "1",
				},
				stdin: slave, stdout: stdout, stderr: slave, getenv: func(string) string { return "" },
			})
			slave.Close()
			text := <-said
			table, err := os.ReadFile(stdout.Name())
			if err != nil {
				t.Fatal(err)
			}
			if got != code || strings.Contains(string(table), "catchup ") != (code == exitOK) {
				t.Errorf("it ended with %d, and printed %q; on the terminal: %q", got, table, text)
			}
			if told := strings.Contains(text, eraseLine+"[0s] catchup: writing 20 events"); told != (code == exitOK) {
				t.Errorf("progress told is %v: %q", told, text)
			}
			if code == exitOK && !strings.HasSuffix(text, eraseLine) {
				t.Errorf("the line is still there: %q", text)
			}
			if code != exitOK && !strings.Contains(text, "nothing was done") {
				t.Errorf("it does not say that nothing was done: %q", text)
			}
		})
	}
}
