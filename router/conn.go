package router

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"millrace/command"
	"millrace/resp"
)

// A conn is one client's connection. Its reader goroutine owns it: it takes commands,
// starts the writer, and ends after the writer.
type conn struct {
	r           *Router
	nc          net.Conn
	id          uint64
	addr, laddr string
	fd          int
	created     int64 // r.now()
	rd          *resp.Reader

	// Owned by the reader.
	readOnly  bool // READONLY: reads may be stale
	asCluster bool // has asked for the topology: see share.go
	tx        *transaction
	watched   []watchedKey // also of the writer, while a serial request runs
	mute      muteMode
	failures  int // of AUTH

	lastSeen atomic.Int64 // r.now() of the last command
	lastCmd  atomic.Pointer[command.Command]
	unblock  atomic.Pointer[chan unblockMode] // of the blocking call that runs
	gone     chan struct{}                    // closed once the client has left

	mu   sync.Mutex
	work sync.Cond // wakes the writer: a reply is ready, or a lane may send
	room sync.Cond // wakes the reader: there is room for another request

	// Guarded by mu.
	proto  uint8
	authed bool
	// unauthedSince is when AuthTimeout began.
	unauthedSince int64
	name          string
	libName       string
	libVer        string
	inTx          int // commands queued by MULTI; -1 outside
	tracking      tracking
	monitor       bool                // MONITOR was said
	wrote         map[uint32]struct{} // shards that writes were sent to
	head, tail    *request
	inFlight      int // requests in the list
	inBytes       int // of their words
	outBytes      int // of replies not yet taken by the client
	lanes         map[uint32]*lane
	pumps         []*lane // lanes that the writer has to pump
	guarding      bool    // the reader watches the client while a serial request runs
	draining      bool    // no more commands are read
	readerDone    bool    // no more requests come
	leftClosed    bool    // gone is closed
	dead          bool    // nothing is sent any more
}

// muteMode tells which replies CLIENT REPLY suppresses.
type muteMode uint8

const (
	muteNone     muteMode = iota
	muteAll               // CLIENT REPLY OFF
	muteSkipNext          // CLIENT REPLY SKIP, before the command it is for
	muteSkipping          // during that command
)

func newConn(r *Router, nc net.Conn, id uint64) *conn {
	c := &conn{
		r: r, nc: nc, id: id, addr: nc.RemoteAddr().String(), laddr: nc.LocalAddr().String(), fd: fdOf(nc),
		created: r.now(), unauthedSince: r.now(), proto: 2, authed: r.password == nil, inTx: -1, gone: make(chan struct{}),
		lanes: make(map[uint32]*lane, 2), wrote: make(map[uint32]struct{}, 2),
	}
	c.work.L, c.room.L = &c.mu, &c.mu
	c.lastSeen.Store(c.created)
	lim := r.lim.Input
	if !c.authed {
		lim = r.lim.PreAuth
	}
	c.rd = resp.NewReader(countingReader{nc, r.stats}, lim)
	return c
}

// serve runs the connection to its end.
func (c *conn) serve() {
	written := make(chan struct{})
	go func() { // the writer; serve waits for it below
		defer close(written)
		c.write()
	}()
	c.read()
	c.mu.Lock()
	c.readerDone = true
	c.work.Signal()
	c.mu.Unlock()
	<-written
	c.kill()
}

// read takes commands off the socket and dispatches them, until the client ends, or
// breaks the protocol, or the connection is told to end.
func (c *conn) read() {
	defer c.leave()
	for c.waitRoom() {
		argv, err := c.rd.ReadCommand()
		var broken *resp.ProtocolError
		switch {
		case err == nil:
			q := c.dispatch(argv)
			if q.last || q.serial != nil && !c.guard(q) {
				return
			}
		case errors.Is(err, os.ErrDeadlineExceeded): // a kick: waitRoom knows why
		case errors.As(err, &broken):
			c.r.stats.protocolErrors.Add(1)
			q := c.begin(nil, nil)
			q.last = true
			c.answer(q, broken.Reply())
			return
		default: // io.EOF, or a broken connection
			return
		}
	}
}

// leave notes that the client has left, or that the reader has ended. A blocking call of
// the client then ends.
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveLocked()
}

func (c *conn) leaveLocked() {
	if !c.leftClosed {
		c.leftClosed = true
		close(c.gone)
	}
}

// preAuthInFlight and preAuthOutput replace InFlight and OutputSoftBytes for a client that
// has not authenticated, because it needs no more than a few refusals.
const (
	preAuthInFlight = 16
	preAuthOutput   = 1 << 10
)

// waitRoom waits until another command may be read, and reports whether one should be.
func (c *conn) waitRoom() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	lim := &c.r.lim
	inFlight, output := lim.InFlight, lim.OutputSoftBytes
	if !c.authed {
		inFlight, output = min(inFlight, preAuthInFlight), min(output, preAuthOutput)
	}
	for c.inFlight >= inFlight || c.inBytes >= lim.InFlightBytes || c.outBytes >= output {
		if c.dead || c.draining {
			return false
		}
		c.room.Wait()
	}
	return !c.dead && !c.draining
}

// guard watches the client while the serial request q runs in the writer, so that q ends
// if the client leaves. It buffers at most resp.FillLimit bytes of pipelined commands.
// Once the client has sent more, nothing is read before q ends. guard reports whether to
// go on reading.
func (c *conn) guard(q *request) bool {
	c.mu.Lock()
	c.guarding = true
	for !q.done && !c.dead && !c.draining {
		c.mu.Unlock()
		_, err := c.rd.Fill()
		c.mu.Lock()
		switch {
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, resp.ErrBufferFull):
			for !q.done && !c.dead && !c.draining {
				c.room.Wait()
			}
		default:
			c.guarding = false
			c.mu.Unlock()
			return false
		}
	}
	c.guarding = false
	ok := !c.dead && !c.draining
	if ok {
		c.nc.SetReadDeadline(time.Time{}) // undo the kick; fails only on a closed connection
	}
	c.mu.Unlock()
	return ok
}

// kick interrupts a read of the reader. c.mu is held.
func (c *conn) kick() { c.nc.SetReadDeadline(time.Unix(1, 0)) }

// drain ends the connection once the running commands are answered. A blocked call gets
// no answer: the client finds its connection closed, as if the server had stopped.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.draining {
		c.draining = true
		c.kick()
		c.room.Broadcast()
	}
}

// kill ends the connection now, and reports whether it had not ended before.
func (c *conn) kill() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killLocked()
}

func (c *conn) killLocked() bool {
	if c.dead {
		return false
	}
	c.dead = true
	c.leaveLocked()
	c.nc.Close() // an error would tell nothing new
	c.work.Broadcast()
	c.room.Broadcast()
	return true
}

// countingReader counts reads and their bytes.
type countingReader struct {
	r io.Reader
	s *stats
}

func (r countingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.s.reads.Add(1)
	r.s.bytesIn.Add(int64(n))
	return n, err
}

// fdOf returns the descriptor of a connection as CLIENT LIST shows it, or -1.
func fdOf(nc net.Conn) int {
	fd := -1
	if t, ok := nc.(*net.TCPConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			_ = raw.Control(func(f uintptr) { fd = int(f) })
		}
	}
	return fd
}
