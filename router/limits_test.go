package router

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestMaxClients(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.Limits.Connections = 2 })
	a, b := g.dial(), g.dial()
	a.want("PING", "+PONG")
	b.want("PING", "+PONG")
	c := g.dial()
	if got := c.recv(); got != "-"+textMaxClients {
		t.Errorf("got %s", got)
	}
	c.ended()
	a.nc.Close()
	eventually(t, "there is room again", func() bool { return len(g.r.clients()) == 1 })
	g.dial().want("PING", "+PONG")
}

func TestHostileInput(t *testing.T) {
	g := newRig(t, 1, nil)
	for _, tc := range []struct{ in, want string }{
		{"*-5\r\nPING\r\n", "+PONG"}, // as in Redis, a negative length is an empty command
		{"*99999999999\r\n", "-ERR Protocol error: invalid multibulk length"},
		{"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length"},
		{"*1\r\n$99999999999\r\n", "-ERR Protocol error: invalid bulk length"},
		{"*1\r\nfoo\r\n", "-ERR Protocol error: expected '$', got 'f'"},
		{"PING \"x\r\n", "-ERR Protocol error: unbalanced quotes in request"},
		{strings.Repeat("x", 70<<10), "-ERR Protocol error: too big inline request"},
		{"\r\n\r\nPING\r\n", "+PONG"},
		{"*0\r\nPING\r\n", "+PONG"},
		{"*2\r\n$4\r\nECHO\r\n$3\r\n\r\n\x00\r\n", `"\r\n\x00"`},
		{"*1\r\n$0\r\n\r\n", "-ERR unknown command ''"},
		{"*2\r\n$3\r\na\r\n\r\n$3\r\nb\r\n\r\n", "-ERR unknown command 'a  ', with args beginning with: 'b  ' "},
	} {
		c := g.dial()
		c.raw([]byte(tc.in))
		if got := c.recv(); got != tc.want {
			t.Errorf("%.40q: got %s, want %s", tc.in, got, tc.want)
		}
		if strings.Contains(tc.want, "Protocol error") {
			c.ended()
		}
	}
	for _, http := range []string{"POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		c := g.dial()
		c.raw([]byte(http))
		if strings.HasPrefix(http, "GET") {
			c.recv() // GET is an unknown command; the next line gives the browser away
		}
		c.ended()
	}
	// Replies to the commands before the fault are still sent, in order.
	c := g.dial()
	c.raw([]byte("*3\r\n$4\r\nXLEN\r\n" + "PING\r\n"))
	c.endedAfter("-ERR Protocol error: expected '$', got 'P'")
	c = g.dial()
	c.send("XADD s 1-1 a b", "XLEN s")
	c.raw([]byte("*1\r\n!"))
	for _, want := range []string{`"1-1"`, ":1"} {
		if got := c.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// endedAfter checks that the server sends one last reply and closes the connection.
func (c *client) endedAfter(want string) {
	c.t.Helper()
	if got := c.recv(); got != want {
		c.t.Errorf("got %s, want %s", got, want)
	}
	c.ended()
}

// A client that half-closes after its last command still gets every reply.
func TestHalfClose(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	g.cl.hold(0, true)
	c.send("XADD s 1-1 a b", "XLEN s", "PING")
	if err := c.nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	g.cl.hold(0, false)
	for _, want := range []string{`"1-1"`, ":1", "+PONG"} {
		if got := c.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	c.ended()
}

// The router stops reading from a client that does not read its replies. Such a client costs a
// bounded amount of memory, and disturbs no other.
func TestSlowReader(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.Limits.OutputSoftBytes = 256 << 10 })
	w := g.dial()
	w.want("XADD s 1-1 f "+strings.Repeat("x", 64<<10), `"1-1"`)
	slow := g.dial()
	flooded := make(chan int64)
	go func() { // ends when the connection's buffers are full and its deadline passes
		var n int64
		b := []byte(strings.Repeat("XRANGE s - +\r\n", 100))
		slow.nc.SetWriteDeadline(time.Now().Add(2 * time.Second))
		for {
			k, err := slow.nc.Write(b)
			n += int64(k)
			if err != nil {
				flooded <- n
				return
			}
		}
	}()
	var worst int
	eventually(t, "the router stops reading", func() bool {
		w.want("PING", "+PONG")
		for _, c := range g.r.clients() {
			c.mu.Lock()
			worst = max(worst, c.outBytes)
			c.mu.Unlock()
		}
		select {
		case <-flooded:
			return true
		default:
			return false
		}
	})
	if limit := 256<<10 + 4*(64<<10); worst > limit {
		t.Errorf("the router held %d bytes of replies, want at most %d", worst, limit)
	}
	w.want("XLEN s", ":1")
}

// The router closes a connection when its replies pile up beyond the hard limit.
func TestOutputHardLimit(t *testing.T) {
	g := newRig(t, 2, func(c *Config) {
		c.Limits.OutputSoftBytes, c.Limits.OutputHardBytes, c.Limits.ReadAhead = 64<<10, 512<<10, 64
	})
	w := g.dial()
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	w.want("XADD "+a+" 1-1 f "+strings.Repeat("x", 60<<10), `"1-1"`)
	c := g.dial()
	g.cl.move(1, 1)
	w.do("XLEN " + b)
	g.cl.hold(1, true) // the first reply is held up, so that the others pile up behind it
	g.cl.hold(0, true)
	lines := []string{"XLEN " + b}
	for range 20 {
		lines = append(lines, "XRANGE "+a+" - +")
	}
	c.send(lines...)
	eventually(t, "all commands are under way", func() bool {
		for _, o := range g.r.clients() {
			o.mu.Lock()
			n := o.inFlight
			o.mu.Unlock()
			if n == len(lines) {
				return true
			}
		}
		return false
	})
	g.cl.hold(0, false)
	c.ended()
	g.cl.hold(1, false)
	if n := g.r.stats.outputLimit.Load(); n != 1 {
		t.Errorf("%d clients were closed for their output", n)
	}

	// A single reply beyond the hard limit is replaced by an error.
	for range 10 {
		w.do("XADD " + a + " * f " + strings.Repeat("x", 60<<10))
	}
	w.want("XRANGE "+a+" - +", "-"+textOutput)
	w.want("PING", "+PONG")
}

func TestIdleTimeout(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.Limits.IdleTimeout = 300 * time.Millisecond })
	c := g.dial()
	c.want("PING", "+PONG")
	c.want("XREAD BLOCK 900 STREAMS s $", "nilarray") // a blocked client is not idle
	c.ended()
}

// At most Limits.InFlight commands of a connection are on their way to shards.
func TestInFlightBound(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.Limits.InFlight = 8 })
	c := g.dial()
	c.want("XLEN s", ":0")
	g.cl.hold(0, true)
	const n = 50
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("XADD s %d-1 a b", i+1))
	}
	c.send(lines...)
	box := g.cl.boxes[g.cl.nodes[0]]
	queued := func() int {
		box.mu.Lock()
		defer box.mu.Unlock()
		return len(box.calls)
	}
	eventually(t, "as many as allowed are sent", func() bool { return queued() == 8 })
	if got := queued(); got > 8 {
		t.Errorf("%d calls are on their way", got)
	}
	g.cl.hold(0, false)
	for i := range n {
		if got, want := c.recv(), fmt.Sprintf(`"%d-1"`, i+1); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}
