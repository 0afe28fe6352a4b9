package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"millrace/call"
	"millrace/internal/tick"
)

// Peers owns this node's connections to all other nodes. Its methods may be called from
// any goroutine, also before Serve and after Close.
type Peers struct {
	cfg    Config
	ln     net.Listener
	shaker *shaker
	rate   rateLimit

	// ctx ends when Close begins. It ends every goroutine of the package.
	ctx    context.Context
	cancel context.CancelFunc

	links     sync.Map // node ID → *link
	endpoints sync.Map // shard → *Transport

	snapOut, snapIn chan struct{} // semaphores
	snapWaiting     atomic.Int32  // snapshots that wait for snapIn

	mu       sync.Mutex
	closing  bool                  // no further goroutine starts, no further connection opens
	leaving  bool                  // Leave was called
	open     map[net.Conn]struct{} // every open socket, for Close
	conns    map[*conn]struct{}    // the connections with a finished handshake, for keep
	unproved map[string]int        // accepted connections in their handshake, by host
	nUnprov  int                   // the sum of unproved
	wg       sync.WaitGroup

	// noise limits log messages about connections that have proved nothing, because
	// anyone can cause such messages.
	noise noiseLimit
}

// ErrClosed means that Close was called.
var ErrClosed = errors.New("peer: closed")

// Listen opens the listening socket. Connections are accepted once Serve is called.
func Listen(cfg Config) (*Peers, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	ln, err := lc.Listen(ctx, "tcp", cfg.ListenAddr)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("peer: listen: %w", err)
	}
	p := &Peers{
		cfg: cfg, ln: ln, ctx: ctx, cancel: cancel,
		rate:     rateLimit{perSecond: cfg.Limits.SnapshotRate},
		snapOut:  make(chan struct{}, maxSnapshots),
		snapIn:   make(chan struct{}, maxSnapshots),
		open:     map[net.Conn]struct{}{},
		conns:    map[*conn]struct{}{},
		unproved: map[string]int{},
	}
	p.shaker = newShaker(&p.cfg, p.advertise)
	return p, nil
}

// keepAlive lets the kernel find dead connections during a handshake or a snapshot. A
// connection that carries frames has pings of its own.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4}

// Addr returns the address of the listening socket.
func (p *Peers) Addr() net.Addr { return p.ln.Addr() }

// advertise returns the address that is sent to other nodes.
func (p *Peers) advertise() string {
	if p.cfg.AdvertiseAddr != "" {
		return p.cfg.AdvertiseAddr
	}
	return p.ln.Addr().String()
}

// Serve accepts connections and pings them until ctx ends or Close is called. It closes
// p before it returns. Its error is nil unless accepting failed.
func (p *Peers) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.stop)
	defer stop()
	p.goFunc(p.keep) // pings every connection once per PingEvery
	err := p.accept()
	p.Close()
	return err
}

// Close closes the listener and every connection. Open calls are answered with an
// error. Close returns once all goroutines have ended.
func (p *Peers) Close() {
	p.stop()
	p.wg.Wait()
}

// stop begins to close p, without waiting for its goroutines.
func (p *Peers) stop() {
	p.mu.Lock()
	p.closing = true
	conns := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	for nc := range p.open {
		nc.Close()
	}
	p.mu.Unlock()
	p.cancel()
	p.ln.Close()
	for _, c := range conns {
		c.fail(ErrClosed)
	}
}

// goFunc runs f on a goroutine that Close waits for. Once Close has begun it returns
// false and does not run f.
func (p *Peers) goFunc(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	p.wg.Go(func() {
		f()
	})
	return true
}

// track adds nc to the sockets that Close closes. Once Close has begun it closes nc and
// returns false.
func (p *Peers) track(nc net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		nc.Close()
		return false
	}
	p.open[nc] = struct{}{}
	return true
}

// drop closes nc and forgets it.
func (p *Peers) drop(nc net.Conn) {
	nc.Close()
	p.mu.Lock()
	delete(p.open, nc)
	p.mu.Unlock()
}

// accept accepts connections until p closes.
func (p *Peers) accept() error {
	var delay time.Duration
	for {
		nc, err := p.ln.Accept()
		if err == nil {
			delay = 0
			p.accepted(nc)
			continue
		}
		if p.ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("peer: accept: %w", err)
		}
		// Most likely the process has no file descriptor left, and may have one soon.
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		p.cfg.Logger.Error("cannot accept a peer connection", "err", err, "retry_in", delay)
		select {
		case <-time.After(delay):
		case <-p.ctx.Done():
			return nil
		}
	}
}

// accepted starts the goroutine of an accepted connection, unless too many
// connections are in their handshake.
func (p *Peers) accepted(nc net.Conn) {
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		nc.Close()
		return
	}
	p.mu.Lock()
	full := p.nUnprov >= p.cfg.Limits.Handshakes || p.unproved[host] >= p.cfg.Limits.Handshakes/4
	if !full {
		p.nUnprov++
		p.unproved[host]++
	}
	p.mu.Unlock()
	if full {
		nc.Close()
		p.refused("too many peer connections are in their handshake", nc, ErrBusy)
		return
	}
	proved := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.nUnprov--
		if p.unproved[host]--; p.unproved[host] == 0 {
			delete(p.unproved, host)
		}
	}
	if p.cfg.TLS != nil {
		nc = tls.Server(nc, p.cfg.TLS)
	}
	if !p.track(nc) {
		proved()
		return
	}
	if !p.goFunc(func() { p.serveConn(nc, proved) }) {
		p.drop(nc)
		proved()
	}
}

// refused logs the failure of an accepted connection, unless noise is exceeded.
func (p *Peers) refused(message string, nc net.Conn, err error, attrs ...any) {
	if skipped, ok := p.noise.allow(time.Now()); ok {
		p.cfg.Logger.Warn(message, append([]any{"remote", nc.RemoteAddr().String(), "err", err, "not_logged", skipped}, attrs...)...)
	}
}

// serveConn handles an accepted connection from its handshake to its end. It calls
// proved when the handshake is over, whatever the result.
func (p *Peers) serveConn(nc net.Conn, proved func()) {
	defer p.drop(nc)
	kind, who, err := p.shaker.accept(nc, p.admit)
	proved()
	if err != nil {
		if p.ctx.Err() == nil {
			p.refused("peer connection refused", nc, err, "peer", who.node)
		}
		return
	}
	who.address = reachable(who.address, nc.RemoteAddr())
	switch kind {
	case purposePeer:
		p.run(nc, who, func() {})
	case purposeBulk:
		p.receiveSnapshot(nc, who)
	case purposeHello:
		p.answerHello(nc)
	case purposeDialMe:
		p.link(who.node).dialMe(who)
	}
}

// admit refuses a dialler that has proved itself but may not open this connection: the
// node with the lower ID dials, the other one asks to be dialled.
func (p *Peers) admit(kind purpose, who identity) error {
	switch {
	case p.ctx.Err() != nil:
		return ErrBusy
	case kind == purposePeer && who.node > p.cfg.NodeID, kind == purposeDialMe && who.node < p.cfg.NodeID:
		return ErrDirection
	}
	return nil
}

// reachable completes the address that a node gave itself. If its host is missing or
// unspecified, the host from which the node was seen takes its place: ":7947" seen
// from 10.0.0.5 becomes "10.0.0.5:7947". It returns "" for an address that is none.
func reachable(addr string, seen net.Addr) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, _, err = net.SplitHostPort(seen.String()); err != nil {
			return ""
		}
	}
	return net.JoinHostPort(host, port)
}

// dial connects to addr and runs the handshake for a purpose. The caller must drop the
// connection in the end.
func (p *Peers) dial(ctx context.Context, addr string, kind purpose, target string) (net.Conn, identity, error) {
	d := net.Dialer{Timeout: p.cfg.Limits.HandshakeTimeout, KeepAliveConfig: keepAlive}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, identity{}, err
	}
	if p.cfg.TLS != nil {
		conf := p.cfg.TLS.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(addr)
		}
		nc = tls.Client(nc, conf)
	}
	if !p.track(nc) {
		return nil, identity{}, ErrClosed
	}
	// A handshake that hangs ends when ctx does, not only at its own deadline.
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	who, err := p.shaker.dial(nc, kind, target)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		p.drop(nc)
		return nil, who, fmt.Errorf("%s: %w", addr, err)
	}
	who.address = reachable(who.address, nc.RemoteAddr())
	return nc, who, nil
}

// link returns the link to a node, and creates it if necessary. Links are never
// removed: there is one for each node that this process has dealt with.
func (p *Peers) link(node string) *link {
	if l, ok := p.links.Load(node); ok {
		return l.(*link)
	}
	l, _ := p.links.LoadOrStore(node, newLink(p, node))
	return l.(*link)
}

// addressOf returns the address to dial for a node: the one from Resolve, otherwise
// the one that the node gave itself.
func (p *Peers) addressOf(node string) (string, error) {
	if addr, ok := p.cfg.Resolve(node); ok && addr != "" {
		return addr, nil
	}
	if hint := p.link(node).hinted(); hint != "" {
		return hint, nil
	}
	return "", fmt.Errorf("%w: %.8s", ErrNoAddress, node)
}

// ErrNoAddress means that neither Resolve nor the node itself has given an address.
var ErrNoAddress = errors.New("peer: the node's address is unknown")

// keep runs lookAfter for every connection, once per PingEvery, until p closes.
func (p *Peers) keep() {
	next := time.NewTimer(tick.Until(p.cfg.Limits.PingEvery))
	defer next.Stop()
	var conns []*conn
	for {
		select {
		case <-next.C:
			next.Reset(tick.Until(p.cfg.Limits.PingEvery))
		case <-p.ctx.Done():
			return
		}
		conns = conns[:0]
		p.mu.Lock()
		for c := range p.conns {
			conns = append(conns, c)
		}
		p.mu.Unlock()
		cluster := p.cfg.ClusterID()
		for i, c := range conns {
			c.lookAfter(cluster)
			conns[i] = nil
		}
	}
}

// Submit forwards c to a node. Without a connection, c is answered call.ErrNotSent at
// once, and a connection is sought. The package comment lists the other failures.
func (p *Peers) Submit(node string, c *call.Call) {
	if node == p.cfg.NodeID {
		p.cfg.Handler.Submit(c)
		return
	}
	cn := p.link(node).connected()
	if cn == nil {
		c.Done(call.Result{Err: call.ErrNotSent})
		return
	}
	if err := cn.submit(c); err != nil {
		c.Done(call.Result{Err: err})
	}
}

// Cancel withdraws a Block or Wait call that was submitted to node. The call's Done is
// still called.
func (p *Peers) Cancel(node string, c *call.Call) {
	if node == p.cfg.NodeID {
		p.cfg.Handler.Cancel(c)
		return
	}
	if cn := p.link(node).conn.Load(); cn != nil {
		cn.cancel(c)
	}
}

// Connected reports whether there is a connection to node at the moment. It does not
// seek one.
func (p *Peers) Connected(node string) bool {
	l, ok := p.links.Load(node)
	return node == p.cfg.NodeID || ok && l.(*link).conn.Load() != nil
}

// Connect seeks a connection to node, so that a later request finds one.
func (p *Peers) Connect(node string) {
	if node != p.cfg.NodeID {
		p.link(node).connected()
	}
}
