package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"millrace/call"
)

// ErrNotConnected is the failure of a Raft RPC without a connection, or whose
// connection broke before the answer came.
var ErrNotConnected = errors.New("peer: no connection to the node")

// link is what this node knows of one other node, and the way to its connection.
// A connection is sought while someone asks for it and for wantFor after; between
// two nodes with nothing to say there is neither connection nor goroutine.
type link struct {
	p      *Peers
	node   string
	conn   atomic.Pointer[conn] // nil while there is none
	probes prober

	mu      sync.Mutex
	seeking bool          // seek runs
	wanted  time.Time     // when a connection was last asked for
	kick    chan struct{} // ends seek's pause: something has changed
	up      chan struct{} // closed, and made anew, with each connection
	hint    string        // where the node said it is; may be empty
	fresh   bool          // it has just said so: hint is dialled next
	giveUp  func()        // ends the attempt under way; nil while there is none
	stats   LinkStats     // of past connections
}

const (
	wantFor    = 10 * time.Second
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

func newLink(p *Peers, node string) *link {
	l := &link{p: p, node: node, kick: make(chan struct{}, 1), up: make(chan struct{})}
	l.stats.Node = node
	l.probes.l = l
	return l
}

// connected returns the connection, or nil, having begun to seek one.
func (l *link) connected() *conn {
	if c := l.conn.Load(); c != nil {
		return c
	}
	l.want()
	return nil
}

// await seeks a connection and waits for it. It reports whether there is one.
func (l *link) await(ctx context.Context) bool {
	for {
		l.mu.Lock()
		up := l.up
		l.mu.Unlock()
		if l.connected() != nil {
			return true
		}
		select {
		case <-up:
		case <-ctx.Done():
			return false
		}
	}
}

func (l *link) want() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = time.Now()
	if !l.seeking && l.conn.Load() == nil {
		l.seeking = l.p.goFunc(l.seek)
	}
}

func (l *link) hinted() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hint
}

// kicked ends seek's pause. Called with mu held.
func (l *link) kicked() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// attach makes c the link's connection; one that it replaces ends.
func (l *link) attach(c *conn) {
	l.mu.Lock()
	old := l.conn.Swap(c)
	if c.peer.address != "" {
		l.hint = c.peer.address
	}
	l.stats.Connects++
	l.stats.LastError = ""
	l.kicked()
	close(l.up)
	l.up = make(chan struct{})
	l.mu.Unlock()
	if old != nil {
		old.fail(ErrReplaced)
	}
	select {
	case <-c.done: // it failed meanwhile, when it was not yet here to be detached
		l.conn.CompareAndSwap(c, nil)
	default:
	}
}

// detach forgets c and, if it was the link's connection, seeks another.
func (l *link) detach(c *conn, why error) {
	l.mu.Lock()
	mine := l.conn.CompareAndSwap(c, nil)
	l.stats.BytesIn += c.bytesIn.Load()
	l.stats.BytesOut += c.bytesOut.Load()
	l.stats.Writes += c.writes.Load()
	l.stats.LastContact = time.Unix(0, c.lastContact.Load())
	if mine {
		l.stats.LastError = why.Error()
	}
	l.mu.Unlock()
	if mine && !errors.Is(why, ErrClosed) {
		l.want()
	}
}

// dialMe is a request of the node, which never dials, to be dialled.
func (l *link) dialMe(who identity) {
	if c := l.conn.Load(); c != nil {
		if c.peer.run == who.run {
			return // it has not seen our connection yet, or we have not seen its end
		}
		// The connection is to a process that is gone.
		c.fail(ErrReplaced)
	}
	l.mu.Lock()
	if who.address != "" {
		// An attempt under way may wait for an address where nobody is any more.
		if l.giveUp != nil && who.address != l.hint {
			l.giveUp()
		}
		l.hint, l.fresh = who.address, true
	}
	l.kicked()
	l.mu.Unlock()
	l.want()
}

// seek tries to get a connection until there is one or nobody wants one any more.
func (l *link) seek() {
	var lastErr string
	backoff := minBackoff
	for attempt := 0; ; attempt++ {
		err := l.try(attempt)
		l.mu.Lock()
		if err != nil {
			l.stats.LastError = err.Error()
		}
		if l.p.ctx.Err() != nil || l.conn.Load() != nil || time.Since(l.wanted) > wantFor {
			l.seeking = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if err != nil && err.Error() != lastErr {
			lastErr = err.Error() // once for each failure in a row
			l.p.cfg.Logger.Warn("cannot connect to peer", "node", l.node, "err", err)
		}
		// Half of the pause is random, so that nodes that lost each other at one
		// moment do not come back at one moment.
		t := time.NewTimer(backoff/2 + rand.N(backoff))
		select {
		case <-t.C:
		case <-l.kick:
		case <-l.p.ctx.Done():
		}
		t.Stop()
		backoff = min(2*backoff, maxBackoff)
	}
}

// try dials the node if that is our part, and asks it to dial us if not. A
// connection it has made is attached when it returns.
func (l *link) try(attempt int) error {
	ctx, cancel := context.WithTimeout(l.p.ctx, l.p.cfg.Limits.HandshakeTimeout)
	defer cancel()
	weDial := l.p.cfg.NodeID < l.node
	if !weDial && attempt == 0 {
		return nil // most likely it is about to dial: it wants us as we want it
	}
	addr, err := l.p.addressOf(l.node)
	l.mu.Lock()
	if l.hint != "" && (l.fresh || attempt%2 == 1) {
		addr, err = l.hint, nil // Resolve may be behind, or wrong
	}
	l.fresh = false
	l.giveUp = cancel
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.giveUp = nil
		l.mu.Unlock()
	}()
	if err != nil {
		return err
	}
	kind := purposePeer
	if !weDial {
		kind = purposeDialMe
	}
	nc, who, err := l.p.dial(ctx, addr, kind, l.node)
	if err != nil {
		return err
	}
	if !weDial {
		l.p.drop(nc)
		return nil
	}
	attached := make(chan struct{})
	if !l.p.goFunc(func() { defer l.p.drop(nc); l.p.run(nc, who, func() { close(attached) }) }) {
		l.p.drop(nc)
		return ErrClosed
	}
	<-attached
	return nil
}

// LinkStats is one row of a node's link matrix.
type LinkStats struct {
	Node        string
	Connected   bool
	Since       time.Time     // of the present connection
	LastContact time.Time     // when the last byte came; zero if never
	RTT         time.Duration // of the last ping; zero if none was answered
	BytesIn     uint64        // these count the past connections too
	BytesOut    uint64
	Writes      uint64 // calls of the socket: many frames share one
	Connects    uint64
	ProbeFrames uint64 // polls sent; each carries all that waited
	LastError   string // why there is no connection; empty while there is one
}

// Stats returns a row for every node this one has had to do with, in no order.
func (p *Peers) Stats() []LinkStats {
	var all []LinkStats
	p.links.Range(func(_, v any) bool {
		l := v.(*link)
		l.mu.Lock()
		s := l.stats
		c := l.conn.Load()
		l.mu.Unlock()
		s.ProbeFrames = l.probes.frames.Load()
		if c != nil {
			s.Connected, s.LastError = true, ""
			s.Since = c.since
			s.LastContact = time.Unix(0, c.lastContact.Load())
			s.RTT = time.Duration(c.rtt.Load())
			s.BytesIn += c.bytesIn.Load()
			s.BytesOut += c.bytesOut.Load()
			s.Writes += c.writes.Load()
		}
		all = append(all, s)
		return true
	})
	return all
}

// Probe asks a node how its replica of a shard stands. The answer was given after
// Probe was called. All probes that wait for one node share a frame, and one frame
// is on its way at a time: those that come meanwhile go with the next.
func (p *Peers) Probe(ctx context.Context, node string, shard uint32) (call.Probe, error) {
	if node == p.cfg.NodeID {
		return p.cfg.Handler.Probe(shard), nil
	}
	return p.link(node).probes.ask(ctx, shard)
}
