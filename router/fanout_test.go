package router

import (
	"fmt"
	"strings"
	"testing"

	"millrace/call"
)

func TestSumsOverShards(t *testing.T) {
	g := newRig(t, 3, nil)
	a, b, d := g.cl.key(0, 0), g.cl.key(1, 0), g.cl.key(2, 0)
	c := g.dial()
	for _, k := range []string{a, b, d} {
		c.want("XADD "+k+" 1-1 f v", `"1-1"`)
	}
	c.want("DBSIZE", ":3")
	c.want(fmt.Sprintf("EXISTS %s %s %s %s nosuch", a, b, d, a), ":4")
	c.want(fmt.Sprintf("TOUCH %s %s", a, d), ":2")
	c.want(fmt.Sprintf("DEL %s %s %s", a, b, a), ":2")
	c.want(fmt.Sprintf("UNLINK %s %s", a, d), ":1")
	c.want("DBSIZE", ":0")
	c.want("DEL", "-ERR wrong number of arguments for 'del' command")

	// Each shard got only its own keys, in the order of the arguments.
	want := fmt.Sprintf("DEL %s %s", a, a)
	if got := g.cl.applied(0)[1]; got != want {
		t.Errorf("shard 0 got %q, want %q", got, want)
	}
}

// The values come in the order of the keys, on any shards.
func TestMGetOverShards(t *testing.T) {
	g := newRig(t, 3, nil)
	a, b, d := g.cl.key(0, 0), g.cl.key(1, 0), g.cl.key(2, 0)
	a2 := g.cl.key(0, 1)
	c := g.dial()
	c.want("SET "+a+" one", "+OK")
	c.want("SET "+a2+" two", "+OK")
	c.want("SET "+b+" three", "+OK")
	c.want("XADD "+d+" 1-1 f v", `"1-1"`)
	for _, proto := range []int{2, 3} {
		c.do(fmt.Sprintf("HELLO %d", proto))
		c.want(fmt.Sprintf("MGET %s %s %s %s %s nosuch %s", b, a, d, a2, b, a), `["three", "one", nil, "two", "three", nil, "one"]`)
		c.want(fmt.Sprintf("MGET %s nosuch %s", d, a), `[nil, nil, "one"]`)
		c.want(fmt.Sprintf("MGET %s %s", a2, a), `["two", "one"]`)
	}
	c.want("MGET", "-ERR wrong number of arguments for 'mget' command")
	g.cl.setFault(func(_ string, c *call.Call) fault {
		if c.Shard == 2 {
			return fault{err: call.ErrTooLarge}
		}
		return fault{}
	})
	if got := c.do("MGET " + a + " " + b); got[0] != '-' {
		t.Errorf("a shard refuses, and the reply is %s", got)
	}
}

// A part that fails decides the reply, even when the other parts succeed.
func TestSumWithFailure(t *testing.T) {
	g := newRig(t, 2, nil)
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	c := g.dial()
	c.want("XADD "+a+" 1-1 f v", `"1-1"`)
	g.cl.setFault(func(_ string, c *call.Call) fault {
		if c.Shard == 2 {
			return fault{err: call.ErrInDoubt}
		}
		return fault{}
	})
	c.want("DEL "+a+" "+b, "-"+textInDoubt)
	g.cl.setFault(nil)
	c.want("EXISTS "+a, ":0")
}

func TestXReadOverShards(t *testing.T) {
	g := newRig(t, 3, nil)
	a, b, d := g.cl.key(0, 0), g.cl.key(1, 0), g.cl.key(2, 0)
	a2 := g.cl.key(0, 1)
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			c := g.dial()
			c.do(fmt.Sprintf("HELLO %d", proto))
			c.do("DEL " + a + " " + b + " " + d + " " + a2)
			c.want("XADD "+a+" 1-1 k a", `"1-1"`)
			c.want("XADD "+a+" 2-1 k a", `"2-1"`)
			c.want("XADD "+b+" 1-1 k b", `"1-1"`)
			c.want("XADD "+a2+" 5-1 k a2", `"5-1"`)

			entry := func(id, v string) string { return fmt.Sprintf(`["%s", ["k", "%s"]]`, id, v) }
			reply := func(pairs ...string) string {
				var s []string
				for i := 0; i < len(pairs); i += 2 {
					if proto == 3 {
						s = append(s, fmt.Sprintf("%q, [%s]", pairs[i], pairs[i+1]))
					} else {
						s = append(s, fmt.Sprintf("[%q, [%s]]", pairs[i], pairs[i+1]))
					}
				}
				if proto == 3 {
					return "{" + strings.Join(s, ", ") + "}"
				}
				return "[" + strings.Join(s, ", ") + "]"
			}
			none := "nilarray"
			if proto == 3 {
				none = "nil"
			}
			c.want(fmt.Sprintf("XREAD STREAMS %s %s %s %s 0 0 0 0", b, a2, d, a),
				reply(b, entry("1-1", "b"), a2, entry("5-1", "a2"), a, entry("1-1", "a")+", "+entry("2-1", "a")))
			c.want(fmt.Sprintf("XREAD COUNT 1 STREAMS %s %s 0 0", b, a), reply(b, entry("1-1", "b"), a, entry("1-1", "a")))
			// The same key twice is answered twice, each in its place.
			c.want(fmt.Sprintf("XREAD STREAMS %s %s %s 1-1 0 0", a, b, a),
				reply(a, entry("2-1", "a"), b, entry("1-1", "b"), a, entry("1-1", "a")+", "+entry("2-1", "a")))
			c.want(fmt.Sprintf("XREAD STREAMS %s %s %s 9 0 0", a, b, a),
				reply(b, entry("1-1", "b"), a, entry("1-1", "a")+", "+entry("2-1", "a")))
			c.want(fmt.Sprintf("XREAD STREAMS %s %s $ 1-1", a, b), none)
			c.want(fmt.Sprintf("XREAD STREAMS %s %s 0 x", a, b), "-ERR Invalid stream ID specified as stream command argument")
			c.want(fmt.Sprintf("XREAD STREAMS %s %s 0", a, b),
				"-ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.")
		})
	}
}

func TestXReadGroupOverShards(t *testing.T) {
	g := newRig(t, 2, nil)
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	c := g.dial()
	c.want("XGROUP CREATE "+a+" grp $ MKSTREAM", "+OK")
	c.want("XADD "+a+" 1-1 k a", `"1-1"`)

	// No group on the second shard: nothing may be delivered from the first.
	read := fmt.Sprintf("XREADGROUP GROUP grp me STREAMS %s %s > >", a, b)
	c.want(read, fmt.Sprintf("-NOGROUP No such key '%s' or consumer group 'grp' in XREADGROUP with GROUP option", b))
	c.want("XPENDING "+a+" grp", "[:0, nil, nil, nilarray]")

	c.want("XGROUP CREATE "+b+" grp $ MKSTREAM", "+OK")
	c.want("XADD "+b+" 2-1 k b", `"2-1"`)
	c.want(read, fmt.Sprintf(`[["%s", [["1-1", ["k", "a"]]]], ["%s", [["2-1", ["k", "b"]]]]]`, a, b))
	c.want(read, "nilarray")

	// A deleted entry of the history is a null array inside the merged reply, as on one shard.
	c.want("XDEL "+b+" 2-1", ":1")
	c.want(fmt.Sprintf("XREADGROUP GROUP grp me STREAMS %s %s 0 0", b, a),
		fmt.Sprintf(`[["%s", [["2-1", nilarray]]], ["%s", [["1-1", ["k", "a"]]]]]`, b, a))

	// A group, a consumer and keys may have the names of options.
	c.want("XGROUP CREATE block streams 0 MKSTREAM", "+OK")
	c.want("XGROUP CREATE count streams 0 MKSTREAM", "+OK")
	c.want("XADD count 1-1 k v", `"1-1"`)
	c.want("XREADGROUP GROUP streams block NOACK COUNT 5 STREAMS block count > >", `[["count", [["1-1", ["k", "v"]]]]]`)
}

// A call over shards is refused for the first error in the order of its words, and delivers
// nothing then.
func TestXReadRefusalsOverShards(t *testing.T) {
	g := newRig(t, 2, nil)
	a, b, a2 := g.cl.key(0, 0), g.cl.key(1, 0), g.cl.key(0, 1)
	c := g.dial()
	c.want("XGROUP CREATE "+a+" g 0 MKSTREAM", "+OK")
	c.want("XADD "+a+" 1-1 k a", `"1-1"`)
	noGroup := func(key string) string {
		return fmt.Sprintf("-NOGROUP No such key '%s' or consumer group 'g' in XREADGROUP with GROUP option", key)
	}
	const badID = "-ERR Invalid stream ID specified as stream command argument"
	group := func(keys ...string) string { return "XREADGROUP GROUP g c STREAMS " + strings.Join(keys, " ") + " " }
	c.want(group(a, b, a2)+"> > >", noGroup(b))
	c.want(group(a, a2, b)+"> > >", noGroup(a2))
	c.want(group(b, a)+"> x", noGroup(b))
	c.want(group(a, b)+"x >", badID)
	c.want("XGROUP CREATE "+b+" g 0 MKSTREAM", "+OK")
	c.want(group(a, b)+"> x", badID)
	if got := c.do(group(b, a) + "$ >"); !strings.HasPrefix(got, "-ERR The $ ID is meaningless") {
		t.Errorf("got %s", got)
	}
	c.want("XPENDING "+a+" g", "[:0, nil, nil, nilarray]")

	c.want("XREAD STREAMS "+a+" "+b+" 0 1-2-3", badID)
	c.want("XREAD BLOCK 0 STREAMS "+b+" "+a+" > 1-2-3",
		"-ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.")
	c.want("SET "+b+" x", "+OK")
	const wrongType = "-WRONGTYPE Operation against a key holding the wrong kind of value"
	c.want("XREAD STREAMS "+b+" "+a+" 0 x", wrongType)
	c.want("XREAD STREAMS "+a+" "+b+" x 0", badID)
	c.want("XREAD STREAMS "+b+" "+a+" x 0", wrongType)
}

// An explicit ID switches CLAIM off for the streams after it, also on other shards.
func TestClaimOverShards(t *testing.T) {
	g := newRig(t, 2, nil)
	a, b, a2 := g.cl.key(0, 0), g.cl.key(1, 0), g.cl.key(0, 1)
	c := g.dial()
	for _, k := range []string{a, b, a2} {
		c.want("XGROUP CREATE "+k+" g 0 MKSTREAM", "+OK")
		c.want("XADD "+k+" 1-1 k v", `"1-1"`)
	}
	c.want(fmt.Sprintf("XREADGROUP GROUP g c CLAIM 1000 STREAMS %s %s %s > 0 >", a, b, a2),
		fmt.Sprintf(`[["%s", [["1-1", ["k", "v"], :0, :0]]], ["%s", []], ["%s", [["1-1", ["k", "v"]]]]]`, a, b, a2))
}

func TestKeyBounds(t *testing.T) {
	g := newRig(t, 2, func(c *Config) { c.Limits.FanOut = 4 })
	c := g.dial()
	long := strings.Repeat("k", 65535)
	c.want("XLEN "+long, "-"+textTooLong)
	c.want("DEL a "+long, "-"+textTooLong)
	c.want("XREAD STREAMS "+long+" 0", "-"+textTooLong)
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	c.want(fmt.Sprintf("DEL %s %s %s %s", a, b, a, b), ":0")
	c.want(fmt.Sprintf("DEL %s %s %s %s %s", a, b, a, b, a), "-"+textWide(4))
	c.want(fmt.Sprintf("XREAD STREAMS %s %s %s %s %s 0 0 0 0 0", a, b, a, b, a), "-"+textWide(g.r.lim.FanOut))
	c.want(fmt.Sprintf("DEL %s %s %s %s %s", a, a, a, a, a), ":0") // the limit is for calls over several shards
}
