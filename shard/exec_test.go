package shard

import (
	"strings"
	"testing"

	"millrace/call"
)

// exec runs the commands of an EXEC, one a line, on a node.
func (n *testNode) exec(t testing.TB, kind call.Kind, lines ...string) (string, error) {
	t.Helper()
	c, done := newCall(kind, n.shard.lead.leads(), "")
	c.Cmds, c.Multi = nil, true
	for _, line := range lines {
		c.Cmds = append(c.Cmds, words(strings.Fields(line)...))
	}
	n.shard.Submit(c)
	return await(t, done)
}

// An EXEC that only reads runs on one view after a read index, and writes no record.
func TestReadTransaction(t *testing.T) {
	c := newStreamCluster(t, "a", "b", "c")
	c.startAll()
	l := c.leader()
	l.mustDo(t, call.Write, "XADD", "s", "1-1", "f", "v")
	before := l.shard.Status().LastIndex
	got, err := l.exec(t, call.Read, "XLEN s", "GET s", "XRANGE s - +")
	const want = "*3\r\n:1\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n" +
		"*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
	if err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	number := strings.Trim(strings.TrimPrefix(l.mustDo(t, call.Read, "_MODIFIED", "s"), "*1"), "\r\n:")
	// One command is still an EXEC, and a guard that fails leaves nothing to read.
	for _, tc := range []struct {
		lines []string
		want  string
	}{
		{[]string{"XLEN s"}, "*1\r\n:1\r\n"},
		{[]string{"_WATCHED s " + number, "XLEN s"}, "*2\r\n+OK\r\n:1\r\n"},
		{[]string{"_WATCHED s 0", "XLEN s"}, "*2\r\n$-1\r\n$-1\r\n"},
	} {
		if got, err := l.exec(t, call.Read, tc.lines...); err != nil || got != tc.want {
			t.Errorf("%q: %q, %v, want %q", tc.lines, got, err, tc.want)
		}
	}
	if after := l.shard.Status().LastIndex; after != before {
		t.Errorf("the log went from index %d to %d", before, after)
	}
	// A view is the leader's alone to give, and there is no EXEC on a stale one.
	if _, err := c.nodes[c.others(l.id)[0]].exec(t, call.Read, "XLEN s", "XLEN s"); err == nil {
		t.Error("a follower has read")
	}
}
