package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"millrace/resp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a router on a loopback port in front of a fake cluster.
type rig struct {
	t  testing.TB
	cl *cluster
	r  *Router
}

// newRig starts a router, and closes it at the end of the test. Unless it is nil, change may
// alter the configuration before.
func newRig(t testing.TB, shards int, change func(*Config)) *rig {
	t.Helper()
	return startRig(t, newCluster(t, shards), 0, change)
}

// startRig starts a router on a node of a cluster.
func startRig(t testing.TB, cl *cluster, node int, change func(*Config)) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		NodeID: nodeID(node), Listener: l, Backend: cl, Topology: func() Topology { return cl }, Leaders: cl.hints,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve(context.Background()) }()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return &rig{t: t, cl: cl, r: r}
}

// client is one connection of a test.
type client struct {
	t     testing.TB
	nc    net.Conn
	vr    *resp.ValueReader
	proto int
}

// patience is the longest wait of a test. Only a test that fails waits so long.
const patience = 20 * time.Second

func (g *rig) dial() *client {
	g.t.Helper()
	nc, err := net.Dial("tcp", g.r.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { nc.Close() })
	return &client{t: g.t, nc: nc, vr: resp.NewValueReader(bufio.NewReader(nc), 256<<20), proto: 2}
}

// send sends commands, each a line of words without blanks.
func (c *client) send(lines ...string) {
	c.t.Helper()
	var b []byte
	for _, l := range lines {
		b = resp.AppendCommand(b, argvOf(l)...)
	}
	c.raw(b)
}

func (c *client) raw(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// recv reads one reply and shows it.
func (c *client) recv() string {
	c.t.Helper()
	v, err := c.read()
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return show(v)
}

func (c *client) read() (resp.Value, error) {
	c.nc.SetReadDeadline(time.Now().Add(patience))
	return c.vr.ReadValue()
}

// do sends one command and shows the reply.
func (c *client) do(line string) string {
	c.t.Helper()
	c.send(line)
	return c.recv()
}

// want checks the reply of one command.
func (c *client) want(line, reply string) {
	c.t.Helper()
	if got := c.do(line); got != reply {
		c.t.Errorf("%s\n got %s\nwant %s", line, got, reply)
	}
}

// ended checks that the server closes the connection without another reply.
func (c *client) ended() {
	c.t.Helper()
	if v, err := c.read(); err == nil {
		c.t.Errorf("the connection is open: got %s", show(v))
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Errorf("the connection is open after %v", patience)
	}
}

func argvOf(line string) [][]byte {
	var out [][]byte
	for w := range strings.FieldsSeq(line) {
		if w == `""` {
			w = ""
		}
		out = append(out, []byte(w))
	}
	return out
}

// show prints a reply in one line: +simple, -error, :1, "bulk", [a, b], {key, value}, ~[set],
// =verbatim, nil and nilarray.
func show(v resp.Value) string {
	list := func(open, end string) string {
		s := make([]string, len(v.Elems))
		for i, e := range v.Elems {
			s[i] = show(e)
		}
		return open + strings.Join(s, ", ") + end
	}
	switch v.Kind {
	case resp.KindNull:
		return "nil"
	case resp.KindNullArray:
		return "nilarray"
	case resp.KindInt:
		return fmt.Sprintf(":%d", v.Int)
	case resp.KindSimple:
		return "+" + string(v.Str)
	case resp.KindError:
		return "-" + string(v.Str)
	case resp.KindArray:
		return list("[", "]")
	case resp.KindSet:
		return list("~[", "]")
	case resp.KindMap:
		return list("{", "}")
	case resp.KindVerbatim:
		return "=" + string(v.Str)
	}
	return fmt.Sprintf("%q", v.Str)
}

// eventually waits until ok returns true, and ends the test if that takes longer than patience.
func eventually(t testing.TB, event string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in %v this did not happen: %s", patience, event)
		}
	}
}
