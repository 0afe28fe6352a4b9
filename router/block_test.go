package router

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace/call"
	"millrace/resp"
)

// blocked waits until a shard keeps n calls.
func (g *rig) blocked(shard, n int) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("shard %d keeps %d calls", shard, n), func() bool { return g.cl.blockedCalls(shard) == n })
}

func TestBlockOneShard(t *testing.T) {
	g := newRig(t, 2, nil)
	a := g.cl.key(0, 0)
	c, w := g.dial(), g.dial()
	w.want("XADD "+a+" 1-1 k old", `"1-1"`)
	c.want("XREAD BLOCK 0 STREAMS "+a+" 0", fmt.Sprintf(`[["%s", [["1-1", ["k", "old"]]]]]`, a))
	c.want("XREAD BLOCK 20 STREAMS "+a+" $", "nilarray")

	c.send("XREAD BLOCK 0 STREAMS "+a+" $", "PING") // a pipelined PING waits behind it
	g.blocked(0, 1)
	w.want("XADD "+a+" 2-1 k new", `"2-1"`)
	if got, want := c.recv(), fmt.Sprintf(`[["%s", [["2-1", ["k", "new"]]]]]`, a); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := c.recv(); got != "+PONG" {
		t.Errorf("got %s", got)
	}
	c.want("XREAD BLOCK -1 STREAMS "+a+" $", "-ERR timeout is negative")
	c.want("XREAD BLOCK x STREAMS "+a+" $", "-ERR timeout is not an integer or out of range")
}

// A blocking read sees the writes that were pipelined before it.
func TestBlockBehindWrites(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	c.send("XADD s 1-1 a 1", "XREAD BLOCK 0 STREAMS s 0", "XADD s 2-1 a 2")
	for _, want := range []string{`"1-1"`, `[["s", [["1-1", ["a", "1"]]]]]`, `"2-1"`} {
		if got := c.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// The ID $ is replaced by the last ID when the call begins. Therefore the call also answers an
// entry that was added after its leader ended and before it was registered again.
func TestBlockSurvivesLeaderChange(t *testing.T) {
	for _, tc := range []struct{ name, read, create string }{
		{"XREAD", "XREAD BLOCK 0 STREAMS %s $", ""},
		{"XREADGROUP", "XREADGROUP GROUP g me BLOCK 0 STREAMS %s >", "XGROUP CREATE %s g $"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newRig(t, 2, nil)
			a := g.cl.key(0, 0)
			c, w := g.dial(), g.dial()
			w.want("XADD "+a+" 1-1 k old", `"1-1"`)
			if tc.create != "" {
				w.want(fmt.Sprintf(tc.create, a), "+OK")
			}
			c.send(fmt.Sprintf(tc.read, a))
			g.blocked(0, 1)
			g.cl.move(0, 1)
			g.blocked(0, 1)
			g.cl.hold(1, true)
			g.cl.move(0, 1) // the new registration is held up, and then comes too late
			g.cl.move(0, 2)
			g.cl.put(0, "XADD "+a+" 2-1 k new")
			g.cl.hold(1, false)
			if got, want := c.recv(), fmt.Sprintf(`[["%s", [["2-1", ["k", "new"]]]]]`, a); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// An XREAD goes on waiting when one of its keys becomes another type. It answers from its
// other keys, on any shards. Redis 7.0 does the same.
func TestBlockedReadIgnoresOtherTypes(t *testing.T) {
	g := newRig(t, 2, nil)
	a, a2, b := g.cl.key(0, 0), g.cl.key(0, 1), g.cl.key(1, 0)
	for _, tc := range []struct {
		name, options string
		keys          [2]string // the first changes its type, the second has the entry
		waits         int       // shards on which the call waits
	}{
		{"one shard", "", [2]string{a, a2}, 1},
		{"over shards", "", [2]string{a, b}, 2},
		{"the same part", "", [2]string{a, a2 + " " + b}, 2},
		{"capped", "MAXCOUNT 5 ", [2]string{a, b}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, w := g.dial(), g.dial()
			w.want("DEL "+a+" "+a2+" "+b, w.do("EXISTS "+a+" "+a2+" "+b))
			keys := tc.keys[0] + " " + tc.keys[1]
			c.send("XREAD " + tc.options + "BLOCK 0 STREAMS " + keys + strings.Repeat(" $", len(strings.Fields(keys))))
			g.blocked(0, 1)
			g.blocked(1, tc.waits-1)
			w.want("SET "+tc.keys[0]+" x", "+OK")
			with := strings.Fields(tc.keys[1])[0]
			w.want("XADD "+with+" 1-1 k v", `"1-1"`)
			if got, want := c.recv(), fmt.Sprintf(`[["%s", [["1-1", ["k", "v"]]]]]`, with); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			w.want("XREAD BLOCK 0 STREAMS "+tc.keys[0]+" "+b+" 0 0", "-WRONGTYPE Operation against a key holding the wrong kind of value")
		})
	}
}

// A blocked call survives a broken connection to the leader: it is registered again.
func TestBlockSurvivesBrokenLink(t *testing.T) {
	g := newRig(t, 1, nil)
	c, w := g.dial(), g.dial()
	g.cl.setFault(func(_ string, c *call.Call) fault {
		if c.Kind == call.Block {
			g.cl.setFault(nil)
			return fault{err: call.ErrInDoubt}
		}
		return fault{}
	})
	c.send("XREAD BLOCK 0 STREAMS s 0")
	g.blocked(0, 1)
	w.want("XADD s 1-1 a b", `"1-1"`)
	if got := c.recv(); got != `[["s", [["1-1", ["a", "b"]]]]]` {
		t.Errorf("got %s", got)
	}
}

// A leader may have served an XREADGROUP before it was lost. When no other leader is found,
// the reply is therefore INDOUBT. An XREAD changes nothing, so its reply is CLUSTERDOWN.
func TestBlockRemembersDoubt(t *testing.T) {
	for _, tc := range []struct{ read, want string }{
		{"XREADGROUP GROUP g c BLOCK 200 STREAMS %s >", "-" + textInDoubt},
		{"XREAD BLOCK 200 STREAMS %s 0", "-" + textNoLeader},
	} {
		g := newRig(t, 1, nil)
		a := g.cl.key(0, 0)
		c := g.dial()
		c.want("XGROUP CREATE "+a+" g 0 MKSTREAM", "+OK")
		c.want("XADD "+a+" 1-1 k v", `"1-1"`)
		var calls atomic.Int32
		g.cl.setFault(func(_ string, c *call.Call) fault {
			switch {
			case c.Kind != call.Block:
				return fault{}
			case calls.Add(1) == 1:
				return fault{err: call.ErrInDoubt, done: true}
			}
			return fault{err: &call.NotLeader{}}
		})
		c.want(fmt.Sprintf(tc.read, a), tc.want)
		if calls.Load() < 2 {
			t.Errorf("%s: it was not registered again", tc.read)
		}
	}
}

// XREADGROUP refuses "$" before it looks at later keys, with and without BLOCK, on one shard
// and on several.
func TestDollarIsNoIDOfAGroup(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	for _, shard := range []int{0, 1} {
		with, without := g.cl.key(0, 0), g.cl.key(shard, 1)
		c.do("XGROUP CREATE " + with + " g 0 MKSTREAM")
		for _, block := range []string{"", "BLOCK 1 "} {
			c.want("XREADGROUP GROUP g c "+block+"STREAMS "+with+" "+without+" $ >", "-ERR The $ ID is meaningless in the context of XREADGROUP: "+
				"you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.")
		}
	}
}

// A blocked call ends in time even when its leader is lost or silent. Over several shards the
// reply is null, because all of them were read before the call waited. On one shard it is an
// error, because an entry may have come that no leader could answer.
func TestBlockEndsWithoutLeader(t *testing.T) {
	silent := func(g *rig) {
		g.cl.setFault(func(_ string, c *call.Call) fault { return fault{silent: c.Kind == call.Block || c.Kind == call.Wait} })
		g.cl.move(0, 1)
	}
	for _, tc := range []struct {
		name string
		read string
		one  string // the reply of one shard; over several it is null
		lose func(g *rig)
	}{
		{"no leader", "XREAD", "-" + textNoLeader, func(g *rig) { g.cl.move(0, -1) }},
		{"silent leader", "XREAD", "-" + textTimeout, silent},
		{"silent leader of a group", "XREADGROUP GROUP g c", "-" + textInDoubt, silent},
	} {
		for _, keys := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s %d", tc.name, keys), func(t *testing.T) {
				g := newRig(t, keys, nil)
				c := g.dial()
				read, id, want := tc.read+" BLOCK 300 STREAMS", " 0", tc.one
				for i := range keys {
					read += " " + g.cl.key(i, 0)
					if strings.HasPrefix(tc.read, "XREADGROUP") {
						c.want("XGROUP CREATE "+g.cl.key(i, 0)+" g 0 MKSTREAM", "+OK")
						id = " >"
					}
				}
				if keys > 1 {
					want = "nilarray"
				}
				read += strings.Repeat(id, keys)
				start := time.Now()
				c.send(read)
				g.blocked(0, 1)
				tc.lose(g)
				if got := c.recv(); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if d := time.Since(start); d < 300*time.Millisecond || d > 2800*time.Millisecond {
					t.Errorf("the call took %v", d)
				}
			})
		}
	}
}

func TestBlockOverShards(t *testing.T) {
	g := newRig(t, 3, nil)
	a, b, d := g.cl.key(0, 0), g.cl.key(1, 0), g.cl.key(2, 0)
	c, w := g.dial(), g.dial()
	read := fmt.Sprintf("XREAD BLOCK 0 STREAMS %s %s %s $ $ $", a, b, d)
	c.send(read)
	for i := range 3 {
		g.blocked(i, 1)
	}
	w.want("XADD "+b+" 1-1 k b", `"1-1"`)
	if got, want := c.recv(), fmt.Sprintf(`[["%s", [["1-1", ["k", "b"]]]]]`, b); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for i := range 3 {
		g.blocked(i, 0) // the call is forgotten on all shards
	}
	c.want(fmt.Sprintf("XREAD BLOCK 30 STREAMS %s %s %s $ $ $", a, b, d), "nilarray")
	for i := range 3 {
		g.blocked(i, 0)
	}
}

// An XREADGROUP over shards delivers nothing to a call that has returned. When another
// consumer takes the entry that woke it, it waits on.
func TestBlockGroupOverShards(t *testing.T) {
	g := newRig(t, 2, nil)
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	c, w := g.dial(), g.dial()
	read := fmt.Sprintf("XREADGROUP GROUP g me BLOCK 0 STREAMS %s %s > >", a, b)
	c.want(read, fmt.Sprintf("-NOGROUP No such key '%s' or consumer group 'g' in XREADGROUP with GROUP option", a))
	w.want("XGROUP CREATE "+a+" g $ MKSTREAM", "+OK")
	w.want("XGROUP CREATE "+b+" g $ MKSTREAM", "+OK")
	c.send(read)
	g.blocked(0, 1)
	g.blocked(1, 1)
	g.cl.move(1, 2) // waits move with their leaders
	g.blocked(1, 1)
	w.send("MULTI", "XADD "+a+" 1-1 k taken", "XREADGROUP GROUP g other STREAMS "+a+" >", "EXEC")
	for range 4 {
		w.recv()
	}
	g.blocked(0, 1)
	w.want("XADD "+b+" 2-1 k b", `"2-1"`)
	if got, want := c.recv(), fmt.Sprintf(`[["%s", [["2-1", ["k", "b"]]]]]`, b); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	c.want(fmt.Sprintf("XREADGROUP GROUP g me BLOCK 30 STREAMS %s %s > >", a, b), "nilarray")
	w.want("XADD "+a+" 3-1 k late", `"3-1"`)
	w.want("XPENDING "+a+" g", `[:1, "1-1", "1-1", [["other", "1"]]]`)

	c.send(fmt.Sprintf("XREADGROUP GROUP g me BLOCK 0 STREAMS %s %s > >", b, a))
	if got, want := c.recv(), fmt.Sprintf(`[["%s", [["3-1", ["k", "late"]]]]]`, a); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// A group that vanishes under a blocked call is an error, as in Redis.
	c.send(read)
	g.blocked(0, 1)
	g.blocked(1, 1)
	w.want("XGROUP DESTROY "+b+" g", ":1")
	if got, want := c.recv(), "-NOGROUP "; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	g.blocked(0, 0)
}

// When a client vanishes, the shards forget its blocked call and the router its connection.
func TestBlockedClientVanishes(t *testing.T) {
	for _, keys := range []int{1, 2} {
		for _, piped := range []string{"", "PING"} {
			t.Run(fmt.Sprint(keys, piped), func(t *testing.T) {
				g := newRig(t, keys, nil)
				c := g.dial()
				read := "XREAD BLOCK 0 STREAMS"
				for i := range keys {
					read += " " + g.cl.key(i, 0)
				}
				c.send(read + strings.Repeat(" 0", keys))
				if piped != "" {
					c.send(piped)
				}
				for i := range keys {
					g.blocked(i, 1)
				}
				c.nc.Close()
				for i := range keys {
					g.blocked(i, 0)
				}
				eventually(t, "the connection is forgotten", func() bool { return len(g.r.clients()) == 0 })
			})
		}
	}
}

func TestUnblock(t *testing.T) {
	for _, keys := range []int{1, 2} {
		g := newRig(t, keys, nil)
		c, w := g.dial(), g.dial()
		c.want("CLIENT ID", ":1")
		read := "XREAD BLOCK 0 STREAMS"
		for i := range keys {
			read += " " + g.cl.key(i, 0)
		}
		read += strings.Repeat(" 0", keys)
		w.want("CLIENT UNBLOCK 1", ":0")
		for _, tc := range []struct{ cmd, want string }{
			{"CLIENT UNBLOCK 1", "nilarray"},
			{"CLIENT UNBLOCK 1 TIMEOUT", "nilarray"},
			{"CLIENT UNBLOCK 1 ERROR", "-" + textUnblocked},
		} {
			c.send(read)
			g.blocked(0, 1)
			w.want(tc.cmd, ":1")
			if got := c.recv(); got != tc.want {
				t.Errorf("%s: got %s, want %s", tc.cmd, got, tc.want)
			}
			g.blocked(0, 0)
		}
	}
}

// COUNT, MAXCOUNT and MAXSIZE hold for a call that was woken too. Entries beyond them are
// not made pending.
func TestBlockCapped(t *testing.T) {
	g := newRig(t, 1, nil)
	w := g.dial()
	w.want("XGROUP CREATE s g $ MKSTREAM", "+OK")
	const first = `[["s", [["1-1", ["f", "v"]]]]]`
	waiting := map[string]*client{}
	for _, read := range []string{
		"XREAD BLOCK 0 MAXCOUNT 1 STREAMS s $", "XREAD BLOCK 0 MAXSIZE 1 STREAMS s $", "XREAD BLOCK 0 COUNT 1 STREAMS s $",
		"XREADGROUP GROUP g c BLOCK 0 MAXCOUNT 1 STREAMS s >",
	} {
		c := g.dial()
		c.send(read)
		waiting[read] = c
		g.blocked(0, len(waiting))
	}
	w.send("MULTI", "XADD s 1-1 f v", "XADD s 2-1 f v", "EXEC")
	for range 4 {
		w.recv()
	}
	for read, c := range waiting {
		if got := c.recv(); got != first {
			t.Errorf("%s: got %s, want %s", read, got, first)
		}
	}
	w.want("XPENDING s g", `[:1, "1-1", "1-1", [["c", "1"]]]`)
}

// A blocked call that ends with an error counts as one failed call, even if the shard looked
// at it several times.
func TestBlockedFailureCounts(t *testing.T) {
	g := newRig(t, 1, nil)
	c, w := g.dial(), g.dial()
	w.want("XGROUP CREATE s g $ MKSTREAM", "+OK")
	c.send("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
	g.blocked(0, 1)
	w.want("XGROUP CREATE s h $", "+OK")
	w.want("DEL s", ":1")
	if got, want := c.recv(), "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	info := w.do("INFO everything")
	for _, want := range []string{`errorstat_NOGROUP:count=1\r\n`, `cmdstat_xreadgroup:calls=1,`} {
		if !strings.Contains(info, want) {
			t.Errorf("INFO lacks %s in:\n%s", want, info)
		}
	}
	_, stat, _ := strings.Cut(info, "cmdstat_xreadgroup:")
	stat, _, _ = strings.Cut(stat, `\r\n`)
	if !strings.HasSuffix(stat, "rejected_calls=0,failed_calls=1") {
		t.Errorf("XREADGROUP: %s", stat)
	}
}

// The number of blocked calls is bounded, and so are the commands that a blocked client
// pipelines.
func TestBlockBounds(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.Limits.Blocked = 1 })
	c, w := g.dial(), g.dial()
	c.send("XREAD BLOCK 0 STREAMS s 0")
	g.blocked(0, 1)
	w.want("XREAD BLOCK 0 STREAMS s 0", "-"+textOverloaded)
	flood := make([]byte, 0, 300<<10)
	n := 0
	for ; len(flood) < 256<<10; n++ {
		flood = append(flood, "*1\r\n$4\r\nPING\r\n"...)
	}
	c.raw(flood) // more than the router reads ahead
	w.want("XADD s 1-1 a b", `"1-1"`)
	if got := c.recv(); got != `[["s", [["1-1", ["a", "b"]]]]]` {
		t.Errorf("got %s", got)
	}
	for i := range n {
		if got := c.recv(); got != "+PONG" {
			t.Fatalf("reply %d: %s", i, got)
		}
	}
	w.want("XREAD BLOCK 10 STREAMS s $", "nilarray") // there is room again
}

// Consumers that block over two shards while leaders come and go get every entry
// exactly once: nothing is delivered to a call that has returned or moved on.
func TestBlockedConsumersUnderMoves(t *testing.T) {
	g := newRig(t, 2, nil)
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	w := g.dial()
	w.want("XGROUP CREATE "+a+" g $ MKSTREAM", "+OK")
	w.want("XGROUP CREATE "+b+" g $ MKSTREAM", "+OK")
	const entries, consumers = 150, 4
	all := tally{entries: entries, seen: make(map[string]int)}
	var wg sync.WaitGroup
	for n := range consumers {
		c := g.dial()
		keys := fmt.Sprintf("STREAMS %s %s > >", a, b)
		if n == 0 {
			keys = fmt.Sprintf("STREAMS %s >", a) // one waits on a single shard
		}
		line := fmt.Sprintf("XREADGROUP GROUP g c%d COUNT 2 BLOCK 100 %s", n, keys)
		wg.Go(func() {
			if err := all.consume(c, line); err != nil {
				t.Errorf("consumer %d: %v", n, err)
			}
		})
	}
	for i := range entries {
		if i%5 == 0 {
			g.cl.move(i/5%2, i/10%3)
		}
		key := a
		if i%3 == 0 {
			key = b
		}
		if got := w.do(fmt.Sprintf("XADD %s * n %d", key, i)); got[0] != '"' {
			t.Errorf("XADD %d: %s", i, got)
		}
	}
	wg.Wait()
	for p, n := range all.seen {
		if n != 1 {
			t.Errorf("entry %s was delivered %d times", p, n)
		}
	}
}

// tally counts how often each entry was delivered.
type tally struct {
	entries int // number of entries, each with a payload of its own

	mu   sync.Mutex
	seen map[string]int // deliveries by payload, guarded by mu
}

// consume repeats an XREADGROUP until every entry was delivered, to this consumer or another.
func (a *tally) consume(c *client, line string) error {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c.send(line)
		v, err := c.read()
		if err != nil || v.IsErr() {
			return fmt.Errorf("the reply is %s, %v", show(v), err)
		}
		if a.add(v) {
			return nil
		}
	}
	return fmt.Errorf("not all entries were delivered in %v", patience)
}

// add counts the entries of a reply, and reports whether every entry was delivered by now.
func (a *tally) add(reply resp.Value) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, stream := range reply.Elems {
		for _, entry := range stream.Elems[1].Elems {
			a.seen[string(entry.Elems[1].Elems[1].Str)]++
		}
	}
	return len(a.seen) == a.entries
}

// A short BLOCK time bounds the wait, but not the first look at the stream. With BLOCK 1 the
// shard still has the usual time to answer an entry that is there already.
func TestShortBlockIsLookedAt(t *testing.T) {
	g := newRig(t, 1, nil)
	s := g.cl.key(0, 0)
	c := g.dial()
	c.want("XADD "+s+" 1-1 k v", `"1-1"`)
	type times struct{ block, timeout uint64 }
	seen := make(chan times, 1)
	g.cl.setFault(func(_ string, c *call.Call) fault {
		if c.Kind == call.Block {
			seen <- times{c.BlockMS, uint64(c.TimeoutMS)}
		}
		return fault{}
	})
	c.want("XREAD BLOCK 1 STREAMS "+s+" 0", fmt.Sprintf(`[["%s", [["1-1", ["k", "v"]]]]]`, s))
	got := <-seen
	if least := uint64(blockGrace.Milliseconds()); got.block != 1 || got.timeout < least {
		t.Errorf("the shard was given a wait of %d ms and %d ms to look, not 1 and %d", got.block, got.timeout, least)
	}
}
