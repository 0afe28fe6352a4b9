package router

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"millrace/call"
)

func TestWatch(t *testing.T) {
	for _, proto := range []int{2, 3} {
		null := "nilarray"
		if proto == 3 {
			null = "nil"
		}
		for _, tc := range []struct {
			name  string
			lines []string // command and reply in turn; "other" commands come from another client
		}{
			{"nothing happens", []string{"WATCH A", "+OK", "MULTI", "+OK", "XADD A 1-1 f v", "+QUEUED", "PING", "+QUEUED", "XLEN A", "+QUEUED",
				"EXEC", `["1-1", +PONG, :1]`}},
			{"another client adds", []string{"WATCH A", "+OK", "other XADD A 1-1 f v", `"1-1"`, "MULTI", "+OK", "XADD A 2-1 f v", "+QUEUED",
				"CLIENT SETNAME x", "+QUEUED", "EXEC", null, "XLEN A", ":1", "CLIENT GETNAME", "nil"}},
			{"another client adds after MULTI", []string{"WATCH A", "+OK", "MULTI", "+OK", "XADD A 2-1 f v", "+QUEUED",
				"other XADD A 1-1 f v", `"1-1"`, "EXEC", null}},
			{"this client adds", []string{"WATCH A", "+OK", "XADD A 1-1 f v", `"1-1"`, "MULTI", "+OK", "EXEC", null}},
			{"it is for one EXEC", []string{"WATCH A", "+OK", "XADD A 1-1 f v", `"1-1"`, "MULTI", "+OK", "EXEC", null, "MULTI", "+OK", "EXEC", "[]"}},
			{"the first look counts", []string{"WATCH A", "+OK", "XADD A 1-1 f v", `"1-1"`, "WATCH A A2", "+OK", "MULTI", "+OK", "EXEC", null}},
			{"deleted and made again", []string{"XADD A 1-1 f v", `"1-1"`, "WATCH A", "+OK", "DEL A", ":1", "XADD A 1-1 f v", `"1-1"`, "MULTI", "+OK", "EXEC", null}},
			{"missing, and still missing", []string{"WATCH A", "+OK", "DEL A", ":0", "MULTI", "+OK", "EXISTS A", "+QUEUED", "EXEC", "[:0]"}},
			{"unwatched", []string{"WATCH A", "+OK", "UNWATCH", "+OK", "XADD A 1-1 f v", `"1-1"`, "MULTI", "+OK", "PING", "+QUEUED", "EXEC", "[+PONG]"}},
			{"UNWATCH within", []string{"WATCH A", "+OK", "XADD A 1-1 f v", `"1-1"`, "MULTI", "+OK", "UNWATCH", "+QUEUED", "EXEC", null}},
			{"discarded", []string{"WATCH A", "+OK", "XADD A 1-1 f v", `"1-1"`, "MULTI", "+OK", "DISCARD", "+OK", "MULTI", "+OK", "EXEC", "[]"}},
			{"reset", []string{"WATCH A", "+OK", "XADD A 1-1 f v", `"1-1"`, "RESET", "+RESET", fmt.Sprint("HELLO ", proto), "*", "MULTI", "+OK", "EXEC", "[]"}},
			{"what groups do is no modification", []string{"XADD A 1-1 f v", `"1-1"`, "XGROUP CREATE A g 0", "+OK", "WATCH A", "+OK",
				"XGROUP CREATE A h 0", "+OK", "XREADGROUP GROUP g c STREAMS A >", "*", "XACK A g 1-1", ":1", "MULTI", "+OK", "XLEN A", "+QUEUED", "EXEC", "[:1]"}},
			{"keys of two slots", []string{"WATCH A B", "-" + textCrossSlot, "MULTI", "+OK", "EXEC", "[]"}},
			{"watched keys of two slots", []string{"WATCH A", "+OK", "WATCH B", "+OK", "MULTI", "+OK", "EXEC", "-" + textCrossSlot, "MULTI", "+OK", "EXEC", "[]"}},
			{"another slot than the commands", []string{"WATCH B", "+OK", "MULTI", "+OK", "XADD A 1-1 f v", "+QUEUED", "EXEC", "-" + textCrossSlot}},
			{"a bad command goes first", []string{"WATCH A", "+OK", "XADD A 1-1 f v", `"1-1"`, "MULTI", "+OK", "FOO", "-ERR unknown command 'FOO'",
				"EXEC", "-EXECABORT Transaction discarded because of previous errors."}},
			{"within MULTI", []string{"MULTI", "+OK", "WATCH A", "-ERR WATCH inside MULTI is not allowed", "EXEC", "[]"}},
			{"refused by its words", []string{"WATCH A", "+OK", "MULTI", "+OK", "XRANGE A x y", "+QUEUED", "DBSIZE", "+QUEUED", "XADD A 1-1 f v", "+QUEUED", "EXEC",
				`[-ERR Invalid stream ID specified as stream command argument, -ERR DBSIZE asks all shards and is not allowed in a transaction, "1-1"]`}},
			{"a null within", []string{"WATCH A", "+OK", "MULTI", "+OK", "XADD A NOMKSTREAM 1-1 f v", "+QUEUED", "XADD A 1-1 f v", "+QUEUED", "EXEC", `[nil, "1-1"]`}},
			{"no keys", []string{"WATCH", "-ERR wrong number of arguments for 'watch' command"}},
		} {
			t.Run(fmt.Sprint(tc.name, "/RESP", proto), func(t *testing.T) {
				replayWatch(t, proto, tc.lines)
			})
		}
	}
}

// replayWatch sends commands to a new router and compares the replies; "*" stands for any
// reply. A and A2 are keys of one slot, and B is a key of another shard.
func replayWatch(t *testing.T, proto int, lines []string) {
	g := newRig(t, 2, nil)
	fill := map[string]string{"A": g.cl.key(0, 0), "A2": "{" + g.cl.key(0, 0) + "}2", "B": g.cl.key(1, 0)}
	c, other := g.dial(), g.dial()
	c.do(fmt.Sprint("HELLO ", proto))
	for i := 0; i < len(lines); i += 2 {
		words := strings.Fields(lines[i])
		by := c
		if words[0] == "other" {
			by, words = other, words[1:]
		}
		for j, w := range words {
			if k := fill[w]; k != "" {
				words[j] = k
			}
		}
		if line := strings.Join(words, " "); lines[i+1] == "*" {
			by.do(line)
		} else {
			by.want(line, lines[i+1])
		}
	}
}

// TestWatchPipelined sends everything at once. WATCH sees the commands before it and not
// those after it, and EXEC compares with that.
func TestWatchPipelined(t *testing.T) {
	g := newRig(t, 2, nil)
	a := g.cl.key(0, 0)
	c := g.dial()
	c.send("XADD "+a+" 1-1 f v", "WATCH "+a, "MULTI", "XADD "+a+" 2-1 f v", "EXEC", "XLEN "+a,
		"WATCH "+a, "XADD "+a+" 3-1 f v", "MULTI", "XADD "+a+" 4-1 f v", "EXEC", "XLEN "+a)
	for _, want := range []string{`"1-1"`, "+OK", "+OK", "+QUEUED", `["2-1"]`, ":2", "+OK", `"3-1"`, "+OK", "+QUEUED", "nilarray", ":3"} {
		if got := c.recv(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWatchBounds(t *testing.T) {
	g := newRig(t, 1, func(cfg *Config) { cfg.Limits.Watched, cfg.Limits.MultiBytes = 3, 100 })
	c := g.dial()
	c.want("WATCH {k}1 {k}2", "+OK")
	c.want("WATCH {k}1 {k}2 {k}3", "+OK")
	c.want("WATCH {k}4", "-"+textWatched)
	c.want("UNWATCH", "+OK")
	c.want("WATCH {k}"+strings.Repeat("x", 90), "+OK")
	c.want("WATCH {k}"+strings.Repeat("y", 10), "-"+textWatched)
}

// An EXEC with WATCH whose answer is lost is in doubt, and is not tried again. After a change of
// leader, an EXEC still compares with the WATCH before it.
func TestWatchWithFailures(t *testing.T) {
	g := newRig(t, 1, nil)
	a := g.cl.key(0, 0)
	c := g.dial()
	c.want("WATCH "+a, "+OK")
	c.want("MULTI", "+OK")
	c.want("XADD "+a+" 1-1 f v", "+QUEUED")
	g.cl.setFault(func(_ string, c *call.Call) fault {
		if c.Kind == call.Write {
			return fault{err: call.ErrInDoubt, done: true}
		}
		return fault{}
	})
	c.want("EXEC", "-"+textInDoubt)
	g.cl.setFault(nil)
	c.want("XLEN "+a, ":1")
	c.want("WATCH "+a, "+OK")
	g.cl.move(0, 1)
	c.want("MULTI", "+OK")
	c.want("XLEN "+a, "+QUEUED")
	c.want("EXEC", "[:1]")
}

// TestWatchContended counts up one value from several clients while leaderships move. Each
// client reads the value, and sets it to one more unless another client has set it meanwhile.
// No step is lost: 6 clients with 30 steps each end at 180.
func TestWatchContended(t *testing.T) {
	g := newRig(t, 2, nil)
	key := g.cl.key(0, 0)
	const clients, steps = 6, 30
	var wg sync.WaitGroup
	for range clients {
		c := g.dial()
		wg.Go(func() {
			for done := 0; done < steps; {
				c.send("WATCH "+key, "GET "+key)
				c.recv()
				v, err := c.read()
				if err != nil {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(v.Str))
				c.send("MULTI", fmt.Sprintf("SET %s %d", key, n+1), "EXEC")
				c.recv()
				c.recv()
				switch got := c.recv(); got {
				case "[+OK]":
					done++
				case "nilarray":
				default:
					t.Errorf("EXEC answers %s", got)
					return
				}
			}
		})
	}
	for i := range 10 {
		g.cl.move(0, i%3)
	}
	wg.Wait()
	g.dial().want("GET "+key, fmt.Sprintf("%q", fmt.Sprint(clients*steps)))
}

// An EXEC that only reads writes no record, with or without WATCH. It compares the watched
// keys on the same view that its commands read.
func TestWatchedReadsNeedNoRecord(t *testing.T) {
	g := newRig(t, 1, nil)
	a := g.cl.key(0, 0)
	c, other := g.dial(), g.dial()
	c.want("XADD "+a+" 1-1 f v", `"1-1"`)
	records := len(g.cl.applied(0))
	read := func(want string) {
		t.Helper()
		for _, line := range []string{"MULTI", "XLEN " + a, "EXISTS " + a} {
			c.do(line)
		}
		c.want("EXEC", want)
	}
	c.want("WATCH "+a, "+OK")
	read("[:1, :1]")
	c.want("WATCH "+a, "+OK")
	if got := len(g.cl.applied(0)); got != records {
		t.Errorf("%d records were written for reads", got-records)
	}
	other.want("XADD "+a+" 2-1 f v", `"2-1"`)
	read("nilarray")
	read("[:2, :1]")
	if got := len(g.cl.applied(0)); got != records+1 {
		t.Errorf("%d records, want the one of XADD", got-records)
	}
}
