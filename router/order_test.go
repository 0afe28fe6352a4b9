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

// orderPlan is one random run of TestOrderUnderFaults.
type orderPlan struct {
	seed                   uint64
	shards, conns          int
	commands               int // of each connection
	bad, moves, readsShare int // percent: of the calls, those that fail and those that move a leader; of the commands, the reads
}

// sentCommand is one command of a connection: an XADD with a payload, or an XLEN.
type sentCommand struct {
	shard   int
	payload string // empty for a read
}

// TestOrderUnderFaults moves leaders and refuses calls at random. The writes of one
// connection on one shard are applied in order and at most once. A write that was answered
// with an ID was applied, and one that was answered "not done" was not. Replies come in the
// order of the commands.
func TestOrderUnderFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		checkOrder(t, orderPlan{
			seed:       rapid.Uint64().Draw(rt, "seed"),
			shards:     rapid.IntRange(1, 3).Draw(rt, "shards"),
			conns:      rapid.IntRange(1, 3).Draw(rt, "connections"),
			commands:   rapid.IntRange(1, 60).Draw(rt, "commands"),
			bad:        rapid.IntRange(0, 30).Draw(rt, "bad"),
			moves:      rapid.IntRange(0, 10).Draw(rt, "moves"),
			readsShare: rapid.IntRange(0, 50).Draw(rt, "reads"),
		})
	})
}

func checkOrder(t *testing.T, p orderPlan) {
	g := newRig(t, p.shards, func(c *Config) {
		c.Limits.Patience = 2 * time.Second
		c.Limits.Answer = 500 * time.Millisecond
	})
	defer g.r.Close()
	g.cl.setFault(p.faults(g.cl))
	commands, replies := p.pipelines(t, g)
	if t.Failed() {
		return
	}
	position := p.positions(t, g.cl)
	for n := range p.conns {
		p.check(t, n, commands[n], replies[n], position)
	}
}

// faults returns the fault for each call: random, but the same for the same seed and order
// of calls. Some calls move the leader of their shard, or leave it without one for a while.
func (p orderPlan) faults(cl *cluster) func(string, *call.Call) fault {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(p.seed, 1))
	roll := func(percent int) bool { return rng.IntN(100) < percent }
	return func(_ string, c *call.Call) fault {
		mu.Lock()
		defer mu.Unlock()
		if roll(p.moves) {
			node := rng.IntN(4) - 1 // below zero: nobody leads
			shard := int(c.Shard - 1)
			cl.move(shard, node)
			if node < 0 {
				time.AfterFunc(time.Duration(rng.IntN(30))*time.Millisecond, func() { cl.move(shard, 0) })
			}
		}
		if !roll(p.bad) {
			return fault{}
		}
		faults := []fault{
			{err: call.ErrOverloaded}, {err: call.ErrOverloaded}, {err: call.ErrOverloaded},
			{err: call.ErrNotSent}, {err: call.ErrStopping}, {err: call.ErrTimeout},
			{err: call.ErrInDoubt}, {err: call.ErrInDoubt, done: true}, {err: &call.NotLeader{}},
		}
		return faults[rng.IntN(len(faults))]
	}
}

// pipelines sends random commands on every connection, and returns them with their replies.
func (p orderPlan) pipelines(t *testing.T, g *rig) (commands [][]sentCommand, replies [][]string) {
	commands, replies = make([][]sentCommand, p.conns), make([][]string, p.conns)
	var wg sync.WaitGroup
	for n := range p.conns {
		rng := rand.New(rand.NewPCG(p.seed, uint64(n+2)))
		var lines []string
		for i := range p.commands {
			s := sentCommand{shard: rng.IntN(p.shards)}
			key := g.cl.key(s.shard, 0)
			if rng.IntN(100) < p.readsShare {
				lines = append(lines, "XLEN "+key)
			} else {
				s.payload = fmt.Sprintf("c%d-%d", n, i)
				lines = append(lines, fmt.Sprintf("XADD %s * p %s", key, s.payload))
			}
			commands[n] = append(commands[n], s)
		}
		c := g.dial()
		c.send(lines...)
		wg.Go(func() {
			for range lines {
				v, err := c.read()
				if err != nil {
					t.Errorf("seed %d: connection %d: %v", p.seed, n, err)
					return
				}
				replies[n] = append(replies[n], show(v))
			}
		})
	}
	wg.Wait()
	return commands, replies
}

// positions returns the place of each payload in the records of its shard.
func (p orderPlan) positions(t *testing.T, cl *cluster) map[string]int {
	position := make(map[string]int)
	for s := range p.shards {
		for i, rec := range cl.applied(s) {
			payload := rec[strings.LastIndexByte(rec, ' ')+1:]
			if _, twice := position[payload]; twice {
				t.Errorf("seed %d: %s was applied twice", p.seed, payload)
			}
			position[payload] = i
		}
	}
	return position
}

// check compares the replies of connection n with the places of its writes in the records.
func (p orderPlan) check(t *testing.T, n int, commands []sentCommand, replies []string, position map[string]int) {
	last := make(map[int]int)   // position of the last write of this connection, by shard
	lens := make(map[int]int64) // the last length read, by shard
	for i, s := range commands {
		reply := replies[i]
		if s.payload == "" {
			var l int64
			if _, err := fmt.Sscanf(reply, ":%d", &l); err == nil {
				if l < lens[s.shard] {
					t.Errorf("seed %d: connection %d: length went from %d to %d", p.seed, n, lens[s.shard], l)
				}
				lens[s.shard] = l
			} else if !strings.HasPrefix(reply, "-") {
				t.Errorf("seed %d: connection %d: reply %d to XLEN is %s", p.seed, n, i, reply)
			}
			continue
		}
		at, applied := position[s.payload]
		switch {
		case strings.HasPrefix(reply, `"`):
			if !applied {
				t.Errorf("seed %d: %s was answered %s and not applied", p.seed, s.payload, reply)
			}
		case strings.HasPrefix(reply, "-INDOUBT "):
		case strings.HasPrefix(reply, "-CLUSTERDOWN "), strings.HasPrefix(reply, "-TRYAGAIN "), strings.HasPrefix(reply, "-OVERLOADED "):
			if applied {
				t.Errorf("seed %d: %s was applied and answered %s", p.seed, s.payload, reply)
			}
		default:
			t.Errorf("seed %d: reply %d of connection %d to XADD is %s", p.seed, i, n, reply)
		}
		if applied {
			if before, ok := last[s.shard]; ok && at < before {
				t.Errorf("seed %d: %s was applied before an earlier command of its connection", p.seed, s.payload)
			}
			last[s.shard] = at
		}
	}
}

// Without faults, every command of a pipeline is done, also while leaders move.
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
	g.cl.hold(0, true) // so that the whole pipeline is in the router before the first command is done
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

// Replies leave in the order of the commands, even when the shard of a later one answers first.
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
