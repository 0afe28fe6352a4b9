package router

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestAuth(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.RequirePass = "secret" })
	c := g.dial()
	c.want("PING", "-"+textNoAuth)
	c.want("XLEN s", "-"+textNoAuth)
	c.want("FOO", "-ERR unknown command 'FOO'")
	c.want("MULTI", "-"+textNoAuth)
	c.want("EXEC", "-EXECABORT Transaction discarded because of: "+textNoAuth)
	c.want("HELLO 3", "-"+textHelloAuth)
	c.want("HELLO", "-"+textHelloAuth)
	c.want("AUTH wrong", "-"+textWrongPass)
	c.want("AUTH other secret", "-"+textWrongPass)
	c.want("AUTH a b c", "-ERR syntax error")
	c.want("HELLO 3 AUTH default wrong", "-"+textWrongPass)
	c.want("PING", "-"+textNoAuth)
	c.want("AUTH secret", "+OK")
	c.want("PING", "+PONG")
	c.want("AUTH wrong", "-"+textWrongPass)
	c.want("PING", "+PONG") // still authenticated
	c.want("RESET", "+RESET")
	c.want("PING", "-"+textNoAuth)
	c.want("AUTH default secret", "+OK")
	c.want("XLEN s", ":0")

	d := g.dial()
	if got := d.do("HELLO 3 AUTH default secret SETNAME me"); !strings.HasPrefix(got, `{"server", "redis"`) {
		t.Errorf("got %s", got)
	}
	d.want("CLIENT GETNAME", `"me"`)

	e := g.dial()
	for range maxAuthFailures - 1 {
		e.want("AUTH x", "-"+textWrongPass)
	}
	e.want("AUTH x", "-"+textWrongPass)
	e.ended()
	f := g.dial()
	f.want("QUIT", "+OK")
	f.ended()
}

func TestAuthWithoutPassword(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("AUTH x", "-"+textNoPass)
	c.want("AUTH default x", "+OK")
	c.want("AUTH nosuch x", "-"+textWrongPass)
	c.want("HELLO 2 AUTH a b", "-"+textWrongPass)
	c.want("PING", "+PONG")
}

// A client that has not authenticated may send only small commands, and its connection ends
// after AuthTimeout. The number of such clients is limited, here to 2.
func TestBeforeAuth(t *testing.T) {
	g := newRig(t, 1, func(c *Config) {
		c.RequirePass = "secret"
		c.Limits.AuthTimeout = 300 * time.Millisecond
		c.Limits.Unauthenticated = 2
	})
	c := g.dial()
	c.raw([]byte("*1000000\r\n"))
	if got := c.recv(); got != "-ERR Protocol error: unauthenticated multibulk length" {
		t.Errorf("got %s", got)
	}
	c.ended()
	c = g.dial()
	c.raw([]byte("*2\r\n$4\r\nAUTH\r\n$100000\r\n"))
	if got := c.recv(); got != "-ERR Protocol error: unauthenticated bulk length" {
		t.Errorf("got %s", got)
	}
	c.ended()

	none := func() bool {
		g.r.mu.Lock()
		defer g.r.mu.Unlock()
		return g.r.unauthed == 0
	}
	eventually(t, "both connections are forgotten", none)
	a, b := g.dial(), g.dial()
	a.want("AUTH secret", "+OK")
	b.want("PING", "-"+textNoAuth)
	d := g.dial()
	d.want("PING", "-"+textNoAuth)
	e := g.dial() // the third that has not authenticated
	if got := e.recv(); got != "-"+textMaxClients {
		t.Errorf("got %s", got)
	}
	e.ended()
	b.ended() // it did not authenticate in time
	d.ended()
	a.want("PING", "+PONG") // a client that has authenticated is not affected
	// After authentication, the limits are the usual ones.
	a.raw([]byte("*12\r\n$3\r\nDEL\r\n" + strings.Repeat("$1\r\nk\r\n", 11)))
	if got := a.recv(); got != ":0" {
		t.Errorf("got %s", got)
	}
	eventually(t, "no connection counts as unauthenticated", none)
}

// fromElsewhere is a listener. Its clients seem to come from another machine.
type fromElsewhere struct{ net.Listener }

func (l fromElsewhere) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return remote{nc}, nil
}

type remote struct{ net.Conn }

func (remote) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711} }

func TestProtectedMode(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.Listener = fromElsewhere{c.Listener} })
	c := g.dial()
	got := c.recv()
	if !strings.HasPrefix(got, "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.") {
		t.Errorf("got %s", got)
	}
	c.ended()

	g = newRig(t, 1, func(c *Config) { c.Listener = fromElsewhere{c.Listener}; c.RequirePass = "secret" })
	c = g.dial()
	c.want("AUTH secret", "+OK")
	c.want("PING", "+PONG")
}
