package node

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/resp"
)

// debugDo runs a subcommand of DEBUG, given as one line.
func debugDo(n *Node, line string) resp.Value {
	var argv [][]byte
	for w := range strings.FieldsSeq(line) {
		argv = append(argv, []byte(w))
	}
	return n.debug(context.Background(), argv)
}

// field returns the value of a field of a map reply.
func field(t *testing.T, m resp.Value, name string) resp.Value {
	t.Helper()
	for i := 0; i+1 < len(m.Elems); i += 2 {
		if string(m.Elems[i].Str) == name {
			return m.Elems[i+1]
		}
	}
	t.Fatalf("no %s in %v", name, m)
	return resp.Value{}
}

func TestDebugCommands(t *testing.T) {
	c := testConfig(filepath.Join(t.TempDir(), "data"))
	c.EnableDebug = true
	n := runNode(t, c)
	defer n.end(t)
	cl := dial(t, n.addrs.Client)

	for range digestEvery + 8 { // one record each
		cl.send("XADD s * f v")
		cl.line()
		cl.line()
	}
	cl.send("DEBUG SHARDHASH")
	if got := cl.line(); got != "*2" { // the meta group and one shard
		t.Fatal(got)
	}
	var marks resp.Value
	for deadline := time.Now().Add(startTimeout); len(marks.Elems) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no digest was taken")
		}
		marks = field(t, debugDo(n.Node, "shardhash").Elems[1], "marks")
	}
	if at := marks.Elems[0].Elems[0].Int; at == 0 || at%digestEvery != 0 {
		t.Errorf("a digest at index %d", at)
	}
	now := debugDo(n.Node, "SHARDHASH now").Elems[1]
	if at, applied := field(t, now, "index").Int, field(t, now, "applied").Int; at != applied || at == 0 {
		t.Errorf("the digest is of index %d, applied %d", at, applied)
	}
	if h := field(t, now, "hash").Str; len(h) != 64 || strings.Trim(string(h), "0") == "" {
		t.Errorf("hash %q", h)
	}
	for _, tc := range []struct{ line, want string }{
		{"shardhash later", "ERR syntax error"},
		{"shardhash now now", "ERR unknown subcommand or wrong number of arguments for 'shardhash'. Try DEBUG HELP."},
		{"foo", "ERR unknown subcommand or wrong number of arguments for 'foo'. Try DEBUG HELP."},
		{"transfer 1", "ERR unknown subcommand or wrong number of arguments for 'transfer'. Try DEBUG HELP."},
		{"transfer x y", "ERR value is not an integer or out of range"},
		{"clock-offset x", "ERR value is not an integer or out of range"},
		{fmt.Sprint("clock-offset ", int64(maxClockOffsetMS)+1), "ERR value is not an integer or out of range"},
	} {
		if v := debugDo(n.Node, tc.line); !v.IsErr() || string(v.Str) != tc.want {
			t.Errorf("%s: %v", tc.line, v)
		}
	}
	if v := debugDo(n.Node, "HELP"); len(v.Elems) != 3+2*len(debugCommands) {
		t.Errorf("help has %d lines", len(v.Elems))
	}
}

// TestClockOffset sets the node's clock forward and back. Entry IDs rise all the same.
func TestClockOffset(t *testing.T) {
	c := testConfig(filepath.Join(t.TempDir(), "data"))
	c.EnableDebug = true
	n := runNode(t, c)
	defer n.end(t)
	cl := dial(t, n.addrs.Client)
	add := func() (ms int64) {
		t.Helper()
		cl.send("XADD s * f v")
		cl.line()
		if _, err := fmt.Sscanf(cl.line(), "%d-", &ms); err != nil {
			t.Fatal(err)
		}
		return ms
	}
	const hour = 3_600_000
	start := add()
	if v := debugDo(n.Node, fmt.Sprint("clock-offset ", hour)); v.Int != hour {
		t.Fatal(v)
	}
	ahead := add()
	if ahead < start+hour {
		t.Errorf("%d, then an hour later %d", start, ahead)
	}
	debugDo(n.Node, fmt.Sprint("clock-offset ", -hour))
	if back := add(); back < ahead {
		t.Errorf("%d, then after the clock went back %d", ahead, back)
	}
	if v := debugDo(n.Node, "clock-offset"); v.Int != -hour {
		t.Error(v)
	}
}
