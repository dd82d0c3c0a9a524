// Package sdnotify receives what a service says by the sd_notify protocol: datagrams with lines of NAME=VALUE, sent to the
// socket that its environment names in NOTIFY_SOCKET.
//
// On Linux the socket has an abstract name: it is gone with the process that has it, however that ends, and a service
// that has given up its rights still reaches it. Whoever knows the name may send, so the kernel's word on the sender comes with each
// message.
package sdnotify

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ErrUnsupported says that this system has nothing to tell senders apart.
var ErrUnsupported = errors.New("sd_notify is not supported on this system")

// Message is one message.
type Message struct {
	PID   int // of the sender; 0 if it can't be seen from here
	UID   int
	lines []string
}

func newMessage(text string) Message {
	return Message{lines: strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })}
}

// Value gives the value of the last line of that name.
func (m Message) Value(name string) (value string, found bool) {
	for _, line := range m.lines {
		if n, v, ok := strings.Cut(line, "="); ok && n == name {
			value, found = v, true
		}
	}
	return value, found
}

// Is says whether there is such a line, as READY=1.
func (m Message) Is(name, value string) bool {
	v, found := m.Value(name)
	return found && v == value
}

// Microseconds gives the value of a line that is a time, as WATCHDOG_USEC; 0 if it is none.
func (m Message) Microseconds(name string) time.Duration {
	text, _ := m.Value(name)
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n > uint64(1<<63-1)/uint64(time.Microsecond) {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

// Select gives the lines of these names, as they were sent.
func (m Message) Select(names ...string) []string {
	var chosen []string
	for _, line := range m.lines {
		for _, name := range names {
			if strings.HasPrefix(line, name+"=") {
				chosen = append(chosen, line)
			}
		}
	}
	return chosen
}
