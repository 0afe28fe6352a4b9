package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's NetTransport, except that all its streams end with ctx. So
// Close does not wait for a node that does not answer.
type transport struct {
	*memberlist.NetTransport
	ctx context.Context

	// blocked, if set, cuts this node off from the addresses for which it returns true.
	// Tests use it for partitions.
	blocked atomic.Pointer[func(addr string) bool]

	streams    chan net.Conn // those that memberlist may read
	ended      chan struct{} // closed by Shutdown
	endOnce    sync.Once
	maxStreams int
	refused    atomic.Uint64 // streams closed because there were too many

	mu     sync.Mutex
	conns  map[*trackedConn]struct{} // guarded by mu; nil once ctx has ended
	inward map[string]int            // guarded by mu: accepted streams by host
	open   int                       // guarded by mu: the sum of inward
}

const (
	// maxStream is the number of bytes that are read of a stream. memberlist itself reads
	// up to 20 MiB before it can tell whether the sender has the key. The state of a
	// thousand nodes is smaller than maxStream.
	maxStream         = 1 << 20
	defaultMaxStreams = 32
)

var errBlocked = errors.New("gossip: blocked")

func newTransport(ctx context.Context, n *memberlist.NetTransport, maxStreams int) *transport {
	if maxStreams == 0 {
		maxStreams = defaultMaxStreams
	}
	t := &transport{
		NetTransport: n, ctx: ctx, conns: make(map[*trackedConn]struct{}),
		streams: make(chan net.Conn), ended: make(chan struct{}), maxStreams: maxStreams, inward: make(map[string]int),
	}
	go t.admit() // ended by Shutdown
	context.AfterFunc(ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for c := range t.conns {
			_ = c.Conn.Close()
		}
		t.conns = nil
	})
	return t
}

func (t *transport) isBlocked(addr string) bool {
	f := t.blocked.Load()
	return f != nil && (*f)(addr)
}

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if t.isBlocked(a.Addr) {
		return time.Now(), nil // as if the packet had been lost on its way
	}
	return t.NetTransport.WriteToAddress(b, a)
}

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if t.isBlocked(a.Addr) {
		return nil, fmt.Errorf("dial %s: %w", a.Addr, errBlocked)
	}
	d := net.Dialer{Timeout: timeout}
	c, err := d.DialContext(t.ctx, "tcp", a.Addr)
	if err != nil {
		return nil, err
	}
	tc := &trackedConn{c, t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		return nil, errors.Join(t.ctx.Err(), c.Close())
	}
	t.conns[tc] = struct{}{}
	return tc, nil
}

// trackedConn is a stream that its transport closes when ctx ends.
type trackedConn struct {
	net.Conn
	t *transport
}

func (c *trackedConn) Close() error {
	c.t.mu.Lock()
	delete(c.t.conns, c)
	c.t.mu.Unlock()
	return c.Conn.Close()
}

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements memberlist.Transport.
func (t *transport) Shutdown() error {
	err := t.NetTransport.Shutdown() // waits for its goroutines, whose streams admit takes
	t.endOnce.Do(func() { close(t.ended) })
	return err
}

// admit passes accepted streams on to memberlist, with a limit, as long as there are not
// too many. Once ctx has ended it closes them.
func (t *transport) admit() {
	for {
		select {
		case nc := <-t.NetTransport.StreamCh():
			c := t.accepted(nc)
			if c == nil {
				t.refused.Add(1)
				_ = nc.Close()
				continue
			}
			select {
			case t.streams <- c:
			case <-t.ctx.Done():
				_ = c.Close()
			}
		case <-t.ended:
			return
		}
	}
}

// accepted counts a stream, and returns nil if there are too many.
func (t *transport) accepted(nc net.Conn) net.Conn {
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open >= t.maxStreams || t.inward[host] >= max(t.maxStreams/4, 1) {
		return nil
	}
	t.open++
	t.inward[host]++
	return &inwardStream{Conn: nc, t: t, host: host, left: maxStream}
}

// inwardStream is an accepted stream, of which at most maxStream bytes are read. memberlist
// closes it after Timing.TCP.
type inwardStream struct {
	net.Conn
	t    *transport
	host string
	left int
	once sync.Once
}

var errLongStream = fmt.Errorf("gossip: a stream of more than %d bytes", maxStream)

func (c *inwardStream) Read(b []byte) (int, error) {
	if c.left == 0 {
		return 0, errLongStream
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func (c *inwardStream) Close() error {
	c.once.Do(func() {
		c.t.mu.Lock()
		defer c.t.mu.Unlock()
		c.t.open--
		if c.t.inward[c.host]--; c.t.inward[c.host] == 0 {
			delete(c.t.inward, c.host)
		}
	})
	return c.Conn.Close()
}
