package shard

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"millrace/call"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// With one voter, reads need no poll. After a restart every write is there.
func TestSingle(t *testing.T) {
	c := newTestCluster(t, "a")
	c.startAll()
	n := c.leader()
	if got := n.mustDo(t, call.Write, "APPEND", "k", "v1"); got != ":1\r\n" {
		t.Fatalf("reply %q", got)
	}
	if got := n.mustDo(t, call.Read, "RANGE", "k"); got != "*1\r\n$2\r\nv1\r\n" {
		t.Fatalf("reply %q", got)
	}
	if polls := n.shard.Status().Polls; polls != 0 {
		t.Fatalf("%d polls of nobody", polls)
	}
	c.stop("a")
	c.start("a")
	n = c.leader()
	n.mustDo(t, call.Write, "APPEND", "k", "v2")
	if got := n.mustDo(t, call.Read, "LEN", "k"); got != ":2\r\n" {
		t.Fatalf("reply %q", got)
	}
}

// Three voters elect one leader. Its writes reach all, and the others name it.
func TestElectApply(t *testing.T) {
	c := newTestCluster(t, "a", "b", "c")
	c.startAll()
	n := c.leader()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { n.mustDo(t, call.Write, "APPEND", fmt.Sprint("k", i%5), fmt.Sprint(i)) })
	}
	wg.Wait()
	if got := n.mustDo(t, call.Read, "LEN", "k3"); got != ":10\r\n" {
		t.Fatalf("reply %q", got)
	}
	if n.shard.Status().Polls == 0 {
		t.Fatal("a read asked nobody")
	}
	c.converge()
	for _, id := range c.ids {
		if id == n.id {
			continue
		}
		_, err := c.nodes[id].do(t, call.Write, "APPEND", "k", "v")
		var moved *call.NotLeader
		if !errors.As(err, &moved) || moved.Leader != n.id || moved.Term != n.shard.lead.leads() {
			t.Fatalf("%s says %v", id, err)
		}
		if got, err := c.nodes[id].do(t, call.ReadStale, "LEN", "k3"); err != nil || got != ":10\r\n" {
			t.Fatalf("stale read on %s: %q, %v", id, got, err)
		}
	}
}
