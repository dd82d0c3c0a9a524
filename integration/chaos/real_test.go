//go:build linux

package chaos

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hbctl/hbctl/integration/history"
)

const soon = 20 * time.Second

// A fault that does nothing would prove everything.
func TestFaultsAreReal(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	c := startCluster(t, history.NewRecorder(io.Discard, "test"))
	put := func(i int, limit time.Duration) (time.Duration, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		start := time.Now()
		_, err := c.single[i].Put(ctx, "k", "v")
		return time.Since(start), err
	}
	eventually := func(what string, ok func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		for !ok() {
			if pause(ctx, 50*time.Millisecond); ctx.Err() != nil {
				t.Fatalf("not within %v: %s", soon, what)
			}
		}
	}

	t.Run("a parted leader is alone, and the others have a leader of their own", func(t *testing.T) {
		leader := c.leader(t.Context())
		other := (leader + 1) % memberCount
		c.peers.part(leader)
		eventually("the others can write", func() bool { _, err := put(other, time.Second); return err == nil })
		if _, err := put(leader, time.Second); err == nil {
			t.Error("the parted member can write")
		}
		c.peers.heal(true)
		eventually("the parted member can write again", func() bool { _, err := put(leader, time.Second); return err == nil })
	})

	t.Run("a slow fsync slows down a write", func(t *testing.T) {
		const by = 400 * time.Millisecond
		leader := c.leader(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		slowed, attached := make(chan struct{}), true
		go func() { defer close(slowed); attached = c.slowDisk(ctx, leader, by, soon) }()
		defer func() { <-slowed }()
		defer cancel()
		var took time.Duration
		eventually("a write that is slow, or no strace", func() bool {
			select {
			case <-slowed:
				return true
			default:
			}
			// A leader commits when a quorum has it on disk, itself or not; what it applies it has on its own.
			took, _ = put(leader, soon)
			return took > by*9/10
		})
		cancel()
		if <-slowed; !attached {
			t.Skip("strace is not here, or may not attach")
		}
		t.Logf("a write took %v", took.Round(time.Millisecond))
	})
}

// What is held arrives when the network is whole again, and never if the connection was reset meanwhile.
func TestProxy(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(conn, conn) // an echo
				_ = conn.Close()
			})
		}
	})
	p, err := newProxy([]string{server.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.close(); _ = server.Close(); serving.Wait() }()
	dial := func() (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", p.listeners[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn, bufio.NewReader(conn)
	}
	say := func(conn net.Conn, what string) {
		if _, err := io.WriteString(conn, what+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(conn net.Conn, in *bufio.Reader, limit time.Duration) (string, error) {
		_ = conn.SetReadDeadline(time.Now().Add(limit))
		return in.ReadString('\n')
	}

	conn, in := dial()
	say(conn, "one")
	if got, err := hear(conn, in, soon); got != "one\n" {
		t.Fatalf("heard %q, %v", got, err)
	}
	for _, way := range [][2]bool{{true, false}, {false, true}, {true, true}} {
		p.hold(way[0], way[1])
		say(conn, "held")
		if got, err := hear(conn, in, 100*time.Millisecond); !os.IsTimeout(err) {
			t.Errorf("held %v: heard %q, %v", way, got, err)
		}
		p.heal(false)
		if got, err := hear(conn, in, soon); got != "held\n" {
			t.Errorf("healed %v: heard %q, %v", way, got, err)
		}
	}
	p.hold(true, true)
	say(conn, "lost")
	late, _ := dial() // it is reset, or comes through: both happen
	p.heal(true)
	if got, err := hear(conn, in, soon); err == nil || os.IsTimeout(err) {
		t.Errorf("reset: heard %q, %v", got, err)
	}
	again, againIn := dial()
	say(again, "two")
	if got, err := hear(again, againIn, soon); got != "two\n" {
		t.Errorf("after the reset: heard %q, %v", got, err)
	}
	for _, c := range []net.Conn{conn, late, again} {
		_ = c.Close()
	}
}
