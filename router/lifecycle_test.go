package router

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// Drain lets running commands end, gives up blocked calls, and takes no new clients.
func TestDrain(t *testing.T) {
	g := newRig(t, 1, nil)
	busy, idle, blocked := g.dial(), g.dial(), g.dial()
	idle.want("PING", "+PONG")
	blocked.send("XREAD BLOCK 0 STREAMS s $")
	g.blocked(0, 1)
	g.cl.hold(0, true)
	busy.send("XADD s 1-1 a b", "XADD s 2-1 a b")
	eventually(t, "the writes are under way", func() bool {
		box := g.cl.boxes[g.cl.nodes[0]]
		box.mu.Lock()
		defer box.mu.Unlock()
		return len(box.calls) == 2
	})
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := g.r.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain while a write is under way: %v", err)
	}
	idle.ended()
	blocked.ended()
	g.cl.hold(0, false)
	for _, want := range []string{`"1-1"`, `"2-1"`} {
		if got := busy.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	busy.ended()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.r.Drain(ctx); err != nil {
		t.Errorf("Drain: %v", err)
	}
	g.blocked(0, 0)
	if nc, err := net.DialTimeout("tcp", g.r.Addr().String(), time.Second); err == nil {
		nc.Close()
		t.Error("a drained router accepts a client")
	}
}

// Close returns at once, even when clients and shards hang.
func TestClose(t *testing.T) {
	g := newRig(t, 2, nil)
	g.cl.move(1, -1)
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	blockedOne, blockedMany, waiting, silent := g.dial(), g.dial(), g.dial(), g.dial()
	blockedOne.send("XREAD BLOCK 0 STREAMS " + a + " 0")
	g.blocked(0, 1)
	blockedMany.send("XREAD BLOCK 0 STREAMS " + a + " " + b + " 0 0")
	waiting.send("XADD "+b+" * k v", "XLEN "+a)
	eventually(t, "a write waits for a leader", func() bool {
		s := g.r.seeker(2)
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.searches) >= 2
	})
	g.cl.hold(0, true)
	silent.send("XLEN " + a)
	done := make(chan struct{})
	go func() { g.r.Close(); close(done) }() // ends with the test below
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Close does not return")
	}
	for _, c := range []*client{blockedOne, blockedMany, waiting, silent} {
		c.ended()
	}
	g.cl.hold(0, false)
	g.blocked(0, 0)
	if err := g.r.Serve(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}

// When the context of Serve ends, connections live on until Close.
func TestServeContext(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("PING", "+PONG")
	g.r.refuseNew() // as when the context ends
	c.want("PING", "+PONG")
}

func TestConfig(t *testing.T) {
	good := func() Config {
		cl := &cluster{}
		return Config{NodeID: nodeID(0), Listener: noListener{}, Backend: cl, Topology: func() Topology { return cl }, Leaders: newFakeLeaders()}
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"node ID", func(c *Config) { c.NodeID = "x" }, "node ID"},
		{"listener", func(c *Config) { c.Listener = nil }, "listener"},
		{"backend", func(c *Config) { c.Backend = nil }, "backend"},
		{"leaders", func(c *Config) { c.Leaders = nil }, "leaders"},
		{"output", func(c *Config) { c.Limits.OutputSoftBytes = 1 << 40 }, "output limit"},
	} {
		cfg := good()
		tc.change(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := New(good()); err != nil {
		t.Error(err)
	}
}

type noListener struct{ net.Listener }
