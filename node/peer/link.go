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

// ErrNotConnected means that a Raft RPC found no connection to the node, or that the
// connection broke before the answer came.
var ErrNotConnected error = notConnected{}

type notConnected struct{}

func (notConnected) Error() string { return "peer: no connection to the node" }

// Known tells package shard that its logger need not warn: this package has logged why there
// is no connection.
func (notConnected) Known() bool { return true }

// link holds this node's connection to one other node, and seeks a new one when it is
// needed. A goroutine tries to connect while callers ask for the connection and for
// wantFor after the last of them. Two nodes that have no traffic need neither a
// connection nor a goroutine.
type link struct {
	p      *Peers
	node   string
	conn   atomic.Pointer[conn] // nil while there is none
	probes prober

	mu      sync.Mutex
	seeking bool          // seek is running
	wanted  time.Time     // when a caller last asked for a connection
	kick    chan struct{} // ends the pause between two attempts; capacity 1
	up      chan struct{} // closed and replaced whenever a connection is attached
	hint    string        // the address that the node gave itself; empty if none
	fresh   bool          // hint is newer than the last attempt, so it is dialled next
	giveUp  func()        // ends the attempt under way; nil between attempts
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

// connected returns the connection. If there is none, it starts to seek one and
// returns nil.
func (l *link) connected() *conn {
	if c := l.conn.Load(); c != nil {
		return c
	}
	l.want()
	return nil
}

// await seeks a connection and waits for it, or until ctx ends. It reports whether
// there is one.
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

// want notes that a connection is needed, and starts seek unless it is running.
func (l *link) want() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted = time.Now()
	if !l.seeking && l.conn.Load() == nil {
		l.seeking = l.p.goFunc(l.seek)
	}
}

// hinted returns the address that the node gave itself, or "".
func (l *link) hinted() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hint
}

// kicked ends the pause of seek, because something has changed. The caller holds mu.
func (l *link) kicked() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// attach makes c the connection of the link, and ends the one before.
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
	case <-c.done: // it failed before it was attached, so that detach did not find it
		l.conn.CompareAndSwap(c, nil)
	default:
	}
}

// detach adds the counters of c to the link's. If c was the link's connection, it
// seeks another.
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

// dialMe handles the request of a node with a higher ID, which never dials itself, to
// be dialled.
func (l *link) dialMe(who identity) {
	if c := l.conn.Load(); c != nil {
		if c.peer.run == who.run {
			return // the node has not seen our connection yet, or we have not seen its end
		}
		// The node was started again: our connection leads to its former process.
		c.fail(ErrReplaced)
	}
	l.mu.Lock()
	if who.address != "" {
		// An attempt under way may be waiting for an address that the node has left.
		if l.giveUp != nil && who.address != l.hint {
			l.giveUp()
		}
		l.hint, l.fresh = who.address, true
	}
	l.kicked()
	l.mu.Unlock()
	l.want()
}

// seek tries to connect until there is a connection, or until no caller has asked for
// one for wantFor.
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
			lastErr = err.Error() // log a failure that repeats only once
			l.p.cfg.Logger.Warn("cannot connect to peer", "peer", l.node, "err", err)
		}
		// The pause is random, from half to one and a half of backoff, so that nodes
		// that lost each other at one moment do not all reconnect at one moment.
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

// try dials the node if our ID is the lower one, and otherwise asks the node to dial
// us. A new connection is attached when try returns.
func (l *link) try(attempt int) error {
	ctx, cancel := context.WithTimeout(l.p.ctx, l.p.cfg.Limits.HandshakeTimeout)
	defer cancel()
	weDial := l.p.cfg.NodeID < l.node
	if !weDial && attempt == 0 {
		return nil // most likely the node needs us too, and is about to dial
	}
	addr, err := l.p.addressOf(l.node)
	l.mu.Lock()
	if l.hint != "" && (l.fresh || attempt%2 == 1) {
		addr, err = l.hint, nil // Resolve may be out of date
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

// LinkStats describes the link to one node.
type LinkStats struct {
	Node        string
	Connected   bool
	Since       time.Time     // of the present connection
	LastContact time.Time     // when the last byte arrived; zero if none did
	RTT         time.Duration // of the last ping; zero if none was answered
	BytesIn     uint64        // this and the next three include past connections
	BytesOut    uint64
	Writes      uint64 // write calls on the socket; one may carry many frames
	Connects    uint64
	ProbeFrames uint64 // each carries all the probes that waited for it
	LastError   string // the reason for having no connection; empty while there is one
}

// Stats returns one LinkStats for every node that this one has dealt with, in no order.
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

// Probe asks a node for the state of its replica of a shard. The state is as of a
// moment after Probe was called, so it may serve a linearizable read. One frame per
// node is under way at a time; the probes that come meanwhile share the next one.
func (p *Peers) Probe(ctx context.Context, node string, shard uint32) (call.Probe, error) {
	if node == p.cfg.NodeID {
		return p.cfg.Handler.Probe(shard), nil
	}
	return p.link(node).probes.ask(ctx, shard)
}
