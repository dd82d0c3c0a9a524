package etcdtest

import (
	"context"
	"net"
	"sync"
)

// A Gate is the network between one client and its server. It is open until a test
// cuts it.
//
// A cut network is a silent one: nothing is refused and no connection breaks, bytes
// just stop arriving, and new connections wait. As TCP does, a Gate keeps what was
// sent meanwhile and delivers it, in order, when the network is whole again. A test
// that wants it lost calls Break before Heal.
//
// All methods may be called at any time and from any goroutine.
type Gate struct {
	mu       sync.Mutex
	requests bool          // requests are held
	answers  bool          // answers are held
	whole    chan struct{} // closed when neither is held
	conns    map[*gateConn]struct{}
}

func newGate() *Gate {
	whole := make(chan struct{})
	close(whole)
	return &Gate{whole: whole, conns: make(map[*gateConn]struct{})}
}

// Cut holds everything in both directions.
func (g *Gate) Cut() { g.cut(true, true) }

// CutRequests holds what the client sends. Answers to what arrived before still pass.
func (g *Gate) CutRequests() { g.cut(true, false) }

// CutAnswers holds what the server sends: a request is carried out, and its client
// never hears of it.
func (g *Gate) CutAnswers() { g.cut(false, true) }

func (g *Gate) cut(requests, answers bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.requests && !g.answers {
		g.whole = make(chan struct{})
	}
	g.requests = g.requests || requests
	g.answers = g.answers || answers
}

// Heal makes the network whole and delivers what was held.
func (g *Gate) Heal() {
	g.mu.Lock()
	if !g.requests && !g.answers {
		g.mu.Unlock()
		return
	}
	g.requests, g.answers = false, false
	conns := g.snapshot()
	close(g.whole)
	g.mu.Unlock()
	for _, c := range conns {
		c.flush()
	}
}

// Break resets every connection, at both ends, and loses what was held. It neither
// cuts nor heals: on an open Gate the client may connect again at once.
func (g *Gate) Break() {
	g.mu.Lock()
	conns := g.snapshot()
	clear(g.conns)
	g.mu.Unlock()
	for _, c := range conns {
		_ = c.reset()
	}
}

// Conns is the number of connections that the client holds open.
func (g *Gate) Conns() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.conns)
}

func (g *Gate) snapshot() []*gateConn {
	conns := make([]*gateConn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	return conns
}

// holding tells which direction is held, and gives a channel to wait on until none is.
func (g *Gate) holding() (requests, answers bool, whole <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests, g.answers, g.whole
}

// A dialer connects to an address, as net.Dialer does.
type dialer func(ctx context.Context, addr string) (net.Conn, error)

// dial connects through dial as soon as the network is whole.
func (g *Gate) dial(ctx context.Context, addr string, dial dialer) (net.Conn, error) {
	for {
		_, _, whole := g.holding()
		select {
		case <-whole:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		conn, err := dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		c := &gateConn{Conn: conn, gate: g, closed: make(chan struct{})}
		g.mu.Lock()
		if g.requests || g.answers { // cut meanwhile: the handshake was lost
			g.mu.Unlock()
			_ = conn.Close()
			continue
		}
		g.conns[c] = struct{}{}
		g.mu.Unlock()
		return c, nil
	}
}

// A gateConn is the client's end of a connection through a Gate.
type gateConn struct {
	net.Conn
	gate *Gate

	wmu  sync.Mutex // orders what is written
	held []byte     // sent by the client, not delivered yet

	once   sync.Once
	closed chan struct{}
}

func (c *gateConn) Write(p []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	if requests, _, _ := c.gate.holding(); requests {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	err := c.deliver()
	if err == nil {
		_, err = c.Conn.Write(p)
	}
	// That the connection is broken is an answer too. A client that heard of it here and
	// not from its held Read would try again without end, and no clock would run.
	if _, answers, _ := c.gate.holding(); err != nil && !answers {
		return 0, err
	}
	return len(p), nil
}

// deliver sends what was held. The caller has wmu.
func (c *gateConn) deliver() error {
	held := c.held
	c.held = nil
	if len(held) == 0 {
		return nil
	}
	_, err := c.Conn.Write(held)
	return err
}

func (c *gateConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for {
		_, answers, whole := c.gate.holding()
		if !answers {
			break
		}
		select {
		case <-whole:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	return n, err
}

// Close loses what is held: a request that the client has given up does not arrive.
func (c *gateConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.reset()
}

func (c *gateConn) reset() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// flush delivers what was held.
func (c *gateConn) flush() {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if requests, _, _ := c.gate.holding(); requests || c.isClosed() {
		return // cut again: the next Heal does it
	}
	if err := c.deliver(); err != nil {
		_ = c.Conn.Close()
	}
}

func (c *gateConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}
