package router

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/kv"
)

// texts returns the elements of an array as strings, sorted.
func (c *client) texts(line string) []string {
	c.t.Helper()
	c.send(line)
	v, err := c.read()
	if err != nil || v.IsErr() {
		c.t.Fatalf("%s: %s, %v", line, show(v), err)
	}
	var out []string
	for _, e := range v.Elems {
		out = append(out, string(e.Str))
	}
	slices.Sort(out)
	return out
}

// fill adds n streams that are spread over the shards, and returns their names, sorted.
func (c *client) fill(n int) []string {
	c.t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("name", i))
		c.want("XADD "+names[i]+" 1-1 f v", `"1-1"`)
	}
	slices.Sort(names)
	return names
}

// TestScanOverShards takes each step of a scan to another connection, and moves
// leaderships in between.
func TestScanOverShards(t *testing.T) {
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", proto), func(t *testing.T) {
			g := newRig(t, 3, nil)
			want := g.dial().fill(100)
			var got []string
			cursor, steps := "0", 0
			for ; steps == 0 || cursor != "0"; steps++ {
				c := g.dial()
				c.do(fmt.Sprint("HELLO ", proto))
				c.send("SCAN " + cursor + " COUNT 7")
				v, err := c.read()
				if err != nil || len(v.Elems) != 2 || len(v.Elems[1].Elems) > 7 {
					t.Fatalf("SCAN %s: %s, %v", cursor, show(v), err)
				}
				cursor = string(v.Elems[0].Str)
				for _, e := range v.Elems[1].Elems {
					got = append(got, string(e.Str))
				}
				g.cl.move(steps%3, steps%2)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%d steps gave %q", steps, got)
			}
		})
	}
}

func TestScanRefusals(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	c.want("SCAN x", "-ERR invalid cursor")
	c.want("SCAN 0 COUNT 0", "-ERR syntax error")
	c.want("SCAN 99999999999999999999 COUNT 1", "-ERR invalid cursor")
	c.want("SCAN 9999999999999999999 COUNT 1", `["0", []]`)
	c.want("SCAN 0 MATCH "+strings.Repeat("x", 5000), "-ERR The pattern is longer than 4096 bytes")
}

func TestKeysOverShards(t *testing.T) {
	g := newRig(t, 3, func(cfg *Config) { cfg.Limits.Keys = 50 })
	c := g.dial()
	c.want("KEYS *", "[]")
	names := c.fill(40)
	if got := c.texts("KEYS *"); !slices.Equal(got, names) {
		t.Errorf("KEYS * answers %q", got)
	}
	if got := c.texts("KEYS name[12]"); !slices.Equal(got, []string{"name1", "name2"}) {
		t.Errorf("KEYS name[12] answers %q", got)
	}
	c.want("KEYS "+strings.Repeat("*", 5000), "-ERR The pattern is longer than 4096 bytes")
	for i := range 60 {
		c.want(fmt.Sprintf("XADD {%s}%d 1-1 f v", g.cl.key(0, 0), i), `"1-1"`)
	}
	if got := c.do("KEYS name1"); !strings.HasPrefix(got, "-ERR KEYS looks at every name, and a shard has ") || !strings.HasSuffix(got, ", more than 50. Use SCAN") {
		t.Errorf("with too many names KEYS answers %s", got)
	}
}

func TestRandomKeyOverShards(t *testing.T) {
	g := newRig(t, 3, nil)
	c := g.dial()
	c.want("RANDOMKEY", "nil")
	left := make(map[string]bool)
	for _, n := range c.fill(10) {
		left[fmt.Sprintf("%q", n)] = true
	}
	all := len(left)
	for range 10_000 { // so many that a name is never missed by chance
		got := c.do("RANDOMKEY")
		if !strings.HasPrefix(got, `"name`) {
			t.Fatalf("RANDOMKEY answers %s", got)
		}
		if delete(left, got); len(left) == 0 {
			return
		}
	}
	t.Errorf("%d of %d names were never drawn: %v", len(left), all, left)
}

func TestClusterSlotNames(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	key := g.cl.key(1, 0)
	slot := kv.Slot([]byte(key))
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("{%s}%d", key, i))
		c.want("XADD "+names[i]+" 1-1 f v", `"1-1"`)
	}
	slices.Sort(names)
	c.want(fmt.Sprint("CLUSTER COUNTKEYSINSLOT ", slot), ":12")
	c.want(fmt.Sprint("CLUSTER COUNTKEYSINSLOT ", slot+1), ":0")
	if got := c.texts(fmt.Sprintf("CLUSTER GETKEYSINSLOT %d 100", slot)); !slices.Equal(got, names) {
		t.Errorf("GETKEYSINSLOT answers %q", got)
	}
	if got := c.texts(fmt.Sprintf("CLUSTER GETKEYSINSLOT %d 5", slot)); len(got) != 5 {
		t.Errorf("GETKEYSINSLOT answers %q", got)
	}
	c.want(fmt.Sprintf("CLUSTER GETKEYSINSLOT %d 0", slot), "[]")
	c.want("CLUSTER COUNTKEYSINSLOT x", "-ERR value is not an integer or out of range")
	c.want("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot")
	c.want("CLUSTER COUNTKEYSINSLOT -1", "-ERR Invalid slot")
	c.want("CLUSTER GETKEYSINSLOT 16384 1", "-ERR Invalid slot or number of keys")
	c.want("CLUSTER GETKEYSINSLOT 1 -1", "-ERR Invalid slot or number of keys")
	c.want("CLUSTER GETKEYSINSLOT 1 x", "-ERR value is not an integer or out of range")
}

func TestNamesInMulti(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	for _, line := range []string{"MULTI", "SCAN 0", "KEYS *", "RANDOMKEY", "CLUSTER COUNTKEYSINSLOT 1", "CLUSTER GETKEYSINSLOT 1 1"} {
		c.do(line)
	}
	c.want("EXEC", "[-ERR SCAN goes over all shards and is not allowed in a transaction, "+
		"-ERR KEYS asks all shards and is not allowed in a transaction, "+
		"-ERR RANDOMKEY asks all shards and is not allowed in a transaction, "+
		"-ERR CLUSTER COUNTKEYSINSLOT is not allowed in a transaction, "+
		"-ERR CLUSTER GETKEYSINSLOT is not allowed in a transaction]")
}

// TestRenameWakes blocks a client on a stream. Then it renames that stream, or renames or copies
// another key to its name, and checks the reply of the blocked call.
func TestRenameWakes(t *testing.T) {
	g := newRig(t, 2, nil)
	tag := "{" + g.cl.key(0, 0) + "}"
	at := func(line string) string { return strings.ReplaceAll(line, "@", tag) }
	c := g.dial()
	for i, tc := range []struct {
		setup   []string
		blocked string
		wake    string
		want    string
	}{
		{nil, "XREADGROUP GROUP g c BLOCK 0 STREAMS @s >", "RENAME @s @away",
			"-NOGROUP No such key '@s' or consumer group 'g' in XREADGROUP with GROUP option"},
		{[]string{"XADD @new 5-1 f v", "XGROUP CREATE @new g 0"}, "XREADGROUP GROUP g c BLOCK 0 STREAMS @s >", "RENAME @new @s",
			`[["@s", [["5-1", ["f", "v"]]]]]`},
		{[]string{"XADD @new 5-1 f v"}, "XREADGROUP GROUP g c BLOCK 0 STREAMS @s >", "RENAME @new @s",
			"-NOGROUP No such key '@s' or consumer group 'g' in XREADGROUP with GROUP option"},
		{[]string{"SET @new v"}, "XREADGROUP GROUP g c BLOCK 0 STREAMS @s >", "RENAME @new @s",
			"-WRONGTYPE Operation against a key holding the wrong kind of value"},
		{[]string{"XADD @new 5-1 f v"}, "XREAD BLOCK 0 STREAMS @s $", "RENAME @new @s", `[["@s", [["5-1", ["f", "v"]]]]]`},
		{[]string{"XADD @new 5-1 f v"}, "XREAD BLOCK 0 STREAMS @nothing $", "COPY @new @nothing", `[["@nothing", [["5-1", ["f", "v"]]]]]`},
	} {
		for _, line := range append([]string{"DEL @s @new @away @nothing", "XADD @s 1-1 f v", "XGROUP CREATE @s g $"}, tc.setup...) {
			c.do(at(line))
		}
		b := g.dial()
		b.send(at(tc.blocked))
		g.blocked(0, 1)
		c.do(at(tc.wake))
		if got := b.recv(); got != at(tc.want) {
			t.Errorf("%d: %s answers %s, want %s", i, at(tc.blocked), got, at(tc.want))
		}
	}
}

func TestRenameAndCopyOfTwoSlots(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	for _, line := range []string{"RENAME A B", "RENAMENX A B", "COPY A B", "COPY A B FOO", "COPY A B DB 3"} {
		c.want(strings.NewReplacer(" A", " "+a, " B", " "+b).Replace(line), "-"+textCrossSlot)
	}
	c.want("COPY {k}1 {k}2 FOO", "-ERR syntax error")
	c.want("COPY {k}1 {k}2 DB 3", "-ERR Copying to another database is not allowed in cluster mode")
	c.want("RENAME {k}1 {k}2", "-ERR no such key")
	c.want("XADD {k}1 1-1 f v", `"1-1"`)
	c.want("MULTI", "+OK")
	c.want("RENAME {k}1 {k}2", "+QUEUED")
	c.want("COPY {k}2 {k}3", "+QUEUED")
	c.want("XLEN {k}3", "+QUEUED")
	c.want("EXEC", "[+OK, :1, :1]")
}

func TestObjectAndMemory(t *testing.T) {
	g := newRig(t, 2, nil)
	c := g.dial()
	key := g.cl.key(1, 0)
	c.want("XADD "+key+" 1-1 f v", `"1-1"`)
	c.want("OBJECT ENCODING "+key, `"stream"`)
	c.want("OBJECT ENCODING nokey", "nil")
	usage := c.do("MEMORY USAGE " + key)
	if !strings.HasPrefix(usage, ":") || usage == ":0" {
		t.Errorf("MEMORY USAGE answers %s", usage)
	}
	c.want("MEMORY USAGE "+key+" SAMPLES 0", usage)
	c.want("MEMORY USAGE "+key+" SAMPLES", "-ERR syntax error")
	c.want("MEMORY USAGE nokey", "nil")
	c.want("MEMORY FOO", "-ERR unknown subcommand 'FOO'. Try MEMORY HELP.")
	c.want("MEMORY DOCTOR x", "-ERR wrong number of arguments for 'memory|doctor' command")
	c.want("MEMORY PURGE", "+OK")
	c.want("MEMORY MALLOC-STATS", `"Stats not supported for the current allocator"`)
	for _, container := range []string{"MEMORY", "OBJECT"} {
		if got := c.do(container + " HELP"); !strings.HasPrefix(got, "[+"+container+" <subcommand>") {
			t.Errorf("%s HELP answers %s", container, got)
		}
	}
	c.do("HELLO 3")
	if got := c.do("MEMORY STATS"); !strings.HasPrefix(got, `{"total.allocated", :`) || !strings.HasSuffix(got, `"keys.count", :1}`) {
		t.Errorf("MEMORY STATS answers %s", got)
	}
	if got := c.do("MEMORY DOCTOR"); !strings.HasPrefix(got, "=") {
		t.Errorf("MEMORY DOCTOR answers %s", got)
	}
	// Within MULTI, the shard's answer is in its place.
	for _, line := range []string{"MULTI", "MEMORY USAGE " + key, "OBJECT REFCOUNT " + key, "MEMORY STATS", "XLEN " + key} {
		c.do(line)
	}
	c.want("EXEC", "["+usage+", :1, -ERR MEMORY STATS asks all shards and is not allowed in a transaction, :1]")
	c.want("COMMAND GETKEYS MEMORY USAGE k SAMPLES 3", `["k"]`)
	c.want("COMMAND GETKEYS OBJECT FREQ k", `["k"]`)
	c.want("COMMAND GETKEYS RENAME a b", `["a", "b"]`)
	c.want("COMMAND GETKEYS WATCH a b", `["a", "b"]`)
}

// TestScanUnderLoad scans ten times while other connections make and delete names. The names
// that stay are in every scan, once.
func TestScanUnderLoad(t *testing.T) {
	g := newRig(t, 3, nil)
	stay := g.dial().fill(60)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		c := g.dial()
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				c.send(fmt.Sprintf("SET come%d-%d v", w, i%40), fmt.Sprintf("DEL come%d-%d", w, (i+20)%40))
				for range 2 {
					if v, err := c.read(); err != nil || v.IsErr() {
						t.Errorf("%s, %v", show(v), err)
						return
					}
				}
			}
		})
	}
	c := g.dial()
	for round := range 10 {
		var got []string
		seen := make(map[string]bool)
		for cursor, steps := "0", 0; steps == 0 || cursor != "0"; steps++ {
			c.send(fmt.Sprintf("SCAN %s COUNT %d", cursor, round+1))
			v, err := c.read()
			if err != nil || len(v.Elems) != 2 {
				t.Fatalf("SCAN %s: %s, %v", cursor, show(v), err)
			}
			cursor = string(v.Elems[0].Str)
			for _, e := range v.Elems[1].Elems {
				name := string(e.Str)
				if seen[name] {
					t.Errorf("%s is answered twice", name)
				}
				seen[name] = true
				if strings.HasPrefix(name, "name") {
					got = append(got, name)
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, stay) {
			t.Errorf("a scan answers %q of the names that stay", got)
		}
	}
	close(stop)
	wg.Wait()
}
