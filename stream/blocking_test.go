package stream_test

import (
	"bytes"
	"strings"
	"testing"

	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// ready reports whether a blocked call would answer something now.
func (r *rig) ready(line string) bool {
	r.t.Helper()
	ok, err := r.state.Block(argvOf(strings.Fields(line)...)).Ready(pebblekv.Reader{R: r.db}, r.nowMS)
	if err != nil {
		r.t.Fatalf("%s: %v", line, err)
	}
	return ok
}

// touched returns the names that commands made worth a look, in one line; a star for all.
func (r *rig) touched() string {
	var out []string
	names, all := r.state.Touched()
	if all {
		out = append(out, "*")
	}
	for _, name := range names {
		out = append(out, string(name))
	}
	return strings.Join(out, " ")
}

// TestXReadGroupReady looks at a blocked XREADGROUP after each of many commands: it is
// ready when it would answer entries or an error, and what made it so has touched the
// key, so that somebody looks.
func TestXReadGroupReady(t *testing.T) {
	const block, claim = "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > >", "XREADGROUP GROUP g c BLOCK 0 CLAIM 100 STREAMS s t > >"
	for _, test := range []struct {
		name    string
		before  string // commands, parted by semicolons
		last    string
		waitMS  int64
		call    string
		ready   bool
		touched string
	}{
		{"nothing there", "", "XGROUP CREATE s h 0", 0, block, false, ""},
		{"entry", "", "XADD s 1-0 f v", 0, block, true, "s"},
		{"entry of the second", "", "XADD t 1-0 f v", 0, block, true, "t"},
		{"entry read by another", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 0, block, false, ""},
		{"entry deleted", "XADD s 1-0 f v", "XDEL s 1-0", 0, block, false, ""},
		{"entry before the group's place", "XGROUP SETID s g 9", "XADD s 1-0 f v", 0, block, false, "s"},
		{"group destroyed", "", "XGROUP DESTROY s g", 0, block, true, "s"},
		{"group of another name destroyed", "XGROUP CREATE s h 0", "XGROUP DESTROY s h", 0, block, false, "s"},
		{"stream deleted", "", "DEL t", 0, block, true, "t"},
		// Redis wakes nobody here, and neither does this: the next XADD will.
		{"moved back", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XGROUP SETID s g 0", 0, block, true, ""},
		{"history", "", "XGROUP CREATECONSUMER s g d", 0, "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > 0", true, ""},
		{"malformed", "", "XGROUP CREATECONSUMER s g d", 0, "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > $", true, ""},
		{"no such option", "", "XGROUP CREATECONSUMER s g d", 0, "XREADGROUP GROUP g c BLOC 0 STREAMS s t > >", true, ""},

		{"pending, no claim", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 1000, block, false, ""},
		{"pending, too young", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 99, claim, false, ""},
		{"pending, old enough", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 100, claim, true, ""},
		{"pending and deleted", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XDEL s 1-0", 100, claim, false, ""},
		{"pending and acknowledged", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XACK s g 1-0", 100, claim, false, ""},
		{"released", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XNACK s g FAIL IDS 1 1-0", 0, claim, true, "s"},
		{"made to look old", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XCLAIM s g d 0 1-0 IDLE 100", 0, claim, true, "s"},
		{"claim after a history", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 100,
			"XREADGROUP GROUP g c BLOCK 0 CLAIM 100 STREAMS t s > >", true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.do("XGROUP CREATE s g 0 MKSTREAM")
			r.do("XGROUP CREATE t g 0 MKSTREAM")
			r.do("XGROUP CREATECONSUMER s g c")
			r.do("XGROUP CREATECONSUMER t g c")
			if r.ready(test.call) != (test.name == "history" || test.name == "malformed" || test.name == "no such option") {
				t.Errorf("ready before anything was done")
			}
			for line := range strings.SplitSeq(test.before, ";") {
				if line != "" {
					r.do(line)
				}
			}
			r.touched()
			if v := r.do(test.last); v.IsErr() {
				t.Fatalf("%s: %v", test.last, v)
			}
			if got := r.touched(); got != test.touched {
				t.Errorf("%s touched %q, not %q", test.last, got, test.touched)
			}
			r.nowMS += test.waitMS
			if got := r.ready(test.call); got != test.ready {
				t.Errorf("ready is %t, not %t", got, test.ready)
			}
			// What is ready answers something, what is not answers nothing.
			if v := r.do(test.call); v.IsNull() == test.ready {
				t.Errorf("%s answers %v", test.call, v)
			}
		})
	}
}

// TestXReadGroupArrival makes a consumer that waits for its first entry, and notes that one
// has waited again: as in Redis, everybody may see who is alive.
func TestXReadGroupArrival(t *testing.T) {
	const call = "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > >"
	r := newRig(t)
	r.do("XGROUP CREATE s g 0 MKSTREAM")
	r.do("XGROUP CREATE t g 0 MKSTREAM")
	r.do("XGROUP CREATECONSUMER s g c")
	arrival := func(line string) string {
		t.Helper()
		argv, err := r.state.Block(argvOf(strings.Fields(line)...)).Arrival(pebblekv.Reader{R: r.db}, r.nowMS)
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes.Join(argv, []byte(" ")))
	}
	join := arrival(call)
	if r.ready(call) || join != "_XGROUPATTEND g c s t" {
		t.Errorf("ready: %v, to be run when it is made: %s", r.ready(call), join)
	}
	if v := r.do(join); !v.IsNull() {
		t.Errorf("it answers %v", v)
	}
	for _, line := range []string{call, "XREADGROUP GROUP h c BLOCK 0 STREAMS s >", "XREADGROUP GROUP g d BLOCK 0 STREAMS s $",
		"XREADGROUP GROUP g d BLOCK 0 STREAMS none >", "XREAD BLOCK 0 STREAMS s $", "FOO"} {
		if got := arrival(line); got != "" {
			t.Errorf("%s: to be run when it is made: %s", line, got)
		}
	}
	r.nowMS += 999
	if got := arrival(call); got != "" {
		t.Errorf("to be run when it has just been seen: %s", got)
	}
	r.nowMS++
	r.do(arrival(call))
	for _, s := range []string{"s", "t"} {
		if got, want := r.do("XINFO CONSUMERS "+s+" g"), `[["name", "c", "pending", :0, "idle", :0, "inactive", :-1]]`; resp.Print(got, 2) != want {
			t.Errorf("consumers of %s: %s", s, resp.Print(got, 2))
		}
	}
	r.touched()
	r.do("_XGROUPATTEND g d s")
	if got := r.touched(); got != "" {
		t.Errorf("it touched %s", got)
	}
	if n := len(r.do("XINFO CONSUMERS t g").Elems); n != 1 {
		t.Errorf("the group has %d consumers", n)
	}
}

// TestReadKeys finds the keys of commands whose other words may be called as options are.
func TestReadKeys(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"XREADGROUP GROUP g c STREAMS a b > >", "a b"},
		{"XREADGROUP GROUP STREAMS STREAMS STREAMS a >", "a"},
		{"XREADGROUP GROUP g c COUNT 1 BLOCK 0 CLAIM 5 NOACK MAXCOUNT 1 MAXSIZE 9 STREAMS STREAMS >", "STREAMS"},
		{"XREADGROUP COUNT 2 GROUP g c STREAMS COUNT BLOCK 0 0", "COUNT BLOCK"},
		{"XREADGROUP GROUP g c STREAMS a b >", ""},
		{"XREADGROUP GROUP g c FOO STREAMS a >", ""},
		{"XREADGROUP GROUP g c COUNT x STREAMS a >", ""},
		{"_XGROUPCHECK g a b", "a b"},
		{"XGROUP CREATE k g $", "k"},
		{"XINFO CONSUMERS k g", "k"},
		{"XACKDEL k g IDS 1 1", "k"},
	} {
		argv := argvOf(strings.Fields(test.line)...)
		c, refusal := stream.Lookup(argv)
		if c == nil || refusal != nil {
			t.Fatalf("%s: %v", test.line, refusal)
		}
		var keys []string
		for _, i := range c.KeyIndexes(argv) {
			keys = append(keys, string(argv[i]))
		}
		if got := strings.Join(keys, " "); got != test.want {
			t.Errorf("%s has keys %q, not %q", test.line, got, test.want)
		}
	}
}
