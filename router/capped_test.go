package router

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/resp"
)

// A call with MAXCOUNT or MAXSIZE over several shards answers the same as on one shard, and
// leaves the same entries pending.
func TestCapsOverShards(t *testing.T) {
	one, many := newRig(t, 1, nil), newRig(t, 3, nil)
	rigs := [2]*client{one.dial(), many.dial()}
	var keys []string
	for i := range 9 {
		keys = append(keys, many.cl.key(i%3, i/3))
	}
	const nosuch = "no{such}"
	run := func(rt *rapid.T, line string) string {
		want, got := rigs[0].do(line), rigs[1].do(line)
		if got != want {
			rt.Fatalf("%s\n got %s\nwant %s", line, got, want)
		}
		return got
	}
	replies := 0
	rapid.Check(t, func(rt *rapid.T) {
		run(rt, "HELLO 2")
		run(rt, "DEL "+strings.Join(keys, " "))
		for i, key := range keys[:8] {
			run(rt, "XGROUP CREATE "+key+" g 0 MKSTREAM")
			for n := range rapid.IntRange(0, 4).Draw(rt, "entries") {
				size := rapid.IntRange(1, 120).Draw(rt, "size")
				run(rt, fmt.Sprintf("XADD %s %d-%d k %s", key, n+1, i, strings.Repeat("v", size)))
			}
		}
		run(rt, "SET "+keys[8]+" x")
		for range rapid.IntRange(1, 4).Draw(rt, "calls") {
			line := drawCapped(rt, keys, nosuch)
			if rapid.Bool().Draw(rt, "resp3") {
				rigs[0].do("HELLO 3")
				rigs[1].do("HELLO 3")
			}
			if got := run(rt, line); got[0] != '-' && got != "nil" && got != "nilarray" {
				replies++
			}
			run(rt, "HELLO 2")
			for _, key := range keys[:8] {
				run(rt, "XINFO GROUPS "+key)
				want, got := deliveries(rigs[0], key), deliveries(rigs[1], key)
				if got != want {
					rt.Fatalf("%s: pending of %s:\n got %s\nwant %s", line, key, got, want)
				}
			}
		}
	})
	if replies == 0 {
		t.Error("no call answered any entry")
	}
}

// drawCapped draws an XREAD or XREADGROUP over a few of keys, the last of which is no
// stream. The call answers soon: BLOCK comes with entries to answer, or with a short time.
func drawCapped(rt *rapid.T, keys []string, nosuch string) string {
	draw := func(of ...string) string { return rapid.SampledFrom(of).Draw(rt, "word") }
	number := func(name string, low, high int) string {
		return fmt.Sprintf("%s %d", name, rapid.IntRange(low, high).Draw(rt, name))
	}
	group := rapid.Bool().Draw(rt, "group")
	caps := [][]string{
		{number("MAXCOUNT", 1, 12)},
		{number("maxsize", 1, 900)},
		{number("COUNT", -1, 3), number("MAXCOUNT", 3, 9)},
		{number("MAXSIZE", 1, 900), number("MAXCOUNT", 2, 9), number("count", 1, 2)},
		{number("COUNT", 1, 3), number("MAXSIZE", 1, 900)},
		{"MAXCOUNT 1", number("MAXCOUNT", 3, 9), "COUNT 9", number("COUNT", 1, 3)},
		{"COUNT 2", "MAXCOUNT 1"},
	}
	words := []string{"XREAD"}
	ids := []string{"0", "0", "2", "1-5", "+", "$"}
	if group {
		words = []string{"XREADGROUP", "GROUP", "g", draw("maxcount", "me")}
		ids = draw2(rt, []string{">"}, []string{"0"}, []string{">", ">", "0", "1"})
		words = append(words, draw("", "", "NOACK"), draw("", "", "CLAIM 100000"))
	}
	words = append(words, rapid.SampledFrom(caps).Draw(rt, "caps")...)
	wrong := rapid.IntRange(0, 19).Draw(rt, "wrong")
	block := draw("", "", "BLOCK 1")
	if wrong == 0 && !group {
		block = "" // a fake shard does not check types while an XREAD waits
	}
	words = append(words, block, "STREAMS")
	n := rapid.IntRange(2, 12).Draw(rt, "keys")
	var of, from []string
	for range n {
		of = append(of, draw(keys[:8]...))
		from = append(from, draw(ids...))
	}
	switch wrong {
	case 0:
		of[n-1] = keys[8]
	case 1:
		of[n-1] = nosuch
	case 2:
		from[n-1] = "x"
	}
	return strings.Join(words, " ") + " " + strings.Join(of, " ") + " " + strings.Join(from, " ")
}

func draw2(rt *rapid.T, of ...[]string) []string { return rapid.SampledFrom(of).Draw(rt, "ids") }

// deliveries returns the pending entries of a stream: IDs, consumers and counts.
func deliveries(c *client, key string) string {
	c.send("XPENDING " + key + " g - + 100")
	v, err := c.read()
	if err != nil || v.Kind != resp.KindArray {
		return fmt.Sprintf("%s, %v", show(v), err)
	}
	var s []string
	for _, e := range v.Elems {
		s = append(s, fmt.Sprintf("%s %s %d", e.Elems[0].Str, e.Elems[1].Str, e.Elems[3].Int))
	}
	return strings.Join(s, "; ")
}

// A capped call that blocks over shards reads in the order of its arguments once it is woken.
// Entries beyond the cap are left for the next call.
func TestBlockCappedOverShards(t *testing.T) {
	for _, limit := range []string{"MAXCOUNT 1", "MAXSIZE 1"} {
		for _, read := range []string{"XREAD", "XREADGROUP GROUP g me"} {
			t.Run(read+" "+limit, func(t *testing.T) {
				g := newRig(t, 2, nil)
				a, b := g.cl.key(0, 0), g.cl.key(1, 0)
				c, w := g.dial(), g.dial()
				ids := " $ $"
				for _, key := range []string{a, b} {
					w.want("XGROUP CREATE "+key+" g $ MKSTREAM", "+OK")
				}
				if read != "XREAD" {
					ids = " > >"
				}
				c.send(fmt.Sprintf("%s %s BLOCK 0 STREAMS %s %s%s", read, limit, a, b, ids))
				g.blocked(0, 1)
				g.blocked(1, 1)
				g.cl.hold(0, true)
				g.cl.put(1, "XADD "+b+" 1-1 k b")
				g.cl.put(0, "XADD "+a+" 2-1 k a")
				g.cl.hold(0, false)
				if got, want := c.recv(), fmt.Sprintf(`[["%s", [["2-1", ["k", "a"]]]]]`, a); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				g.blocked(0, 0)
				g.blocked(1, 0)
				if read == "XREAD" {
					return
				}
				w.want("XPENDING "+b+" g", "[:0, nil, nil, nilarray]")
				c.want(fmt.Sprintf("%s %s BLOCK 0 STREAMS %s %s > >", read, limit, a, b),
					fmt.Sprintf(`[["%s", [["1-1", ["k", "b"]]]]]`, b))
			})
		}
	}
}
