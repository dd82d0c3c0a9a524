//go:build linux

package chaos

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hbctl/hbctl/integration/history"
)

// A proxy is the network between one process and etcd, or between the members: a port of its own for each member. It is whole
// until something is held. What is held is kept and delivered later, as TCP does, unless the connections are reset.
type proxy struct {
	listeners []net.Listener
	members   []string     // HOST:PORT
	delay     atomic.Int64 // of every chunk, each way
	callers   *callers     // nil: it does not matter who calls

	mu      sync.Mutex
	held    func(k *link, way int) bool
	change  chan struct{} // closed and replaced when held changes
	links   map[*link]bool
	closed  bool
	heard   []int64 // when a member last sent something, by the clock of histories
	running sync.WaitGroup
}

// Directions.
const (
	requests = iota
	answers
)

// link is one connection through the proxy.
type link struct {
	member int
	caller int // the member that it is from, or -1
	client net.Conn
	ctx    context.Context
	cut    context.CancelFunc
}

// newProxy starts a proxy to the members, given as HOST:PORT. Its close waits for all of it.
func newProxy(members []string) (*proxy, error) {
	p := &proxy{change: make(chan struct{}), links: make(map[*link]bool)}
	for _, m := range members {
		if _, err := p.add(m); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

// add opens a port for one more member, and gives its HOST:PORT.
func (p *proxy) add(member string) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := len(p.members)
	p.listeners, p.members, p.heard = append(p.listeners, l), append(p.members, member), append(p.heard, 0)
	p.running.Go(func() { p.serve(i, member, l) })
	return l.Addr().String(), nil
}

// endpoints gives the URLs under which the process finds etcd.
func (p *proxy) endpoints() []string {
	var out []string
	for _, l := range p.listeners {
		out = append(out, "http://"+l.Addr().String())
	}
	return out
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for _, l := range p.listeners {
		_ = l.Close()
	}
	p.reset()
	p.running.Wait()
}

func (p *proxy) serve(member int, address string, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		ctx, cut := context.WithCancel(context.Background())
		k := &link{member: member, caller: p.callers.of(conn), client: conn, ctx: ctx, cut: cut}
		p.mu.Lock()
		p.links[k] = true
		if p.closed {
			cut()
		}
		p.mu.Unlock()
		p.running.Go(func() { p.run(k, address) })
	}
}

// run carries one connection until either end has closed it.
func (p *proxy) run(k *link, address string) {
	defer p.drop(k)
	stop := context.AfterFunc(k.ctx, func() { hangUp(k.client) })
	defer stop()
	if !p.pass(k, requests) || !p.pass(k, answers) { // the handshake goes both ways
		return
	}
	var d net.Dialer
	server, err := d.DialContext(k.ctx, "tcp", address)
	if err != nil {
		return
	}
	defer hangUp(server)
	defer context.AfterFunc(k.ctx, func() { hangUp(server) })()
	var both sync.WaitGroup
	both.Go(func() { p.pump(k, requests, server, k.client) })
	both.Go(func() { p.pump(k, answers, k.client, server) })
	both.Wait()
}

func (p *proxy) pump(k *link, way int, to, from net.Conn) {
	defer k.cut()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if way == answers {
				p.mu.Lock()
				p.heard[k.member] = history.Now()
				p.mu.Unlock()
			}
			if !p.pass(k, way) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits as long as the direction is held. It gives false when the connection is gone.
func (p *proxy) pass(k *link, way int) bool {
	if d := time.Duration(p.delay.Load()); d > 0 {
		pause(k.ctx, d)
	}
	for {
		p.mu.Lock()
		held, change := p.held != nil && p.held(k, way), p.change
		p.mu.Unlock()
		if !held {
			return k.ctx.Err() == nil
		}
		select {
		case <-change:
		case <-k.ctx.Done():
			return false
		}
	}
}

func (p *proxy) drop(k *link) {
	k.cut()
	hangUp(k.client)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, k)
}

// hangUp closes a connection with a reset.
func hangUp(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// hold sets which directions are held, of all connections.
func (p *proxy) hold(requestsHeld, answersHeld bool) {
	held := [2]bool{requestsHeld, answersHeld}
	p.holdIf(func(_ *link, way int) bool { return held[way] })
}

// part holds what is from or to one member.
func (p *proxy) part(member int) {
	p.holdIf(func(k *link, _ int) bool { return k.member == member || k.caller == member })
}

func (p *proxy) holdIf(held func(k *link, way int) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
	close(p.change)
	p.change = make(chan struct{})
}

// reset breaks every connection, and loses what was held.
func (p *proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.links {
		k.cut()
	}
}

// heal makes the network whole. Where it was lossy, what was held up does not arrive.
func (p *proxy) heal(lossy bool) {
	p.delay.Store(0)
	if lossy {
		p.reset()
	}
	p.hold(false, false)
}

// loudest gives the member that was heard last.
func (p *proxy) loudest() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Index(p.heard, slices.Max(p.heard))
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
