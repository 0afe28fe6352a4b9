package router

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"millrace/call"
)

// Whatever leaders do and shards refuse, the writes of one connection on one shard are
// applied in order and at most once; what was answered OK was applied, what was
// answered "not done" was not; replies come in the order of the commands.
func TestOrderUnderFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		shards := rapid.IntRange(1, 3).Draw(rt, "shards")
		conns := rapid.IntRange(1, 3).Draw(rt, "connections")
		count := rapid.IntRange(1, 60).Draw(rt, "commands")
		badPercent := rapid.IntRange(0, 30).Draw(rt, "bad")
		movePercent := rapid.IntRange(0, 10).Draw(rt, "moves")
		reads := rapid.IntRange(0, 50).Draw(rt, "reads")
		checkOrder(t, seed, shards, conns, count, badPercent, movePercent, reads)
	})
}

func checkOrder(t *testing.T, seed uint64, shards, conns, count, badPercent, movePercent, readPercent int) {
	g := newRig(t, shards, func(c *Config) {
		c.Limits.Patience = 2 * time.Second
		c.Limits.Answer = 500 * time.Millisecond
	})
	defer g.r.Close()
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 1))
	roll := func(percent int) bool { return rng.IntN(100) < percent }
	g.cl.setFault(func(_ string, c *call.Call) fault {
		mu.Lock()
		defer mu.Unlock()
		if roll(movePercent) {
			node := rng.IntN(4) - 1 // now and then nobody leads
			shard := int(c.Shard - 1)
			g.cl.move(shard, node)
			if node < 0 {
				time.AfterFunc(time.Duration(rng.IntN(30))*time.Millisecond, func() { g.cl.move(shard, 0) })
			}
		}
		if !roll(badPercent) {
			return fault{}
		}
		switch rng.IntN(9) {
		case 0, 1, 2:
			return fault{err: call.ErrOverloaded}
		case 3:
			return fault{err: call.ErrNotSent}
		case 4:
			return fault{err: call.ErrStopping}
		case 5:
			return fault{err: call.ErrTimeout}
		case 6:
			return fault{err: call.ErrInDoubt}
		case 7:
			return fault{err: call.ErrInDoubt, done: true}
		}
		return fault{err: &call.NotLeader{}}
	})

	type sent struct {
		shard   int
		payload string // empty for a read
	}
	all := make([][]sent, conns)
	replies := make([][]string, conns)
	var wg sync.WaitGroup
	for n := range conns {
		rng := rand.New(rand.NewPCG(seed, uint64(n+2)))
		var lines []string
		for i := range count {
			s := sent{shard: rng.IntN(shards)}
			key := g.cl.key(s.shard, 0)
			if rng.IntN(100) < readPercent {
				lines = append(lines, "XLEN "+key)
			} else {
				s.payload = fmt.Sprintf("c%d-%d", n, i)
				lines = append(lines, fmt.Sprintf("XADD %s * p %s", key, s.payload))
			}
			all[n] = append(all[n], s)
		}
		c := g.dial()
		c.send(lines...)
		wg.Go(func() {
			for range lines {
				v, err := c.read()
				if err != nil {
					t.Errorf("seed %d: connection %d: %v", seed, n, err)
					return
				}
				replies[n] = append(replies[n], show(v))
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}

	position := make(map[string]int) // of each payload in its shard's records
	for s := range shards {
		for i, rec := range g.cl.applied(s) {
			payload := rec[strings.LastIndexByte(rec, ' ')+1:]
			if _, twice := position[payload]; twice {
				t.Errorf("seed %d: %s was applied twice", seed, payload)
			}
			position[payload] = i
		}
	}
	for n := range conns {
		last := make(map[int]int)   // position of the last write of this connection, by shard
		lens := make(map[int]int64) // the last length read, by shard
		for i, s := range all[n] {
			reply := replies[n][i]
			if s.payload == "" {
				var l int64
				if _, err := fmt.Sscanf(reply, ":%d", &l); err == nil {
					if l < lens[s.shard] {
						t.Errorf("seed %d: connection %d: length went from %d to %d", seed, n, lens[s.shard], l)
					}
					lens[s.shard] = l
				} else if !strings.HasPrefix(reply, "-") {
					t.Errorf("seed %d: connection %d: reply %d to XLEN is %s", seed, n, i, reply)
				}
				continue
			}
			at, applied := position[s.payload]
			switch {
			case strings.HasPrefix(reply, `"`):
				if !applied {
					t.Errorf("seed %d: %s was answered %s and not applied", seed, s.payload, reply)
				}
			case strings.HasPrefix(reply, "-INDOUBT "):
			case strings.HasPrefix(reply, "-CLUSTERDOWN "), strings.HasPrefix(reply, "-TRYAGAIN "), strings.HasPrefix(reply, "-OVERLOADED "):
				if applied {
					t.Errorf("seed %d: %s was applied and answered %s", seed, s.payload, reply)
				}
			default:
				t.Errorf("seed %d: reply %d of connection %d to XADD is %s", seed, i, n, reply)
			}
			if applied {
				if before, ok := last[s.shard]; ok && at < before {
					t.Errorf("seed %d: %s was applied before an earlier command of its connection", seed, s.payload)
				}
				last[s.shard] = at
			}
		}
	}
}

// Without faults every command of a pipeline is done, also while leaders move under it.
func TestPipelineSurvivesMoves(t *testing.T) {
	g := newRig(t, 2, nil)
	const n = 400
	var mu sync.Mutex
	calls := 0
	g.cl.setFault(func(_ string, c *call.Call) fault {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls%37 == 0 && calls < 2*n {
			g.cl.move(int(c.Shard-1), calls/37%3)
		}
		return fault{}
	})
	c := g.dial()
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("XADD %s * p %d", g.cl.key(i%2, 0), i))
	}
	c.send(lines...)
	for i := range n {
		if got := c.recv(); !strings.HasPrefix(got, `"`) {
			t.Fatalf("reply %d: %s", i, got)
		}
	}
	for s := range 2 {
		recs := g.cl.applied(s)
		if len(recs) != n/2 {
			t.Fatalf("shard %d: %d records, want %d", s, len(recs), n/2)
		}
		for i, rec := range recs {
			if want := fmt.Sprintf(" %d", 2*i+s); !strings.HasSuffix(rec, want) {
				t.Fatalf("shard %d: record %d is %q, want %q at its end", s, i, rec, want)
			}
		}
	}
}

// A read sees the writes sent before it, and not those sent after.
func TestReadsKeepTheirPlace(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	g.cl.hold(0, true) // so that all of it is in the router before anything is done
	c.send("XADD s * a 1", "XADD s * a 2", "XLEN s", "XADD s * a 3", "XLEN s", "XLEN s", "XADD s * a 4", "XLEN s")
	g.cl.hold(0, false)
	want := []string{"id", "id", ":2", "id", ":3", ":3", "id", ":4"}
	for i, w := range want {
		got := c.recv()
		if w == "id" && got[0] == '"' {
			continue
		}
		if got != w {
			t.Errorf("reply %d: got %s, want %s", i, got, w)
		}
	}
}

// Replies leave in the order of the commands although shards answer in another.
func TestRepliesInOrderAcrossShards(t *testing.T) {
	g := newRig(t, 2, nil)
	g.cl.move(1, 1)
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	c := g.dial()
	c.do("XLEN " + b) // so that the leader of the second shard is known
	g.cl.hold(0, true)
	c.send("XADD "+a+" 1-1 f v", "XADD "+b+" 2-2 f v", "PING")
	eventually(t, "the second shard has its entry", func() bool { return len(g.cl.applied(1)) == 1 })
	g.cl.hold(0, false)
	for _, want := range []string{`"1-1"`, `"2-2"`, "+PONG"} {
		if got := c.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
