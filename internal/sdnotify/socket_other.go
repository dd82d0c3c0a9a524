//go:build !linux

package sdnotify

// Socket receives messages.
type Socket struct{}

// Listen returns ErrUnsupported.
func Listen() (*Socket, error) { return nil, ErrUnsupported }

// Address is what NOTIFY_SOCKET is to be.
func (*Socket) Address() string { return "" }

// Receive waits for a message.
func (*Socket) Receive() (Message, error) { return Message{}, ErrUnsupported }

// Close ends Receive.
func (*Socket) Close() error { return nil }
