package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal gives both ends of a pseudo terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	w := down(t)
	w.put("strange", "key")
	for name, test := range map[string]struct {
		env    map[string]string
		args   []string
		colour bool
	}{
		"colour":            {nil, nil, true},
		"NO_COLOR":          {map[string]string{"NO_COLOR": "1"}, nil, false},
		"flag":              {nil, []string{"--no-color"}, false},
		"dumb terminal":     {map[string]string{"TERM": "dumb"}, nil, false},
		"log for a machine": {nil, []string{"--log-format", "json"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master, slave := openTerminal(t)
			code, _ := runOn(t, slave, test.env, append(append([]string{"list"}, test.args...), w.flags...)...)
			slave.Close()
			var text strings.Builder
			_, _ = bufio.NewReader(master).WriteTo(&text) // ends with EIO, as terminals do
			if got := strings.Contains(text.String(), red+"down"+reset); code != exitOK || got != test.colour {
				t.Errorf("code %d, coloured %v: %q", code, got, text.String())
			}
			if json := strings.Contains(text.String(), `"level":"warn"`); json != (name == "log for a machine") {
				t.Errorf("log as JSON is %v: %q", json, text.String())
			}
		})
	}
}
