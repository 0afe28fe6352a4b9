package shard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"millrace/call"
)

// A node joins as a non-voter, catches up and gets a vote. Another node leaves, and then
// the leader itself does.
func TestMembership(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c", "d")
	c.founders = []string{"a", "b", "c"}
	for _, id := range c.founders {
		c.start(id)
	}
	n := c.leader()
	for i := range 20 {
		n.mustDo(t, call.Write, "APPEND", "k", fmt.Sprint(i))
	}
	c.join(n, "d")
	ctx := background(t)
	gone := "a"
	if gone == n.id {
		gone = "b"
	}
	if err := n.shard.Remove(ctx, gone, 0); err != nil {
		t.Fatal(err)
	}
	if err := n.shard.Remove(ctx, gone, 0); err != nil {
		t.Fatalf("once more: %v", err)
	}
	st := n.shard.Status()
	if len(st.Voters) != 3 || len(st.Nonvoters) != 0 || contains(st.Voters, gone) {
		t.Fatalf("%+v", st)
	}
	c.destroy(gone)
	if err := n.shard.Remove(ctx, n.id, 0); err != nil {
		t.Fatalf("the leader itself: %v", err)
	}
	var rest []string
	for _, id := range c.ids {
		if id != gone && id != n.id {
			rest = append(rest, id)
		}
	}
	if got := c.leader(rest...).mustDo(t, call.Write, "APPEND", "k", "last"); got != ":21\r\n" {
		t.Fatalf("reply %q", got)
	}
	c.converge(rest...)
}

// join adds a node that does not run yet as a non-voter, starts it, and gives it a vote.
// Votes that come too early, or are meant for another configuration, are refused.
func (c *testCluster) join(n *testNode, id string) {
	ctx := background(c.t)
	if err := n.shard.AddVoter(ctx, id, 0); !errors.Is(err, ErrMember) {
		c.t.Fatalf("a vote for a stranger: %v", err)
	}
	if err := n.shard.AddNonvoter(ctx, id, 0); err != nil {
		c.t.Fatal(err)
	}
	index := n.shard.Status().ConfigurationIndex
	if err := n.shard.AddVoter(ctx, id, index); !errors.Is(err, ErrNotCaughtUp) {
		c.t.Fatalf("a vote for an absent replica: %v", err)
	}
	c.start(id)
	c.converge()
	if err := n.shard.AddVoter(ctx, id, index+1); !errors.Is(err, ErrConfigChanged) {
		c.t.Fatalf("with a wrong index: %v", err)
	}
	if err := n.shard.AddVoter(ctx, id, index); err != nil {
		c.t.Fatal(err)
	}
}

// destroy destroys a replica that was removed: nothing of it is left.
func (c *testCluster) destroy(id string) {
	g := c.nodes[id]
	c.net.register(id, nil)
	if err := errors.Join(g.shard.Close(), Destroy(*g.shard.cfg)); err != nil {
		c.t.Fatal(err)
	}
	if b := dumpRange(c.t, g.state.DB, g.shard.applier.lo, g.shard.applier.hi); len(b) > 0 {
		c.t.Fatalf("left behind: %s", b)
	}
	g.shard = nil
}

// Non-voters do not count: a leader with none but them on its side cannot read.
func TestReadsCountVotersOnly(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c", "d")
	c.founders = []string{"a", "b", "c"}
	c.startAll()
	n := c.leader()
	if err := n.shard.AddNonvoter(background(t), "d", 0); err != nil {
		t.Fatal(err)
	}
	c.converge()
	c.net.mu.Lock()
	for _, id := range c.founders {
		c.net.cutProbe[[2]string{n.id, id}] = true
	}
	c.net.mu.Unlock()
	var moved *call.NotLeader
	if out, err := n.do(t, call.Read, "LEN", "k"); !errors.As(err, &moved) {
		t.Fatalf("%q, %v", out, err)
	}
}

// Admin calls make the same changes by their words.
func TestAdminCalls(t *testing.T) {
	c := newTestCluster(t, "a", "b")
	c.founders = []string{"a"}
	c.startAll()
	n := c.leader()
	for _, step := range []struct {
		want string
		argv []string
	}{
		{"+OK\r\n", []string{"ADDNONVOTER", "b", "1"}},
		{"-ERR unknown shard request\r\n", []string{"EXPLODE", "b"}},
		{"-ERR wrong number of arguments for a shard request\r\n", []string{"REMOVE", "b"}},
		{"-ERR shard: the configuration has changed: it is of index INDEX, not 1\r\n", []string{"REMOVE", "b", "1"}},
		{"-ERR shard: no such change of membership: a is the last voter\r\n", []string{"remove", "a", "0"}},
		{"-ERR shard: no such change of membership: b is not a voter\r\n", []string{"TRANSFER", "b"}},
	} {
		got := n.mustDo(t, call.Admin, step.argv...)
		// The index depends on how often the leader was elected before.
		index := fmt.Sprint(n.shard.supervisor.applier.configs.last().index)
		if got != strings.Replace(step.want, "INDEX", index, 1) {
			t.Errorf("%s: %q", step.argv, got)
		}
	}
	c.converge()
	if got := n.mustDo(t, call.Admin, "ADDVOTER", "b", "x"); got != "-ERR configuration index is not an integer\r\n" {
		t.Error(got)
	}
	if got := n.mustDo(t, call.Admin, "ADDVOTER", "b", "0"); got != "+OK\r\n" {
		t.Error(got)
	}
	if got := n.mustDo(t, call.Admin, "STATUS"); !bytes.Contains([]byte(got), []byte(`"voters":["a","b"]`)) {
		t.Error(got)
	}
	c.converge()
	if got := n.mustDo(t, call.Admin, "TRANSFER", "b"); got != "+OK\r\n" {
		t.Error(got)
	}
	var moved *call.NotLeader
	if _, err := n.do(t, call.Admin, "STATUS"); !errors.As(err, &moved) {
		t.Errorf("status of a follower: %v", err)
	}
	if err := n.shard.AddNonvoter(context.Background(), "z", 0); !errors.As(err, &moved) {
		t.Errorf("a change on a follower: %v", err)
	}
}
