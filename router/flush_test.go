package router

import (
	"strings"
	"testing"

	"millrace/call"
)

func TestFlush(t *testing.T) {
	g := newRig(t, 3, func(cfg *Config) { cfg.EnableFlush = true })
	c := g.dial()
	for _, line := range []string{"FLUSHALL", "FLUSHALL ASYNC", "flushall sync", "FLUSHDB", "FLUSHDB async", "FLUSHDB SYNC"} {
		c.fill(20)
		c.want("DBSIZE", ":20")
		c.want(line, "+OK")
		c.want("DBSIZE", ":0")
		c.want("KEYS *", "[]")
	}
	c.want("FLUSHALL NOW", "-ERR syntax error")
	c.want("FLUSHALL SYNC ASYNC", "-ERR syntax error")
	c.want("MULTI", "+OK")
	c.want("FLUSHALL", "+QUEUED")
	c.want("EXEC", "[-ERR FLUSHALL goes to all shards and is not allowed in a transaction]")
}

// Commands that are pipelined around a FLUSHALL run in their order.
func TestFlushInOrder(t *testing.T) {
	g := newRig(t, 2, func(cfg *Config) { cfg.EnableFlush = true })
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	c := g.dial()
	c.send("XADD "+a+" 5-1 f v", "XADD "+b+" 5-1 f v", "FLUSHALL", "XADD "+a+" 1-1 f v", "XLEN "+b)
	for _, want := range []string{`"5-1"`, `"5-1"`, "+OK", `"1-1"`, ":0"} {
		if got := c.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestFlushIsGuarded(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	c.fill(3)
	for _, name := range []string{"FLUSHALL", "FLUSHDB"} {
		got := c.do(name)
		if !strings.HasPrefix(got, "-ERR "+name+" is not allowed: it removes all data of the cluster.") || !strings.Contains(got, "--enable-flush") {
			t.Errorf("%s answers %s", name, got)
		}
	}
	c.want("FLUSHALL x", "-ERR syntax error")
	c.want("DBSIZE", ":3")
}

// A FLUSHALL wakes the calls that are blocked on a group, and trips WATCH.
func TestFlushIsNoticed(t *testing.T) {
	g := newRig(t, 2, func(cfg *Config) { cfg.EnableFlush = true })
	a := g.cl.key(0, 0)
	c, w := g.dial(), g.dial()
	for _, key := range []string{a, g.cl.key(1, 0)} {
		c.want("XGROUP CREATE "+key+" g $ MKSTREAM", "+OK")
	}
	b := g.dial()
	b.send("XREADGROUP GROUP g c BLOCK 0 STREAMS " + a + " >")
	g.blocked(0, 1)
	w.want("WATCH "+a, "+OK")
	c.want("FLUSHALL", "+OK")
	if got, want := b.recv(), "-NOGROUP No such key '"+a+"' or consumer group 'g' in XREADGROUP with GROUP option"; got != want {
		t.Errorf("the blocked call answers %s, want %s", got, want)
	}
	w.want("MULTI", "+OK")
	w.want("EXEC", "nilarray")
}

// If one shard fails, its error is the reply.
func TestFlushWithFailure(t *testing.T) {
	g := newRig(t, 2, func(cfg *Config) { cfg.EnableFlush = true })
	c := g.dial()
	g.cl.setFault(func(_ string, c *call.Call) fault {
		if c.Shard == 2 {
			return fault{err: call.ErrInDoubt}
		}
		return fault{}
	})
	c.want("FLUSHALL", "-"+textInDoubt)
}

func TestOneDatabase(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.want("SWAPDB 0 1", "-ERR SWAPDB is not allowed in cluster mode")
	c.want("SWAPDB x", "-ERR wrong number of arguments for 'swapdb' command")
	c.want("MOVE a 1", "-ERR MOVE is not allowed in cluster mode")
}
