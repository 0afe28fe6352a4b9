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
	"millrace/internal/tick"
)

// conn is the connection of a pair of nodes, from its handshake to its end. Two
// goroutines serve it: run reads and acts, write writes. It is never revived: a
// failure answers all that is open and leaves the link to a successor.
type conn struct {
	p    *Peers
	l    *link
	nc   net.Conn
	peer identity
	done chan struct{} // closed by fail

	// Of the reading goroutine.
	bytes byteArena
	words wordArena

	mu     sync.Mutex
	cause  error       // why it failed; nil while it lives
	wake   *sync.Cond  // the writer waits on it for bytes or the end
	choked bool        // the other node does not read what it asked for
	flush  bool        // something in the lanes is to be written now
	idle   *time.Timer // calls flushLazy
	idling bool        // idle runs
	lanes  [lanes]lane
	// What we asked and they have not answered.
	open    openTable
	calls   int                   // calls among them, without the blocked
	blocked map[*call.Call]uint64 // Block and Wait calls among them → request
	// What they asked and we have not answered.
	serving        int
	servingBlocked map[uint64]*call.Call // by request

	pings     uint64 // sent
	pingOpen  uint64 // the one whose round trip is measured; zero if it has come back
	pingSent  time.Time
	quiet     int    // ticks without a byte received while a ping was open
	seenBytes uint64 // bytesIn at the last tick

	since       time.Time
	lastContact atomic.Int64 // nanoseconds since the Unix epoch, of the last byte
	rtt         atomic.Int64 // nanoseconds, of the last ping
	bytesIn     atomic.Uint64
	bytesOut    atomic.Uint64
	writes      atomic.Uint64
}

// Why a connection ended, where neither the network nor the other node said so.
var (
	// ErrSilent: nothing came for too long, pings included.
	ErrSilent = errors.New("peer: the connection is dead: nothing was received and pings stay unanswered")
	// ErrNotReading: the other node asks and asks but takes no answers.
	ErrNotReading = errors.New("peer: the other node does not read its answers")
	// ErrReplaced: the other node opened a new connection.
	ErrReplaced = errors.New("peer: the other node has opened a new connection")
)

// run serves a connection that has shaken hands until it ends. It calls attached
// once, when the connection is its link's, or cannot be any more.
func (p *Peers) run(nc net.Conn, who identity, attached func()) {
	c := &conn{p: p, l: p.link(who.node), nc: nc, peer: who, done: make(chan struct{}),
		blocked: map[*call.Call]uint64{}, servingBlocked: map[uint64]*call.Call{}, since: time.Now()}
	c.wake = sync.NewCond(&c.mu)
	c.idle = time.AfterFunc(time.Hour, c.flushLazy)
	c.idle.Stop()
	c.words.chunk = arenaWords
	c.lastContact.Store(c.since.UnixNano())
	p.mu.Lock()
	closing := p.closing
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
	writer.Go(c.write) // drains the lanes
	c.l.attach(c)
	attached()
	p.cfg.Logger.Info("peer connected", "node", who.node, "remote", nc.RemoteAddr().String())
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
	attrs := []any{"node", c.peer.node, "remote", c.nc.RemoteAddr().String(), "err", err}
	switch {
	case errors.Is(err, ErrClosed):
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrFrameTooLarge), errors.Is(err, ErrOtherCluster):
		c.p.cfg.Logger.Error("peer connection closed", attrs...)
	default:
		c.p.cfg.Logger.Warn("peer disconnected", attrs...)
	}
}

// fail ends the connection, once, and answers everything open on it.
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
	open := c.open.takeAll()
	c.blocked = nil
	cancel := c.servingBlocked
	c.servingBlocked = nil
	handed := [lanes]uint64{c.lanes[laneRaft].handed, c.lanes[laneCall].handed}
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
			o.call.Done(call.Result{Err: brokenCall(o.call.Kind, o.at >= handed[laneCall])})
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

// brokenCall is the answer to a call whose connection broke.
func brokenCall(k call.Kind, unsent bool) error {
	switch k {
	case call.Read, call.ReadStale, call.Wait: // they have no effect
		return call.ErrNotSent
	case call.Write, call.Block, call.Admin:
	}
	if unsent {
		return call.ErrNotSent
	}
	return call.ErrInDoubt
}

// put appends a frame to a lane, to be written as soon as possible. Called with mu
// held, on a live connection.
func (c *conn) put(lane int, typ frameType, shard uint32, request uint64, size int, payload func([]byte) []byte) {
	c.queue(lane, false, typ, shard, request, size, payload)
}

// queue is put, or, if lazy, lets the frame wait for the next tick or any other frame.
func (c *conn) queue(lane int, lazy bool, typ frameType, shard uint32, request uint64, size int, payload func([]byte) []byte) {
	l := &c.lanes[lane]
	start := len(l.in)
	if need := start + frameSize + size; need > cap(l.in) {
		grown := make([]byte, start, max(need, 2*cap(l.in), 4<<10))
		copy(grown, l.in)
		l.in = grown
	}
	l.in = appendHead(l.in, typ, shard, request, 0)
	if payload != nil {
		l.in = payload(l.in)
	}
	n := len(l.in) - start
	putLength(l.in[start:], n-lengthSize)
	l.total += uint64(n)
	switch {
	case c.flush:
	case !lazy:
		c.flush = true
		c.wake.Signal()
	case !c.idling:
		c.idling = true
		// Raft sends a heartbeat for every shard and follower at a moment of its own.
		// Written one by one they are most of what idle nodes do.
		c.idle.Reset(tick.Until(c.p.cfg.Limits.LazyFor))
	}
	// Questions stop at QueueBytes. Answers are bounded by what the other node may
	// have open; one that breaks that bound is cut off here.
	if l.waiting() > 2*c.p.cfg.Limits.QueueBytes+maxReplyPayload && !c.choked {
		c.choked = true
		c.nc.Close() // the reader notices and ends the connection
	}
}

// flushLazy has written what waited for the tick.
func (c *conn) flushLazy() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idling = false
	if c.lanes[laneRaft].waiting() > 0 {
		c.flush = true
		c.wake.Signal()
	}
}

// full reports whether a lane is at its bound. Called with mu held.
func (c *conn) full(lane int) bool { return c.lanes[lane].waiting() >= c.p.cfg.Limits.QueueBytes }

// write drains the lanes until the connection ends.
func (c *conn) write() {
	var parts [lanes][]byte
	var bufs net.Buffers
	for {
		c.mu.Lock()
		c.flush = c.flush && c.lanes[laneRaft].waiting()+c.lanes[laneCall].waiting() > 0
		for c.cause == nil && !c.flush {
			c.wake.Wait()
		}
		if c.cause != nil {
			c.mu.Unlock()
			return
		}
		parts[0] = c.lanes[laneRaft].cut(raftBurst)
		parts[1] = c.lanes[laneCall].cut(callBurst)
		c.mu.Unlock()

		var n int64
		var err error
		switch {
		case len(parts[1]) == 0:
			var m int
			m, err = c.nc.Write(parts[0])
			n = int64(m)
		case len(parts[0]) == 0:
			var m int
			m, err = c.nc.Write(parts[1])
			n = int64(m)
		default:
			bufs = append(bufs[:0], parts[0], parts[1])
			b := bufs
			n, err = b.WriteTo(c.nc) // one writev
		}
		c.bytesOut.Add(uint64(n))
		c.writes.Add(1)
		if err != nil {
			c.fail(fmt.Errorf("write: %w", err))
			return
		}
	}
}

// Read counts what arrives; it is what the frame reader reads from.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.nc.Read(b)
	if n > 0 {
		c.bytesIn.Add(uint64(n))
		c.lastContact.Store(time.Now().UnixNano())
	}
	return n, err
}

// read acts on frames until the connection ends, and returns why.
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

func (c *conn) act(f frame) error {
	switch f.typ {
	case typeCall:
		return c.onCall(f)
	case typeCall | answer:
		return c.onReply(f)
	case typeCancel:
		c.onCancel(f)
	case typeAppend, typeVote, typePreVote, typeTimeoutNow:
		return c.onRPC(f)
	case typeAppend | answer, typeVote | answer, typePreVote | answer, typeTimeoutNow | answer:
		c.onRPCAnswer(f)
	case typeProbe:
		return c.onProbe(f)
	case typeProbe | answer:
		return c.onProbeAnswer(f)
	case typePing:
		c.mu.Lock()
		if c.cause == nil {
			c.put(laneRaft, typePing|answer, 0, f.request, 0, nil)
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

// lookAfter is called once per PingEvery, and sends a ping each time: one whose own
// pings wait behind a large frame must still hear that the other side lives.
// It counts ticks rather than time: a process that was itself stopped for a while
// must not blame its peers.
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
		c.put(laneRaft, typePing, 0, c.pings, 0, nil)
	}
	c.mu.Unlock()
	if dead {
		c.fail(ErrSilent)
	}
}

// openTable holds what was asked on a connection by request number: a slot's index
// and, above it, how often the slot was used, so that a late answer fits no later
// question. Guarded by the connection's mutex.
type openTable struct {
	slots []openSlot
	free  []uint32
}

type openSlot struct {
	uses  uint32
	at    uint64 // the lane's total when it was queued
	call  *call.Call
	rpc   *rpcWait
	probe *probeBatch
}

func (s *openSlot) used() bool { return s.call != nil || s.rpc != nil || s.probe != nil }

// add stores what is open and returns its request number.
func (t *openTable) add(s openSlot) uint64 {
	var i uint32
	if n := len(t.free); n > 0 {
		i = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		i = uint32(len(t.slots))
		t.slots = append(t.slots, openSlot{})
	}
	s.uses = t.slots[i].uses + 1
	t.slots[i] = s
	return uint64(s.uses)<<32 | uint64(i)
}

// get returns what a request number stands for, nil once it is answered.
func (t *openTable) get(request uint64) *openSlot {
	i := uint32(request)
	if uint64(i) >= uint64(len(t.slots)) {
		return nil
	}
	if s := &t.slots[i]; s.uses == uint32(request>>32) && s.used() {
		return s
	}
	return nil
}

// remove forgets a request that get has returned.
func (t *openTable) remove(request uint64) {
	i := uint32(request)
	t.slots[i] = openSlot{uses: t.slots[i].uses}
	t.free = append(t.free, i)
}

// takeAll empties the table.
func (t *openTable) takeAll() []openSlot {
	var all []openSlot
	for _, s := range t.slots {
		if s.used() {
			all = append(all, s)
		}
	}
	*t = openTable{}
	return all
}
