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

	mu    sync.Mutex
	conns map[*trackedConn]struct{} // guarded by mu; nil once ctx has ended
}

var errBlocked = errors.New("gossip: blocked")

func newTransport(ctx context.Context, n *memberlist.NetTransport) *transport {
	t := &transport{NetTransport: n, ctx: ctx, conns: make(map[*trackedConn]struct{})}
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
