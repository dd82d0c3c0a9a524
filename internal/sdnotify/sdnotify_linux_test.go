package sdnotify_test

import (
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hbctl/hbctl/internal/sdnotify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) (*sdnotify.Socket, *net.UnixConn) {
	t.Helper()
	s, err := sdnotify.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.Address(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return s, conn
}

func receive(t *testing.T, s *sdnotify.Socket) sdnotify.Message {
	t.Helper()
	stop := time.AfterFunc(10*time.Second, func() { s.Close() })
	defer stop.Stop()
	m, err := s.Receive()
	if err != nil {
		t.Fatalf("no message: %v", err)
	}
	return m
}

func TestMessage(t *testing.T) {
	t.Parallel()
	s, conn := listen(t)
	text := "READY=1\n\nSTATUS=half = done\njunk\nSTATUS=done\nWATCHDOG_USEC=1500000\nMAINPID=7\nLONG_USEC=99999999999999999999\nBAD_USEC=-1\n"
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	m := receive(t, s)
	if m.PID != os.Getpid() || m.UID != os.Getuid() {
		t.Errorf("sent by pid %d uid %d, want %d and %d", m.PID, m.UID, os.Getpid(), os.Getuid())
	}
	if status, found := m.Value("STATUS"); !found || status != "done" {
		t.Errorf("status %q, %v", status, found)
	}
	if !m.Is("READY", "1") || m.Is("READY", "") || m.Is("STOPPING", "1") || m.Is("junk", "") {
		t.Error("read another message than was sent")
	}
	if got := m.Microseconds("WATCHDOG_USEC"); got != 1500*time.Millisecond {
		t.Errorf("WATCHDOG_USEC is %v", got)
	}
	for _, name := range []string{"LONG_USEC", "BAD_USEC", "STATUS", "ABSENT"} {
		if got := m.Microseconds(name); got != 0 {
			t.Errorf("%s is %v", name, got)
		}
	}
	if got := m.Select("STATUS", "READY"); !slices.Equal(got, []string{"READY=1", "STATUS=half = done", "STATUS=done"}) {
		t.Errorf("selected %q", got)
	}
}

// A message that is too long is dropped, and nothing hangs on files that came along.
func TestLongMessageAndFiles(t *testing.T) {
	t.Parallel()
	s, conn := listen(t)
	if _, err := conn.Write(make([]byte, 20<<10)); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sender, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	to := &net.UnixAddr{Name: s.Address(), Net: "unixgram"}
	if _, _, err := sender.WriteMsgUnix([]byte("BARRIER=1"), unix.UnixRights(int(w.Fd())), to); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if m := receive(t, s); !m.Is("BARRIER", "1") {
		t.Errorf("got %+v", m)
	}
	if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("the file that came along is still open: %d, %v", n, err)
	}
}

// systemd-notify waits until what it said was read.
func TestSystemdNotify(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a process")
	}
	path, err := exec.LookPath("systemd-notify")
	if err != nil {
		t.Skip("there is no systemd-notify here")
	}
	s, _ := listen(t)
	cmd := exec.Command(path, "--ready", "--status=here")
	cmd.Env = []string{"NOTIFY_SOCKET=" + s.Address()}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := receive(t, s)
	if !m.Is("READY", "1") || !m.Is("STATUS", "here") {
		t.Errorf("got %+v", m)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for err := error(nil); err == nil; {
			_, err = s.Receive()
		}
	}()
	stuck := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	stuck.Stop()
	s.Close()
	<-drained
}
