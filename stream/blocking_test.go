package stream_test

import (
	"bytes"
	"strings"
	"testing"

	"millrace/kv/pebblekv"
	"millrace/resp"
	"millrace/stream"
)

// ready reports whether a blocked call is ready.
func (r *rig) ready(line string) bool {
	r.t.Helper()
	ok, err := r.state.Block(argvOf(strings.Fields(line)...)).Ready(pebblekv.Reader{R: r.db}, r.nowMS)
	if err != nil {
		r.t.Fatalf("%s: %v", line, err)
	}
	return ok
}

// touched returns the touched names in one line, with a star for all names.
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

const (
	blockCall = "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > >"
	claimCall = "XREADGROUP GROUP g c BLOCK 0 CLAIM 100 STREAMS s t > >"
)

// readyCases are commands after which a blocked XREADGROUP is ready or not.
var readyCases = []struct {
	name    string
	before  string // commands, separated by semicolons
	last    string // the command after which the call may be ready
	waitMS  int64  // time that passes afterwards
	call    string
	ready   bool
	touched string // names that last touches
}{
	{"nothing there", "", "XGROUP CREATE s h 0", 0, blockCall, false, ""},
	{"entry", "", "XADD s 1-0 f v", 0, blockCall, true, "s"},
	{"entry of the second", "", "XADD t 1-0 f v", 0, blockCall, true, "t"},
	{"entry read by another", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 0, blockCall, false, ""},
	{"entry deleted", "XADD s 1-0 f v", "XDEL s 1-0", 0, blockCall, false, ""},
	{"entry before the group's place", "XGROUP SETID s g 9", "XADD s 1-0 f v", 0, blockCall, false, "s"},
	{"group destroyed", "", "XGROUP DESTROY s g", 0, blockCall, true, "s"},
	{"group of another name destroyed", "XGROUP CREATE s h 0", "XGROUP DESTROY s h", 0, blockCall, false, "s"},
	{"stream deleted", "", "DEL t", 0, blockCall, true, "t"},
	// As in Redis, XGROUP SETID wakes no call. The next XADD does.
	{"moved back", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XGROUP SETID s g 0", 0, blockCall, true, ""},
	{"history", "", "XGROUP CREATECONSUMER s g d", 0, "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > 0", true, ""},
	{"malformed", "", "XGROUP CREATECONSUMER s g d", 0, "XREADGROUP GROUP g c BLOCK 0 STREAMS s t > $", true, ""},
	{"no such option", "", "XGROUP CREATECONSUMER s g d", 0, "XREADGROUP GROUP g c BLOC 0 STREAMS s t > >", true, ""},

	{"pending, no claim", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 1000, blockCall, false, ""},
	{"pending, too young", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 99, claimCall, false, ""},
	{"pending, old enough", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 100, claimCall, true, ""},
	{"pending and deleted", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XDEL s 1-0", 100, claimCall, false, ""},
	{"pending and acknowledged", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XACK s g 1-0", 100, claimCall, false, ""},
	{"released", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XNACK s g FAIL IDS 1 1-0", 0, claimCall, true, "s"},
	{"made to look old", "XADD s 1-0 f v;XREADGROUP GROUP g d STREAMS s >", "XCLAIM s g d 0 1-0 IDLE 100", 0, claimCall, true, "s"},
	{"claim after a history", "XADD s 1-0 f v", "XREADGROUP GROUP g d STREAMS s >", 100,
		"XREADGROUP GROUP g c BLOCK 0 CLAIM 100 STREAMS t s > >", true, ""},
}

// TestXReadGroupReady checks after each of many commands whether a blocked XREADGROUP is
// ready: it must be when it would answer entries or an error. The command that makes it ready
// must touch the key, so that the shard looks at the call.
func TestXReadGroupReady(t *testing.T) {
	for _, test := range readyCases {
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
			// A call that is ready must answer something, and one that is not, nothing.
			if v := r.do(test.call); v.IsNull() == test.ready {
				t.Errorf("%s answers %v", test.call, v)
			}
		})
	}
}

// TestXReadGroupArrival checks that a waiting XREADGROUP creates its consumer, and that a
// later one updates its seen-time. As in Redis, the seen-time shows that a consumer is alive.
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
		t.Errorf("ready: %v, command to record the arrival: %s", r.ready(call), join)
	}
	if v := r.do(join); !v.IsNull() {
		t.Errorf("it answers %v", v)
	}
	for _, line := range []string{call, "XREADGROUP GROUP h c BLOCK 0 STREAMS s >", "XREADGROUP GROUP g d BLOCK 0 STREAMS s $",
		"XREADGROUP GROUP g d BLOCK 0 STREAMS none >", "XREAD BLOCK 0 STREAMS s $", "FOO"} {
		if got := arrival(line); got != "" {
			t.Errorf("%s: command to record the arrival: %s", line, got)
		}
	}
	r.nowMS += 999
	if got := arrival(call); got != "" {
		t.Errorf("command to record an arrival just after another: %s", got)
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

// TestReadKeys finds the keys of commands whose other words may have the names of options.
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
