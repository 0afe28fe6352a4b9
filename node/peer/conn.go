package peer

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"millrace/call"
)

// conn is the connection between two nodes, from the end of its handshake on. Two
// goroutines serve it: run reads frames and acts on them, write empties the send
// queues. A conn is never revived: when it fails, every request open on it is
// answered with an error, and the link seeks a new connection.
type conn struct {
	p    *Peers
	l    *link
	nc   net.Conn
	peer identity
	done chan struct{} // closed by fail
	left chan struct{} // closed when the other node has answered our leave frame

	// Used by the reading goroutine alone.
	bytes byteArena
	words wordArena

	mu     sync.Mutex
	cause  error       // why the connection failed; nil while it is alive
	wake   *sync.Cond  // wakes the writer for new bytes or the end
	choked bool        // the other node sends requests but does not read the answers
	flush  bool        // a queued frame is to be written now
	idle   *time.Timer // runs flushLazy
	idling bool        // idle is running
	queues [queueCount]sendQueue
	// Requests of ours that the other node has yet to answer.
	pending    requestTable
	outCalls   int                   // how many of them are calls, those in outBlocked excepted
	outBlocked map[*call.Call]uint64 // Block and Wait calls among them → request number
	// Calls of the other node that we have yet to answer.
	inCalls   int                   // without those in inBlocked
	inBlocked map[uint64]*call.Call // Block and Wait calls by request number

	saidLeave   bool // we have sent a leave frame
	hasLeft     bool // left is closed
	otherLeaves bool // the other node has sent a leave frame: it gets no further calls

	pings     uint64 // sent so far; also the number of the last one
	pingOpen  uint64 // the ping whose round trip is being measured; 0 for none
	pingSent  time.Time
	quiet     int    // ticks in a row without a byte received while a ping was open
	seenBytes uint64 // bytesIn at the last tick

	since       time.Time
	lastContact atomic.Int64 // when the last byte came, in nanoseconds since the Unix epoch
	rtt         atomic.Int64 // round trip of the last ping, in nanoseconds
	bytesIn     atomic.Uint64
	bytesOut    atomic.Uint64
	writes      atomic.Uint64
}

// Reasons of our own to end a connection, besides failures of the network.
var (
	// ErrSilent: no byte arrived for PingMisses ticks, not even the answer to a ping.
	ErrSilent = errors.New("peer: the connection is dead: nothing was received and pings stay unanswered")
	// ErrNotReading: the other node keeps sending requests but reads no answers.
	ErrNotReading = errors.New("peer: the other node does not read its answers")
	// ErrReplaced: the other node opened a new connection, or was started again.
	ErrReplaced = errors.New("peer: the other node has opened a new connection")
)

// run serves a connection from the end of its handshake until it fails. It calls
// attached once: when the link uses the connection, or when Close has begun and it
// never will.
func (p *Peers) run(nc net.Conn, who identity, attached func()) {
	c := &conn{p: p, l: p.link(who.node), nc: nc, peer: who, done: make(chan struct{}), left: make(chan struct{}),
		outBlocked: map[*call.Call]uint64{}, inBlocked: map[uint64]*call.Call{}, since: time.Now()}
	c.wake = sync.NewCond(&c.mu)
	c.idle = time.AfterFunc(time.Hour, c.flushLazy)
	c.idle.Stop()
	c.words.chunk = arenaWords
	c.lastContact.Store(c.since.UnixNano())
	p.mu.Lock()
	closing, leaving := p.closing, p.leaving
	if !closing {
		p.conns[c] = struct{}{}
	}
	p.mu.Unlock()
	if closing {
		attached()
		return
	}
	defer func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()

	var writer sync.WaitGroup
	writer.Go(c.write) // empties the send queues
	c.l.attach(c)
	attached()
	if leaving {
		c.leave()
	}
	p.cfg.Logger.Info("peer connected", "peer", who.node, "remote", nc.RemoteAddr().String())
	err := c.read()
	c.fail(err)
	writer.Wait()
	c.report()
}

// report logs how the connection ended.
func (c *conn) report() {
	c.mu.Lock()
	err := c.cause
	c.mu.Unlock()
	attrs := []any{"peer", c.peer.node, "remote", c.nc.RemoteAddr().String(), "err", err}
	switch {
	case errors.Is(err, ErrClosed):
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrFrameTooLarge), errors.Is(err, ErrOtherCluster):
		c.p.cfg.Logger.Error("peer connection closed", attrs...)
	default:
		c.p.cfg.Logger.Warn("peer disconnected", attrs...)
	}
}

// fail ends the connection with err as its cause, and answers every request open on
// it. Only the first call has an effect.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	if c.choked {
		err = ErrNotReading
	}
	c.cause = err
	open := c.pending.takeAll()
	c.outBlocked = nil
	cancel := c.inBlocked
	c.inBlocked = nil
	handed := [queueCount]uint64{c.queues[raftQueue].handed, c.queues[callQueue].handed}
	c.idle.Stop()
	c.wake.Broadcast()
	c.mu.Unlock()

	close(c.done)
	c.nc.Close()
	c.l.detach(c, err)
	for i := range open {
		o := &open[i]
		switch {
		case o.call != nil:
			o.call.Done(call.Result{Err: brokenCall(o.call.Kind, o.at >= handed[callQueue])})
		case o.rpc != nil:
			o.rpc.ch <- rpcAnswer{err: fmt.Errorf("%w: %w", ErrNotConnected, err)}
		case o.probe != nil:
			c.l.probes.finish(o.probe, nil, fmt.Errorf("%w: %w", call.ErrNotSent, err))
		}
	}
	for _, cl := range cancel {
		c.p.cfg.Handler.Cancel(cl)
	}
}

// brokenCall returns the error for a call whose connection broke. unsent means that
// no byte of the call was handed to the socket. A read or a wait may be repeated
// either way, because it has no effect.
func brokenCall(k call.Kind, unsent bool) error {
	switch k {
	case call.Read, call.ReadStale, call.Wait:
		return call.ErrNotSent
	case call.Write, call.Block, call.Admin:
	}
	if unsent {
		return call.ErrNotSent
	}
	return call.ErrInDoubt
}

// Read reads from the socket for the frame reader, and counts the bytes.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.nc.Read(b)
	if n > 0 {
		c.bytesIn.Add(uint64(n))
		c.lastContact.Store(time.Now().UnixNano())
	}
	return n, err
}

// read acts on frames until the connection ends, and returns the reason.
func (c *conn) read() error {
	fr := newFrameReader(c)
	for {
		f, err := fr.next()
		if err == nil {
			err = c.act(f)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return fmt.Errorf("closed by the other side: %w", err)
			}
			return err
		}
	}
}

// act handles one frame. An error ends the connection.
func (c *conn) act(f frame) error {
	switch f.typ {
	case typeCall:
		return c.onCall(f)
	case typeCall | answer:
		return c.onReply(f)
	case typeCancel:
		c.onCancel(f)
	case typeAppend, typeAnnounce, typeVote, typePreVote, typeTimeoutNow:
		return c.onRPC(f)
	case typeAppend | answer, typeAnnounce | answer, typeVote | answer, typePreVote | answer, typeTimeoutNow | answer:
		c.onRPCAnswer(f)
	case typeProbe:
		return c.onProbe(f)
	case typeProbe | answer:
		return c.onProbeAnswer(f)
	case typeLeave:
		c.onLeave()
	case typeLeave | answer:
		c.onLeaveAnswer()
	case typePing:
		c.mu.Lock()
		if c.cause == nil {
			c.send(raftQueue, outFrame{typ: typePing | answer, request: f.request})
		}
		c.mu.Unlock()
	case typePing | answer:
		c.mu.Lock()
		if c.pingOpen != 0 && f.request >= c.pingOpen {
			c.pingOpen = 0
			c.rtt.Store(int64(time.Since(c.pingSent)))
		}
		c.mu.Unlock()
	default:
		return fmt.Errorf("%w: type 0x%02x on a peer connection", ErrMalformed, uint8(f.typ))
	}
	return nil
}

// lookAfter runs once per PingEvery: it ends a connection that is dead or leads to
// another cluster, and sends a ping. It sends one even while an earlier one is open,
// because the other node may hear nothing else from us while its own pings wait
// behind a large frame. It counts ticks rather than time, so that a process that was
// stopped for a minute does not blame its peers for the silence.
func (c *conn) lookAfter(cluster string) {
	if err := otherCluster(cluster, c.peer.cluster); err != nil {
		c.fail(err)
		return
	}
	in := c.bytesIn.Load()
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	if in != c.seenBytes || c.pingOpen == 0 {
		c.quiet = 0
	} else {
		c.quiet++
	}
	c.seenBytes = in
	dead := c.quiet >= c.p.cfg.Limits.PingMisses
	if !dead {
		c.pings++
		if c.pingOpen == 0 {
			c.pingOpen, c.pingSent = c.pings, time.Now()
		}
		c.send(raftQueue, outFrame{typ: typePing, request: c.pings})
	}
	c.mu.Unlock()
	if dead {
		c.fail(ErrSilent)
	}
}
