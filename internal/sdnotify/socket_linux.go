package sdnotify

import (
	"crypto/rand"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxMessage is more than any message has; systemd takes 4 KiB.
const maxMessage = 16 << 10

// Socket receives messages.
type Socket struct{ conn *net.UnixConn }

// Listen opens a socket.
func Listen() (*Socket, error) {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "@hbctl-notify-" + rand.Text(), Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	s := &Socket{conn: conn}
	if err := s.askForCredentials(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("a socket that tells senders apart: %w", err)
	}
	return s, nil
}

func (s *Socket) askForCredentials() error {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		return err
	}
	return set
}

// Address is what NOTIFY_SOCKET is to be.
func (s *Socket) Address() string { return s.conn.LocalAddr().String() }

// Receive waits for a message. It returns an error only once the socket is closed or broken.
func (s *Socket) Receive() (Message, error) {
	buf, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(256*4))
	for {
		n, controlled, flags, _, err := s.conn.ReadMsgUnix(buf, control)
		if err != nil {
			return Message{}, err
		}
		m := newMessage(string(buf[:n]))
		known := m.read(control[:controlled])
		if known && flags&unix.MSG_TRUNC == 0 {
			return m, nil
		}
	}
}

// read takes who sent it, and closes the files that came along: BARRIER=1 brings one, and its sender waits until it is
// closed, to know that what it said before was read.
func (m *Message) read(control []byte) (known bool) {
	parts, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return false
	}
	for i := range parts {
		if files, err := unix.ParseUnixRights(&parts[i]); err == nil {
			for _, fd := range files {
				_ = syscall.Close(fd)
			}
		}
		if who, err := unix.ParseUnixCredentials(&parts[i]); err == nil {
			m.PID, m.UID, known = int(who.Pid), int(who.Uid), true
		}
	}
	return known
}

// Close ends Receive.
func (s *Socket) Close() error { return s.conn.Close() }
