package shard

import (
	"fmt"
	"testing"

	"millrace/call"
	"millrace/kv"
	"millrace/stream"
)

// newStreamCluster returns replicas with the machine of real shards. Each has a clock
// that is hours off from the others'.
func newStreamCluster(t *testing.T, ids ...string) *testCluster {
	c := newTestCluster(t, ids...)
	c.tune = func(id string, cfg *Config) {
		smallLogs(60)(id, cfg)
		cfg.FirstSlot, cfg.LastSlot = 0, kv.Slots-1
		cfg.Machine = streamMachine{stream.NewState(cfg.FirstSlot, cfg.LastSlot)}
		skew := int64(id[0]) * 7_200_000
		cfg.Clock = func() int64 { return c.clock.Load() + skew }
	}
	return c
}

// work adds entries to a stream, delivers some of them to a group and acknowledges some
// of those. It returns the number that it left pending.
func (c *testCluster) work(round int, among ...string) (pending int) {
	c.t.Helper()
	l := c.leader(among...)
	for i := range 10 {
		c.clock.Add(3)
		l.mustDo(c.t, call.Write, "XADD", "s", fmt.Sprintf("%d-%d", round, i+1), "f", "v")
	}
	l.mustDo(c.t, call.Write, "XREADGROUP", "GROUP", "g", fmt.Sprint("consumer", round%3), "COUNT", "5", "STREAMS", "s", ">")
	if got := l.mustDo(c.t, call.Write, "XACK", "s", "g", fmt.Sprintf("%d-1", round), fmt.Sprintf("%d-3", round)); got != ":2\r\n" {
		c.t.Fatalf("XACK: %q", got)
	}
	l.mustDo(c.t, call.Write, "XREADGROUP", "GROUP", "g", "rest", "STREAMS", "s", ">")
	return 8
}

// Everything of a group is the same on every replica: positions, pending entries, their
// owners and times of delivery. So it is on a replica that got it by a snapshot, which
// may lead later.
func TestGroupsOnAllReplicas(t *testing.T) {
	c := newStreamCluster(t, "a", "b", "c")
	c.startAll()
	c.leader().mustDo(t, call.Write, "XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
	round, pending := 1, 0
	for ; round <= 3; round++ {
		pending += c.work(round)
	}
	c.converge()

	away := c.others(c.leader().id)[0]
	c.net.isolate(away, c.ids, true, true)
	rest := c.others(away)
	for ; round <= 20; round++ {
		pending += c.work(round, rest...)
	}
	c.truncated(c.leader(rest...).id, 40)
	c.net.isolate(away, c.ids, false, false)
	c.converge()

	c.eventually(away+" leads", func() bool {
		l := c.leader()
		if l.id == away {
			return true
		}
		if err := l.shard.Transfer(background(t), away); err != nil {
			t.Logf("transfer: %v", err)
		}
		return false
	})
	for ; round <= 22; round++ {
		pending += c.work(round)
	}
	got := c.leader().mustDo(t, call.Read, "XPENDING", "s", "g")
	if want := fmt.Sprintf("*4\r\n:%d\r\n", pending); len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("XPENDING: %q, want %d pending", got, pending)
	}
	c.converge()
}

// streamMachine is the state machine of Redis Streams, as package node hands it in.
type streamMachine struct{ *stream.State }

func (m streamMachine) Block(argv [][]byte) Blocked { return m.State.Block(argv) }
