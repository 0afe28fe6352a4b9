package router

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"millrace/call"
)

// multiCases are transactions, in which A and B stand for keys of two shards.
var multiCases = []struct {
	name    string
	lines   []string // command and reply in turn
	records []string // of the shard of A
}{
	{"one slot", []string{
		"MULTI", "+OK", "XADD A 1-1 k v", "+QUEUED", "XLEN A", "+QUEUED", "EXEC", `["1-1", :1]`,
	}, []string{"XADD A 1-1 k v; XLEN A"}},
	{"connection commands in their places", []string{
		"MULTI", "+OK", "PING", "+QUEUED", "XADD A 2-1 k v", "+QUEUED", "ECHO x", "+QUEUED", "XLEN A", "+QUEUED", "EXEC",
		`[+PONG, "2-1", "x", :2]`,
	}, []string{"XADD A 2-1 k v; XLEN A"}},
	{"empty", []string{"MULTI", "+OK", "EXEC", "[]"}, nil},
	{"only connection commands", []string{"MULTI", "+OK", "PING", "+QUEUED", "SELECT 3", "+QUEUED", "EXEC",
		"[+PONG, -ERR SELECT is not allowed in cluster mode]"}, nil},
	{"a single read needs no record", []string{"MULTI", "+OK", "XLEN A", "+QUEUED", "EXEC", "[:2]"}, nil},
	{"only reads need no record", []string{"MULTI", "+OK", "XLEN A", "+QUEUED", "PING", "+QUEUED", "XREAD BLOCK 0 COUNT 1 STREAMS A 0", "+QUEUED", "EXEC",
		`[:2, +PONG, [["A", [["1-1", ["k", "v"]]]]]]`}, nil},
	{"a failing read does not stop the others", []string{"MULTI", "+OK", "GET A", "+QUEUED", "XLEN A", "+QUEUED", "EXEC",
		"[-WRONGTYPE Operation against a key holding the wrong kind of value, :2]"}, nil},
	{"refused by its words", []string{"MULTI", "+OK", "XRANGE A x y", "+QUEUED", "XADD A 3-1 k v", "+QUEUED", "EXEC",
		`[-ERR Invalid stream ID specified as stream command argument, "3-1"]`}, []string{"XADD A 3-1 k v"}},
	{"a failing command does not undo the others", []string{"MULTI", "+OK", "XADD A 3-1 k v", "+QUEUED", "XADD A 4-1 k v", "+QUEUED", "EXEC",
		`[-ERR The ID specified in XADD is equal or smaller than the target stream top item, "4-1"]`},
		[]string{"XADD A 3-1 k v; XADD A 4-1 k v"}},
	{"two slots", []string{"MULTI", "+OK", "XADD A * k v", "+QUEUED", "XADD B * k v", "+QUEUED", "EXEC",
		"-" + textCrossSlot, "PING", "+PONG"}, nil},
	{"two slots in one command", []string{"MULTI", "+OK", "DEL A B", "+QUEUED", "EXEC", "-" + textCrossSlot}, nil},
	{"discard", []string{"MULTI", "+OK", "XADD A * k v", "+QUEUED", "DISCARD", "+OK", "EXEC", "-ERR EXEC without MULTI"}, nil},
	{"discard without multi", []string{"DISCARD", "-ERR DISCARD without MULTI"}, nil},
	{"nested", []string{"MULTI", "+OK", "MULTI", "-ERR MULTI calls can not be nested", "WATCH a", "-ERR WATCH inside MULTI is not allowed",
		"EXEC", "[]"}, nil},
	{"bad command", []string{"MULTI", "+OK", "FOO", "-ERR unknown command 'FOO'", "XADD A * k v", "+QUEUED",
		"EXEC", "-EXECABORT Transaction discarded because of previous errors.", "EXEC", "-ERR EXEC without MULTI"}, nil},
	{"bad arity", []string{"MULTI", "+OK", "XADD A", "-ERR wrong number of arguments for 'xadd' command",
		"EXEC", "-EXECABORT Transaction discarded because of previous errors."}, nil},
	{"BLOCK does not block", []string{"MULTI", "+OK", "XREAD BLOCK 0 STREAMS A $", "+QUEUED", "XADD A 9-1 k v", "+QUEUED", "EXEC",
		`[nilarray, "9-1"]`}, []string{"XREAD BLOCK 0 STREAMS A $; XADD A 9-1 k v"}},
	{"a command to all shards is refused", []string{"MULTI", "+OK", "DBSIZE", "+QUEUED", "XLEN A", "+QUEUED", "EXEC",
		"[-ERR DBSIZE asks all shards and is not allowed in a transaction, :5]"}, nil},
	{"an EXEC with arguments ends the transaction", []string{"MULTI", "+OK", "XADD A * k v", "+QUEUED", "EXEC foo",
		"-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
		"EXEC", "-ERR EXEC without MULTI"}, nil},
	{"a DISCARD with arguments does not end it", []string{"MULTI", "+OK", "DISCARD foo", "-ERR wrong number of arguments for 'discard' command",
		"EXEC", "-EXECABORT Transaction discarded because of previous errors."}, nil},
	{"EXEC with arguments and without MULTI", []string{
		"EXEC foo", "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"}, nil},
	{"a command that Redis refuses in a transaction", []string{"MULTI", "+OK", "SAVE", "-ERR Command not allowed inside a transaction", "PING", "+QUEUED",
		"EXEC", "-EXECABORT Transaction discarded because of previous errors."}, nil},
	{"reset", []string{"MULTI", "+OK", "RESET", "+RESET", "EXEC", "-ERR EXEC without MULTI"}, nil},
	{"help", []string{"MULTI", "+OK", "CLIENT GETNAME", "+QUEUED", "EXEC", "[nil]"}, nil},
	{"unwatch", []string{"UNWATCH", "+OK", "WATCH A", "+OK", "UNWATCH", "+OK", "MULTI", "+OK", "PING", "+QUEUED", "EXEC", "[+PONG]"}, nil},
}

// TestMulti compares the replies of transactions, and the records of the shard of A.
func TestMulti(t *testing.T) {
	g := newRig(t, 2, nil)
	a, b := g.cl.key(0, 0), g.cl.key(1, 0)
	for _, tc := range multiCases {
		t.Run(tc.name, func(t *testing.T) {
			c := g.dial()
			before := len(g.cl.applied(0))
			fill := strings.NewReplacer("A", a, "B", b)
			for i := 0; i < len(tc.lines); i += 2 {
				words := strings.Fields(tc.lines[i])
				for j, w := range words {
					if w == "A" || w == "B" {
						words[j] = fill.Replace(w)
					}
				}
				c.want(strings.Join(words, " "), strings.ReplaceAll(tc.lines[i+1], `"A"`, `"`+a+`"`))
			}
			var want []string
			for _, r := range tc.records {
				words := strings.Fields(r)
				for j, w := range words {
					words[j] = w
					if strings.TrimSuffix(w, ";") == "A" {
						words[j] = fill.Replace(w)
					}
				}
				want = append(want, strings.Join(words, " "))
			}
			if got := g.cl.applied(0)[before:]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("records %q, want %q", got, want)
			}
		})
	}
}

// HELLO runs in its place within a transaction. It cannot change the protocol version there,
// because the shard encodes all replies of the transaction in one version.
func TestMultiHello(t *testing.T) {
	c := newRig(t, 1, nil).dial()
	for _, line := range []string{"MULTI", "HELLO 2 SETNAME bob", "HELLO 9", "HELLO 3", "CLIENT GETNAME"} {
		c.do(line)
	}
	c.want("EXEC", `[["server", "redis", "version", "8.6.3", "proto", :2, "id", :1, "mode", "cluster", "role", "master", "modules", []], `+
		`-NOPROTO unsupported protocol version, -ERR HELLO cannot change the protocol version in a transaction, "bob"]`)
}

// An EXEC is retried like a single write, and is in doubt like one.
func TestMultiFaults(t *testing.T) {
	g := newRig(t, 1, nil)
	c := g.dial()
	n := 0
	g.cl.setFault(func(string, *call.Call) fault {
		n++
		switch n {
		case 1, 2:
			return fault{err: call.ErrOverloaded}
		case 4:
			return fault{err: call.ErrInDoubt, done: true}
		}
		return fault{}
	})
	// The second transaction is sent after the reply to the first. If both were on their way,
	// the shard could accept the second before the first is repeated, which would then fail.
	for _, tx := range []struct{ add, want string }{
		{"XADD s 1-1 a b", `[+PONG, "1-1"]`},
		{"XADD s 2-1 a b", "-" + textInDoubt},
	} {
		c.send("MULTI", "PING", tx.add, "EXEC")
		for _, want := range []string{"+OK", "+QUEUED", "+QUEUED", tx.want} {
			if got := c.recv(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

func TestMultiBounds(t *testing.T) {
	g := newRig(t, 1, func(c *Config) { c.Limits.MultiCommands, c.Limits.MultiBytes = 3, 1000 })
	c := g.dial()
	const tooMuch = "-ERR The transaction is larger than allowed"
	const aborted = "-EXECABORT Transaction discarded because of previous errors."
	for _, tc := range []struct {
		name  string
		lines []string
	}{
		{"commands", []string{"PING", "PING", "PING", "PING"}},
		{"bytes", []string{"ECHO " + strings.Repeat("x", 900), "ECHO " + strings.Repeat("x", 100)}},
	} {
		c.want("MULTI", "+OK")
		for i, l := range tc.lines {
			want := "+QUEUED"
			if i == len(tc.lines)-1 {
				want = tooMuch
			}
			c.want(l, want)
		}
		c.want("EXEC", aborted)
	}
}

// elements splits an encoded array into its elements, byte for byte.
func TestElements(t *testing.T) {
	for _, tc := range []struct {
		in   string
		raw  []string
		keys []string
		err  error
	}{
		{"*0\r\n", nil, nil, nil},
		{"*-1\r\n", nil, nil, nil},
		{"_\r\n", nil, nil, nil},
		{"*2\r\n:1\r\n$1\r\na\r\n", []string{":1\r\n", "$1\r\na\r\n"}, []string{"", "a"}, nil},
		{"%1\r\n$1\r\nk\r\n*0\r\n", []string{"$1\r\nk\r\n*0\r\n"}, []string{"k"}, nil},
		{"*1\r\n*2\r\n$1\r\nk\r\n*0\r\n", []string{"*2\r\n$1\r\nk\r\n*0\r\n"}, []string{"k"}, nil},
		{"*1\r\n-ERR x\r\n", []string{"-ERR x\r\n"}, []string{"ERR x"}, nil},
		{":1\r\n", nil, nil, errShape},
		{"*2\r\n:1\r\n", nil, nil, errShape},
		{"*1\r\n:1\r\n:2\r\n", nil, nil, errShape},
		{"", nil, nil, errShape},
	} {
		raw, keys, err := elements([]byte(tc.in))
		if fmt.Sprintf("%q %q", raw, keys) != fmt.Sprintf("%q %q", tc.raw, tc.keys) || !errors.Is(err, tc.err) {
			t.Errorf("%q: %q, %q, %v", tc.in, raw, keys, err)
		}
	}
}

// elements reads any bytes without a panic, and its parts add up to the whole reply.
func FuzzElements(f *testing.F) {
	for _, s := range []string{"*1\r\n*2\r\n$1\r\nk\r\n*0\r\n", "%1\r\n$1\r\nk\r\n*-1\r\n", "*-1\r\n", "_\r\n", "*2\r\n:1\r\n-ERR x\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, keys, err := elements(b)
		if err != nil {
			return
		}
		if len(raw) != len(keys) {
			t.Fatalf("%d elements and %d keys", len(raw), len(keys))
		}
		n := 0
		for _, e := range raw {
			n += len(e)
		}
		if len(raw) > 0 && n+headLen(b) != len(b) {
			t.Fatalf("%d of %d bytes found", n+headLen(b), len(b))
		}
	})
}
