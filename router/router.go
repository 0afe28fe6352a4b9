package router

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"millrace/command"
	"millrace/internal/tick"
	"millrace/resp"
)

// RedisVersion is the version of Redis whose commands, replies and error texts Millrace
// follows. Clients choose the features that they use by it.
const RedisVersion = "8.6.3"

// Router serves clients. Make one with New, run it with Serve, end it with Close.
type Router struct {
	self     string
	listener net.Listener
	backend  Backend
	topology func() Topology
	leaders  Leaders
	password *[sha256.Size]byte // of the default user; nil: none is required
	version  string
	info     func(string) []InfoField
	flush    bool                                            // FLUSHALL is allowed
	debug    func(context.Context, [][]byte) resp.Value      // nil: DEBUG is refused
	progress func(context.Context, uint32) (Progress, error) // nil: WAIT answers 0
	shutdown func()                                          // nil: SHUTDOWN is refused
	dir      string
	lim      Limits
	log      *slog.Logger

	table    command.Table
	handlers map[*command.Command]handler
	start    time.Time
	stats    *stats
	settings *settings
	slowlog  slowlog
	events   events
	monitors monitors
	pausing  pausing
	// buffers are write buffers. A connection takes one to write replies, and gives it back,
	// so that idle connections hold none.
	buffers sync.Pool

	ctx  context.Context // ends when the router is closed
	stop context.CancelFunc
	wg   sync.WaitGroup // Serve, connections, seekers, sweeper

	seekMu  sync.Mutex
	seekers map[uint32]*seeker

	mu       sync.Mutex
	conns    map[uint64]*conn
	nextID   uint64
	unauthed int  // connections that have yet to authenticate
	blocked  int  // connections in a blocking call
	draining bool // no more connections are taken
	closed   bool
}

// New returns a Router that does not serve yet.
func New(cfg Config) (*Router, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	r := &Router{
		self: cfg.NodeID, listener: cfg.Listener, backend: cfg.Backend, topology: cfg.Topology,
		leaders: cfg.Leaders, version: cfg.Version, info: cfg.Info, debug: cfg.Debug, flush: cfg.EnableFlush, lim: cfg.Limits, log: cfg.Logger,
		progress: cfg.Progress, shutdown: cfg.Shutdown, dir: cfg.DataDir, settings: newSettings(&cfg.Limits),
		start: time.Now(), seekers: make(map[uint32]*seeker), conns: make(map[uint64]*conn),
	}
	if r.version == "" {
		r.version = "dev"
	}
	if r.info == nil {
		r.info = func(string) []InfoField { return nil }
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if cfg.RequirePass != "" {
		sum := sha256.Sum256([]byte(cfg.RequirePass))
		r.password = &sum
	}
	r.table, r.handlers = buildTable()
	r.stats = newStats(r.table)
	r.buffers.New = func() any { b := make([]byte, 0, writeBuffer); return &b }
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Addr is the address that clients connect to.
func (r *Router) Addr() net.Addr { return r.listener.Addr() }

// now is the time since the router was made, in nanoseconds. It never goes back.
func (r *Router) now() int64 { return int64(time.Since(r.start)) }

// ErrClosed is returned by Serve on a router that has been closed.
var ErrClosed = errors.New("router: closed")

// Serve accepts clients until ctx ends, or Drain or Close is called (it then returns
// nil), or the listener fails. Connections live on after it; Close ends them.
func (r *Router) Serve(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return ErrClosed
	}
	r.wg.Add(2)
	r.mu.Unlock()
	defer r.wg.Done()
	go func() { // closes overdue clients and calls; ends with the router
		defer r.wg.Done()
		r.sweep()
	}()
	unhook := context.AfterFunc(ctx, r.refuseNew)
	defer unhook()

	var pause time.Duration
	for {
		nc, err := r.listener.Accept()
		if err == nil {
			pause = 0
			r.admit(nc)
			continue
		}
		r.mu.Lock()
		ending := r.draining || r.closed
		r.mu.Unlock()
		if ending {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("router: accept on %v: %w", r.Addr(), err)
		}
		// Most likely the process is out of descriptors, which passes. As net/http does, go
		// on more slowly.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		r.log.Warn("a client could not be accepted", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
		}
	}
}

// refuseNew stops accepting.
func (r *Router) refuseNew() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	r.listener.Close() // an error means that it was closed before
}

// Drain stops accepting clients, lets every connection finish its commands, and closes
// it. Blocked calls get no answer. Drain returns nil once no connection is left, or an
// error if ctx ends first.
func (r *Router) Drain(ctx context.Context) error {
	r.refuseNew()
	r.pausing.stop()
	for _, c := range r.clients() {
		c.drain()
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r.mu.Lock()
		left := len(r.conns)
		r.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("router: %d clients are still connected: %w", left, ctx.Err())
		}
	}
}

// Close stops accepting, ends every connection and waits for all goroutines.
func (r *Router) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.refuseNew()
	for _, c := range r.clients() {
		c.kill()
	}
	r.stop() // after the clients, so that none is told that there is no leader
	r.wg.Wait()
	return nil
}

// clients returns the connections, in no order.
func (r *Router) clients() []*conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*conn, 0, len(r.conns))
	for _, c := range r.conns {
		out = append(out, c)
	}
	return out
}

// textProtected refuses a client from another machine while there is no password. It
// begins with Redis's words, which clients know, and ends with Millrace's own way out.
const textProtected = "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. " +
	"In this mode connections are only accepted from the loopback interface. " +
	"If you want to connect from external computers, set a password for Millrace: millrace server --requirepass."

// admit starts a connection, or refuses it with a reason.
func (r *Router) admit(nc net.Conn) {
	r.stats.connections.Add(1)
	r.mu.Lock()
	refusal := ""
	switch {
	case r.closed || r.draining:
		r.mu.Unlock()
		nc.Close()
		return
	case r.password == nil && !fromLoopback(nc):
		refusal = textProtected
	case int64(len(r.conns)) >= r.settings.maxClients.Load(), r.password != nil && r.unauthed >= r.lim.Unauthenticated:
		refusal = textMaxClients
	}
	if refusal != "" {
		r.mu.Unlock()
		r.stats.rejected.Add(1)
		// The socket of a new connection has room for one line, so this cannot stall.
		nc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = nc.Write(errorReply(refusal))
		nc.Close()
		return
	}
	r.nextID++
	c := newConn(r, nc, r.nextID)
	r.conns[c.id] = c
	if !c.authed {
		r.unauthed++
	}
	r.wg.Add(1)
	r.mu.Unlock()
	go func() { // the reader of the connection; Close waits for it
		defer r.wg.Done()
		c.serve()
		r.forget(c)
	}()
}

// forget drops a connection that has ended.
func (r *Router) forget(c *conn) {
	r.unwatch(c)
	c.mu.Lock()
	authed := c.authed
	c.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c.id)
	if !authed {
		r.unauthed--
	}
}

// fromLoopback reports whether the client is on this machine. A connection other than
// TCP (a pipe, a socket of the file system) always is.
func fromLoopback(nc net.Conn) bool {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return true
	}
	ip, ok := netip.AddrFromSlice(a.IP)
	return ok && ip.Unmap().IsLoopback()
}

// sweepEvery is the time between two sweeps. The bounds that they watch over are in seconds.
const sweepEvery = 250 * time.Millisecond

// sweep closes clients that are idle or did not authenticate in time, and gives up on
// calls without an answer.
func (r *Router) sweep() {
	next := time.NewTimer(tick.Until(sweepEvery))
	defer next.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-next.C:
			next.Reset(tick.Until(sweepEvery))
			r.stats.sample(r.now())
			for _, c := range r.clients() {
				c.sweep()
			}
		}
	}
}

// sweep closes the connection if it is overdue, or gives up on its overdue calls.
func (c *conn) sweep() {
	lim := &c.r.lim
	now := c.r.now()
	idle := c.r.settings.idle.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.authed && now-c.unauthedSince > int64(lim.AuthTimeout):
		c.r.stats.authTimeouts.Add(1)
		c.killLocked()
		return
	case c.head == nil && idle > 0 && !c.monitor && now-c.lastSeen.Load() > idle:
		c.killLocked()
		return
	}
	for q := c.head; q != nil; q = q.next {
		if now-q.start < int64(lim.Patience+lim.Answer) {
			return // those behind it are younger
		}
		if q.done || q.serial != nil {
			continue
		}
		for _, j := range q.jobs() {
			if j.cur != nil && now-j.sentAt > int64(lim.Answer) {
				c.r.stats.abandoned.Add(1)
				j.lane.abandon(j)
			}
		}
	}
}

// hosts reports whether this node has a replica of shard.
func (r *Router) hosts(shard uint32) bool {
	info, ok := r.topology().Shard(shard)
	if !ok {
		return false
	}
	return slices.Contains(info.Replicas, r.self)
}
